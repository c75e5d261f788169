"""Training: data sets, splits, batches, the loop, thresholds and figures. Nothing here runs in a scan."""
