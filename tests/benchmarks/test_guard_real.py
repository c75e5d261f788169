"""How many scenes of real chips the guard refuses when their bands have wrong names, and names the reason.

Run it: pytest -n 0 -m large -s tests/benchmarks/test_guard_real.py
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_scene
from grounds import real_grounds
from numpy.typing import NDArray

from geoscan.errors import LookError
from geoscan.model.shipped import find
from geoscan.scanning.guard import look_before
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

pytestmark = pytest.mark.large


@pytest.fixture(scope="module")
def grounds() -> list[NDArray[np.float64]]:
    return real_grounds()


def refusal(path: Path) -> str:
    try:
        look_before(Plan.of(Scene.open(path), find("sentinel2")))
    except LookError as err:
        return str(err)
    return ""


@pytest.mark.parametrize(
    ("order", "reason"),
    [([0, 1, 2], ""), ([2, 1, 0], "red and blue seem to be swapped, it looks as it should with --bands 3,2,1")],
)
def test_swapped_bands_are_refused_whatever_their_names(grounds, tmp_path, order, reason):
    answers = []
    for ground in grounds:
        path = tmp_path / "scene.tif"
        write_scene(path, pixels=ground[order], dtype="uint16", gsd=10, descriptions=("B04", "B03", "B02"))
        answers.append(refusal(path))
    right = [bool(answer) == bool(reason) and reason in answer for answer in answers]
    sys.stdout.write(
        f"\nbands {order}: {sum(map(bool, answers))} of {len(answers)} scenes refused, {sum(right)} as they should\n"
    )
    assert all(right)
