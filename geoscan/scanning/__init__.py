"""The scan: tiles of a scene to scores, many at a time."""
