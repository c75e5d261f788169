"""The scan: scenes to scores, and scores to detections."""
