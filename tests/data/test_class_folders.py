import io
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from geoscan.data.class_folders import read_class_folders
from geoscan.errors import DatasetError, ReadError


def png(value, side=8):
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def archive(path, members):
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def directory(path, members):
    path.mkdir(exist_ok=True)
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


CHIPS = {
    "set/River/1.png": png(10),
    "set/Forest/2.png": png(20),
    "set/Forest/1.png": png(30),
    "set/River/2.png": png(1),
}


@pytest.fixture(params=[archive, directory])
def written(request, tmp_path):
    return lambda members: request.param(tmp_path / "set.zip", members)


def test_the_folder_is_the_class(written):
    found = read_class_folders(written(CHIPS))
    assert found.names == ("set/Forest/1.png", "set/Forest/2.png", "set/River/1.png", "set/River/2.png")
    assert found.class_names == ("Forest", "River")
    assert found.classes.tolist() == [0, 0, 1, 1]
    assert [int(found.read(i).mean()) for i in range(len(found))] == [30, 20, 10, 1]
    assert found.read(0).shape == (3, 8, 8)
    assert found.problems.lines() == []


def test_a_class_may_lie_in_several_places_and_depths(written):
    found = read_class_folders(written({"train/a/1.png": png(1), "test/deep/a/1.png": png(2), "b/1.png": png(3)}))
    assert dict(zip(found.names, found.classes.tolist(), strict=True)) == {
        "b/1.png": 1,
        "test/deep/a/1.png": 0,
        "train/a/1.png": 0,
    }


def test_problems_are_counted_and_named(written):
    extra = {
        "set/legend.png": png(0),
        "top.png": png(0),
        "set/River/cut.png": png(9)[:45],
        "set/River/text.jpg": b"no image",
        "set/Lake/only.png": png(5),
        "set/.ipynb_checkpoints/1.png": png(0),
        "__MACOSX/set/River/._1.png": b"left by a Mac",
        "set/River/._2.png": b"left by a Mac",
        "set/River/readme.txt": b"words",
    }
    found = read_class_folders(written({**CHIPS, **extra}))
    assert found.class_names == ("Forest", "Lake", "River")
    assert len(found) == 5
    assert found.problems.unreadable == ("set/River/cut.png", "set/River/text.jpg")
    assert found.problems.outside == ("set/legend.png", "top.png")
    assert found.problems.single == ("Lake",)
    assert found.problems.lines() == [
        "2 unreadable images (set/River/cut.png, set/River/text.jpg): left out",
        "2 images outside a class folder (set/legend.png, top.png): left out",
        "1 classes with one chip (Lake): trained on but not validated",
    ]


def test_pickles_to_its_address_and_reads_from_many_threads(written):
    found = read_class_folders(written(CHIPS))
    again = pickle.loads(pickle.dumps(found))
    assert again.names == found.names
    assert again.fingerprint == found.fingerprint
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda i: int(again.read(i % 4).mean()), range(200)))
    assert values == [30, 20, 10, 1] * 50


def test_a_chip_that_goes_later_is_named(tmp_path):
    source = directory(tmp_path / "set", CHIPS)
    found = read_class_folders(source)
    (source / "set/River/1.png").unlink()
    with pytest.raises(ReadError, match=r"set/River/1\.png"):
        found.read(2)


def test_shows_how_far_it_is(written):
    seen = []
    read_class_folders(written(CHIPS), track=lambda items: (seen.append(i) or i for i in items))
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "holds no PNG or JPEG images"),
        ({"a/1.txt": b"x"}, "holds no PNG or JPEG images"),
        ({"1.png": png(1), "2.png": png(2)}, "2 images in .* 0 class folders"),
        ({"a/1.png": png(1), "a/2.png": png(2)}, "2 images in .* 1 class folders"),
        ({"a/1.png": b"x", "b/2.png": b"y"}, "none of the 2 images"),
    ],
)
def test_unusable_sources(written, members, words):
    source = written(members)
    with pytest.raises(DatasetError, match=words) as caught:
        read_class_folders(source)
    assert "\n" not in str(caught.value)


def test_no_archive(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK\x03\x04 and no more")
    for name in ("set.zip", "absent.zip"):
        with pytest.raises(DatasetError, match="neither a directory nor a readable zip archive"):
            read_class_folders(tmp_path / name)


@pytest.mark.large
def test_eurosat(shared_data):
    found = read_class_folders(shared_data("eurosat-rgb.zip"))
    assert (len(found), len(found.class_names)) == (27_000, 10)
    assert np.bincount(found.classes).tolist() == [3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000]
    assert found.problems.lines() == []
    assert found.read(5).shape == (3, 64, 64)
