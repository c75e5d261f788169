"""Training: batches, the loop, a recipe from chips to a model package. Nothing here runs in a scan."""
