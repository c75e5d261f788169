"""Find artisanal gold mines in large satellite scenes."""

from importlib.metadata import version

__version__ = version("geoscan")
