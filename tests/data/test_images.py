import io
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from geoscan.data import images
from geoscan.errors import DatasetError, ReadError


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


MEMBERS = ("b/2.PNG", "a/1.jpeg", "a/notes.txt", "__MACOSX/a/1.jpeg", "a/._1.jpeg", ".git/1.png", "top.jpg")


@pytest.fixture(params=["directory", "archive"])
def source(request, tmp_path):
    if request.param == "archive":
        with zipfile.ZipFile(tmp_path / "chips.zip", "w") as target:
            for i, name in enumerate(MEMBERS):
                target.writestr(name, png(i))
        return tmp_path / "chips.zip"
    for i, name in enumerate(MEMBERS):
        (tmp_path / ".hidden" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".hidden" / name).write_bytes(png(i))
    return tmp_path / ".hidden"


def test_images_without_what_other_programs_leave(source):
    assert images.listed(source) == ["a/1.jpeg", "b/2.PNG", "top.jpg"]


def test_reads(source):
    assert images.read(source, "a/1.jpeg").shape == (3, 4, 6)
    assert (images.read(source, "a/1.jpeg") == 1).all()
    with pytest.raises(ReadError, match=r"a/9\.png"):
        images.read(source, "a/9.png")


def test_stamps_change_with_the_images(source):
    names = ["a/1.jpeg", "b/2.PNG"]
    before = list(images.stamps(source, names))
    assert list(images.stamps(source, names)) == before
    changed = source if source.is_file() else source / "a/1.jpeg"
    changed.write_bytes(changed.read_bytes() + b"more")
    assert list(images.stamps(source, names)) != before


def test_all_are_decoded_once_so_that_none_fails_later(source):
    asked = []
    found = images.readable(source, ["a/1.jpeg", "a/9.png", "top.jpg"], lambda rows: asked.extend(rows) or asked)
    assert found == ("a/1.jpeg", "top.jpg")
    assert asked == [0, 1, 2]
    assert images.readable(source, []) == ()
    with pytest.raises(DatasetError, match=r"none of the 2 images in .* can be read"):
        images.readable(source, ["a/8.png", "a/9.png"])


def test_images_of_which_nothing_is_known(source):
    found = images.Images(source, ("a/1.jpeg", "top.jpg"))
    assert (found.read(1) == images.read(source, "top.jpg")).all()
    assert list(found.stamps()) == list(images.stamps(source, found.names))


def test_two_archives_in_turn(tmp_path):
    for i in range(2):
        with zipfile.ZipFile(tmp_path / f"{i}.zip", "w") as target:
            target.writestr("x.png", png(i))
    assert [int(images.read(tmp_path / f"{i % 2}.zip", "x.png").max()) for i in range(4)] == [0, 1, 0, 1]


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 and no more"])
def test_neither_archive_nor_directory(tmp_path, content):
    if content is not None:
        (tmp_path / "chips.zip").write_bytes(content)
    with pytest.raises(DatasetError, match="neither a directory nor a readable zip archive"):
        images.listed(tmp_path / "chips.zip")


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("kind", [".png", ".tif"])
def test_more_than_8_bits_are_refused(tmp_path, bands, kind):
    """Also in a TIFF that was renamed: Pillow would make them black or white."""
    deep = np.full((4, 6, bands), 3000, np.uint16)
    for name, pixels in (("deep.png", deep), ("plain.png", (deep >> 8).astype(np.uint8))):
        (tmp_path / name).write_bytes(cv2.imencode(kind, pixels)[1].tobytes())
    for how in (images.read, images.size):
        with pytest.raises(ReadError, match=r"deep\.png has 16 bits a band or more; chips are of 8 bits") as caught:
            how(tmp_path, "deep.png")
        assert "cannot be read" not in str(caught.value)
    assert (images.read(tmp_path, "plain.png") == 11).all()
    with pytest.raises(DatasetError, match=r"none of the 1 images .* has 16 bits"):
        images.readable(tmp_path, ["deep.png"])


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_whole_and_real_numbers_of_32_bits_are_refused(tmp_path, dtype):
    Image.fromarray(np.full((4, 6), 300, dtype)).save(tmp_path / "x.png", "TIFF")
    with pytest.raises(ReadError, match="chips are of 8 bits"):
        images.read(tmp_path, "x.png")


def test_size_without_pixels(source):
    assert images.size(source, "a/1.jpeg") == (4, 6)
    with pytest.raises(ReadError, match=r"a/9\.png"):
        images.size(source, "a/9.png")
