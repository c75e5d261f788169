"""Labelled chips: where they come from, and which of them a model may see. Nothing here runs in a scan."""
