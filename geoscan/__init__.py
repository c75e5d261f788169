"""Find artisanal gold mines in large satellite scenes.

    import geoscan

    mines = geoscan.scan("scene.tif")

What is named in `__all__` is imported when it is first used: `import geoscan` alone starts nothing heavy.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoscan.api import Model, Scene, TileGrid, Window, dehaze, load_model, open_scene, scan

__all__ = ["Model", "Scene", "TileGrid", "Window", "__version__", "dehaze", "load_model", "open_scene", "scan"]

__version__ = version("geoscan")


if not TYPE_CHECKING:  # type checkers would take it to know every name, misspelt ones, too

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from geoscan import api

        return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
