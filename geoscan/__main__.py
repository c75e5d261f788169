"""`python -m geoscan`."""

from geoscan.cli import main

main()
