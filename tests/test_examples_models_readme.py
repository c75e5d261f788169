"""`models/README.md` is what `examples/models_readme.py` makes of the cards."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "examples/models_readme.py"


def test_the_page_of_the_models_is_what_their_cards_say():
    spec = importlib.util.spec_from_file_location("models_readme", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page()
    assert module.PAGE.read_text(encoding="utf-8") == page, "run python examples/models_readme.py"
    assert "![" not in page, "a page of figures, not of pictures"
