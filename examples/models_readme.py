"""Write `models/README.md`, the figures of the models that geoscan ships, from their cards.

Run `python examples/models_readme.py`, without arguments.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from geoscan.model.markdown import models_markdown
from geoscan.model.package import WEIGHTS
from geoscan.model.shipped import shipped

PAGE = Path(__file__).parents[1] / "models" / "README.md"


def page() -> str:
    """Return the page for the models of this installation."""
    return models_markdown([(package.card, (package.path / WEIGHTS).stat().st_size) for package in shipped()])


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
