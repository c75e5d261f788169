"""What `compare.py` measures: one module a section, each with a function `measure`."""
