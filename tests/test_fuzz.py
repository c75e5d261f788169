"""Damaged inputs of all kinds: a result or one clear line; never a traceback, a crash or a hang.

GEOSCAN_FUZZ is how many inputs the heavy test takes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fuzz
import numpy as np
import pytest
from conftest import write_scene
from products import items, make_safe
from small_chips import make as small_chips

from geoscan.errors import one_line
from geoscan.model.package import CARD
from geoscan.model.shipped import find, shipped
from geoscan.scanning.gathered import Part
from geoscan.scanning.journal.file import open_journal
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

TESTS = Path(__file__).parent
FEW = 120
MANY = int(os.environ.get("GEOSCAN_FUZZ", "600"))


def prepare(folder: Path) -> Path:
    """Write whole inputs of each kind, which are to be damaged."""
    for name in ("tiff", "vrt", "safe", "stac", "cards", "package", "kaggle/train-jpg"):
        (folder / name).mkdir(parents=True)
    tiffs(folder / "tiff")
    for scene in ("mask", "plain"):
        source = write_scene(folder / "vrt" / f"{scene}.tif", mask=np.eye(64, 80) > 0 if scene == "mask" else None)
        (folder / "vrt" / f"{scene}.vrt").write_text(as_vrt(source.name, masked=scene == "mask"))
    rng = np.random.default_rng(0)
    pixels = [rng.integers(900, 4000, (3, make_safe.SIDE, make_safe.SIDE)).astype(np.uint16)]
    make_safe.write_safe(
        folder / "safe", pixels, make_safe.Safe(polygons=[np.eye(32, dtype=np.uint8)], baseline="02.08")
    )
    make_safe.write_safe(folder / "safe", pixels, make_safe.Safe(level="L2A", georeferenced=False))
    items.earth_search(folder / "stac" / "earth")
    items.planetary_computer(folder / "stac" / "microsoft")
    small_chips(folder, 8)
    for n in range(3):
        (folder / "kaggle" / "train-jpg" / f"train_{n}.jpg").write_bytes(b"of no interest here")
    (folder / "tags.csv").write_text("image_name,tags\ntrain_0,clear primary\ntrain_1,haze water\ntrain_2,cloudy\n")
    for package in shipped():
        (folder / "cards" / package.card.name).write_text((package.path / CARD).read_text())
    for name in ("weights.keras", "network.xml", "network.bin"):
        (folder / "package" / name).write_bytes(b"of no interest here")
    own = shutil.copytree(find("planet").path, folder / "network")
    shutil.copy(own / "network.xml", folder)
    a_journal(folder / "scan.journal", folder / "tiff" / "tiles.tif")
    return folder


def a_journal(path: Path, scene: Path) -> None:
    """Keep the journal of a scan that found mines."""
    plan = Plan.of(Scene.open(scene), find("planet"), ScanOptions(stride=16, stretch="visual"))
    tiles = np.arange(len(plan.grid))
    scores = np.random.default_rng(0).random((len(tiles), len(plan.package.card.labels)), np.float32)
    with open_journal(path, plan)[0] as journal:
        journal.record(Part(tiles, np.full(len(tiles), 256), tiles, scores, tiles[:0], 0, {3: "lost"}))


def tiffs(folder: Path) -> None:
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    write_scene(folder / "strips.tif", nodata=0)
    write_scene(folder / "tiles.tif", compress="deflate", overviews=(2,), mask=np.eye(64, 80) == 0, **tiles)
    write_scene(folder / "planet.tif", (4, 64, 80), dtype="uint16", compress="lzw", predictor=2)
    write_scene(folder / "big.tif", dtype="float32", BIGTIFF="YES", interleave="band", **tiles)
    write_scene(folder / "jpeg.tif", compress="jpeg", photometric="ycbcr", **tiles)


def as_vrt(source: str, *, masked: bool) -> str:
    """Make the VRT of a scene of three bands, as gdalbuildvrt does."""
    where = '<SrcRect xOff="0" yOff="0" xSize="80" ySize="64"/><DstRect xOff="0" yOff="0" xSize="80" ySize="64"/>'

    def band(number: str, kind: str) -> str:
        return (
            f'<{kind} resampling="nearest"><SourceFilename relativeToVRT="1">{source}</SourceFilename>'
            f'<SourceBand>{number}</SourceBand><SourceProperties RasterXSize="80" RasterYSize="64" DataType="Byte" '
            f'BlockXSize="80" BlockYSize="34"/>{where}</{kind}>'
        )

    colors = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><NoDataValue>0</NoDataValue><ColorInterp>{color}</ColorInterp>'
        f"{band(str(n), 'ComplexSource')}</VRTRasterBand>"
        for n, color in enumerate(("Red", "Green", "Blue"), 1)
    )
    mask = f'<MaskBand><VRTRasterBand dataType="Byte">{band("mask,1", "SimpleSource")}</VRTRasterBand></MaskBand>'
    return (
        '<VRTDataset rasterXSize="80" rasterYSize="64"><SRS dataAxisToSRSAxisMapping="1,2">EPSG:32721</SRS>'
        f"<GeoTransform> 5.0e+05, 3.7, 0.0, 9.2e+06, 0.0, -3.7</GeoTransform>{colors}"
        f"{mask if masked else ''}</VRTDataset>"
    )


def outcomes(folder: Path, first: int, last: int) -> Iterator[tuple[int, str]]:
    """What came of each input; a process that dies is begun anew behind the input that it died of."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "GDAL_HTTP_MAX_RETRY": "0"}
    while first < last:
        command = [sys.executable, str(TESTS / "fuzz.py"), str(folder), str(first), str(last)]
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        lines = [json.loads(line) for line in run.stdout.splitlines() if line.endswith("}")]
        yield from ((line["number"], line["outcome"]) for line in lines if "outcome" in line)
        if run.returncode:
            first = lines[-1].get("begun", lines[-1].get("number", first)) + 1
            yield first - 1, f"the process ended with {run.returncode}"
        else:
            first = last


def check(folder: Path, count: int, processes: int = 1) -> Counter[str]:
    parts = [range(count)[n * count // processes :][: count // processes] for n in range(processes)]
    folders = [prepare(folder / str(n)) for n in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        runs = pool.map(lambda n: list(outcomes(folders[n], parts[n].start, parts[n].stop)), range(processes))
    found = dict(outcome for run in runs for outcome in run)
    assert len(found) == sum(map(len, parts))
    counts: Counter[str] = Counter()
    worse = {}
    for number, outcome in found.items():
        kind = list(fuzz.KINDS)[number % len(fuzz.KINDS)]
        what = outcome.partition(":")[0]
        if what not in ("result", "error") or len(outcome) > 12_000 or not one_line(outcome).isprintable():
            worse[number], what = outcome, "else"
        counts[f"{kind} {what}"] += 1
    assert not worse, f"{len(worse)} of {count}: " + "\n".join(f"{n}: {text}" for n, text in sorted(worse.items())[:9])
    for kind in fuzz.KINDS:
        assert counts[f"{kind} result"] > 0, "damage that is never harmless tests nothing"
        assert counts[f"{kind} error"] > 0, "damage that is always harmless tests nothing"
    return counts


def test_damaged_inputs_are_a_result_or_one_line(tmp_path):
    check(tmp_path, FEW)


@pytest.mark.large
@pytest.mark.timeout(7200)
def test_many_damaged_inputs_are_a_result_or_one_line(tmp_path, capsys):
    counts = check(tmp_path, MANY, processes=2)
    with capsys.disabled():
        sys.stdout.write(f"\n{MANY:,} damaged inputs: {dict(sorted(counts.items()))}\n")
