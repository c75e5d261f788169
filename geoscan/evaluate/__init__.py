"""How good scores are: metrics, thresholds, calibration, pictures. Nothing here runs in a scan."""
