"""Scenes made for a test, and the way to real data where there is some."""

import logging
import os
import socket
import subprocess
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import settings
from loopback import Port
from numpy.typing import ArrayLike, NDArray
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geoscan.dehazing import DarkLevel, Dehazing
from geoscan.model.card import Card
from geoscan.model.package import Package, save
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import DenseNetSpec
from geoscan.polygons import Hysteresis

# A busy machine is no failure; pytest's own timeout ends what hangs.
settings.register_profile("geoscan", deadline=None)
settings.load_profile("geoscan")

UTM = "EPSG:32721"
CORNER = (500_000.0, 9_200_000.0)
RGB = ("red", "green", "blue")
QGIS_PYTHON = "/usr/bin/python3"


@pytest.fixture(autouse=True)
def _say_as_before() -> Iterator[None]:
    """Undo what a command that ran in this process, such as one with -q, has set: what others say is to be heard."""
    logger = logging.getLogger("geoscan")
    level, handlers = logger.level, logger.handlers
    yield
    logger.setLevel(level)
    logger.handlers = handlers


def write_scene(
    path: Path,
    shape: Sequence[int] = (3, 64, 80),
    *,
    pixels: ArrayLike | None = None,
    dtype: str = "uint8",
    crs: str | None = UTM,
    gsd: float = 3.7,
    transform: Affine | None = None,
    colors: Sequence[str] | None = None,
    descriptions: Sequence[str] | None = None,
    nodata: float | None = None,
    mask: ArrayLike | None = None,
    gcps: Sequence[GroundControlPoint] | None = None,
    overviews: Sequence[int] = (),
    **creation: Any,
) -> Path:
    """Write a GeoTIFF of `shape` (bands, rows, cols), or (rows, cols) for three bands; noise unless `pixels` are given.

    colors: names of rasterio's ColorInterp, one a band. mask: (rows, cols), True where valid, stored inside the file.
    creation: GDAL's creation options, such as tiled=True.
    """
    if pixels is None:
        shape = (3, *shape) if len(shape) == 2 else tuple(shape)
        top = 250 if np.dtype(dtype).itemsize == 1 else 9000
        pixels = np.random.default_rng(sum(shape)).uniform(1, top, shape)
    data: NDArray[Any] = np.asarray(pixels).astype(dtype)
    count, rows, cols = data.shape
    place: dict[str, Any] = {}
    if not gcps:
        place = {"crs": crs, "transform": transform or Affine(gsd, 0, CORNER[0], 0, -gsd, CORNER[1])}
    profile = {"driver": "GTiff", "count": count, "height": rows, "width": cols, "dtype": data.dtype, "nodata": nodata}
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, **place, **creation) as target:
            if gcps:
                target.gcps = list(gcps), rasterio.CRS.from_user_input(crs)
            if colors:
                target.colorinterp = [ColorInterp[color] for color in colors]
            for band, text in enumerate(descriptions or (), 1):
                target.set_band_description(band, text)
            target.write(data)
            if mask is not None:
                target.write_mask(np.asarray(mask, bool))
        if overviews:
            with rasterio.open(path, "r+") as target:
                target.build_overviews(list(overviews), rasterio.enums.Resampling.nearest)
    return path


@pytest.fixture
def make_scene(tmp_path: Path) -> Callable[..., Path]:
    """Give `write_scene` into the test's own directory; `name` tells several apart."""

    def make(shape: Sequence[int] = (3, 64, 80), *, name: str = "scene.tif", **how: Any) -> Path:
        return write_scene(tmp_path / name, shape, **how)

    return make


@pytest.fixture
def port() -> Iterator[Port]:
    """Give a port of this machine that nothing should ask."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Port(listener)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Give `data_folder`."""
    return data_folder


def data_folder(name: str) -> Path:
    """Return the path of a file or folder below $GEOSCAN_DATA, or skip the test where it is absent."""
    path = Path(os.environ.get("GEOSCAN_DATA", "../shared/data")) / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set GEOSCAN_DATA to run this")
    return path


class _NoNetwork:
    """Stands in for a Keras network where only the card matters: its file holds no weights."""

    def save(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", "{}")


def write_package(
    path: Path,
    network: Any = None,
    *,
    gsd: float = 3.7,
    chip: int = 256,
    dehaze: Dehazing | None = None,
    detection: tuple[float, float, float] = (0.5, 0.4, 0.6),
    spec: DenseNetSpec | None = None,
    **points: Hysteresis,
) -> Package:
    """Save a model package named after its directory; without a network it has a card, for detectors that are fakes.

    points: `sensitive` and `strict`, the operating points beside `detection`.
    """
    spec = spec or DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=chip)
    preprocess = Preprocess(spec.chip, gsd, "visual", dehaze)
    card = Card(path.name, spec, preprocess, dict.fromkeys(spec.labels, 0.5), Hysteresis(*detection), **points)
    if network is not None:
        return save(path, network, card)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoscan.model.package._portable", lambda network, spec: network)
        patch.setattr("geoscan.model.export.export", lambda network, path, mine: path.write_bytes(b""))
        return save(path, _NoNetwork(), card)


@pytest.fixture
def make_package(tmp_path: Path) -> Callable[..., Package]:
    """Give `write_package` into the test's own directory."""

    def make(name: str = "fake", **how: Any) -> Package:
        return write_package(tmp_path / "models" / name, **how)

    return make


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Give a real, small network for 256 px chips at 3.7 m: random, but the same on every run."""
    return write_tiny_package(tmp_path_factory.mktemp("models") / "tiny")


def write_tiny_package(path: Path, gsd: float = 3.7) -> Package:
    """Save a real, small network whose random weights spread its scores."""

    from geoscan.model.backend import keras  # starts TensorFlow: only where a test wants a network
    from geoscan.model.network import build

    spec = DenseNetSpec(blocks=(2, 2), growth=4, stem=8, shrink=2)
    keras.utils.set_random_seed(7)
    network = build(spec)
    for head in spec.heads:
        layer = network.get_layer(head.name)
        layer.set_weights([8 * weights for weights in layer.get_weights()])
    return write_package(path, network, spec=spec, gsd=gsd, dehaze=DarkLevel())


@pytest.fixture
def run_in_qgis(tmp_path):
    """Gives what runs a script by QGIS' Python, and gives what it prints; the test is skipped where there is none."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }

    def run(*command, **more):
        whole = [QGIS_PYTHON, *map(str, command)]
        return subprocess.run(whole, env=environment | more, capture_output=True, text=True, check=False)

    if not Path(QGIS_PYTHON).exists() or run("-c", "import qgis.core").returncode:
        pytest.skip(f"{QGIS_PYTHON} cannot import qgis; apt-get install python3-qgis to run this")

    def printed(*command, **more):
        done = run(*command, **more)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    return printed
