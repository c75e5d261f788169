"""A result's place is checked before the work, and the file gets there whole or not at all."""

import os
import sqlite3
from types import SimpleNamespace

import pytest
from rasterio.errors import RasterioError, RasterioIOError

from geoscan.errors import InputError, OutputError, ReadError
from geoscan.files import check_place, check_target, replacing

SUFFIXES = (".geojson", ".gpkg")


def check(path, *sources):
    check_target(path, SUFFIXES, "vector format", sources)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_targets_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"the suffix '\.shp', which names no vector format; end it in \.geojson"):
        check(tmp_path / "mines.shp")
    with pytest.raises(InputError, match="has no suffix"):
        check(tmp_path / "mines")
    with pytest.raises(InputError, match="is not a folder; make it first"):
        check(tmp_path / "nowhere" / "mines.geojson")
    (tmp_path / "taken.gpkg").mkdir()
    with pytest.raises(InputError, match=r"is a folder; name a file in it, such as .*taken\.gpkg"):
        check(tmp_path / "taken.gpkg")
    check(str(tmp_path / "MINES.GeoJSON"))
    assert names(tmp_path) == ["taken.gpkg"]


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="may not be written to"):
        check(tmp_path / "mines.geojson")


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    """As root, a rename would put a regular file in the place of /dev/full."""
    pipe = tmp_path / "pipe.gpkg"
    os.mkfifo(pipe)
    (tmp_path / "link.gpkg").symlink_to(pipe)
    for path in (pipe, tmp_path / "link.gpkg"):
        for refused in (check, check_place):
            with pytest.raises(InputError, match=r"\.gpkg is no regular file") as caught:
                refused(path)
            assert "\n" not in str(caught.value)
    assert pipe.is_fifo()
    (tmp_path / "nowhere.gpkg").symlink_to(tmp_path / "new.gpkg")
    check_place(tmp_path / "nowhere.gpkg")


def test_a_source_is_never_the_target(tmp_path):
    scene = tmp_path / "scene.gpkg"
    scene.write_bytes(b"a raster")
    (tmp_path / "link.gpkg").symlink_to(scene)
    for path in (scene, tmp_path / "link.gpkg"):
        with pytest.raises(InputError, match="is the scene itself"):
            check(path, "https://example.org/other.tif", str(scene))
    check(tmp_path / "mines.gpkg", str(scene))


def test_a_file_is_replaced_in_the_end(tmp_path):
    path = tmp_path / "heat [1].tif"
    path.write_bytes(b"old")
    with replacing(path) as part:
        assert part.parent == tmp_path
        assert part.suffix == ".tif"
        part.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == [path.name]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "out.tif"
    link.symlink_to(tmp_path / "real" / "out.tif")
    with replacing(link) as part:
        part.write_bytes(b"new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "out.tif").read_bytes() == b"new"


def test_a_full_disk_is_told_of_where_gdal_has_no_word_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr("geoscan.files.shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    said = r"out\.tif could not be written: No space left on device; make room"
    with pytest.raises(OutputError, match=said), replacing(tmp_path / "out.tif"):
        raise RasterioIOError("TIFFWriteDirectoryTagData:IO error writing tag data")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("it has\nholes"), "it has holes"),
        (OSError(), "OSError"),
        (RasterioIOError("no such driver"), "no such driver"),
        (RasterioError("of no OSError's kind"), "of no OSError's kind"),
    ],
)
def test_a_failure_is_an_output_error_and_leaves_the_old_file(tmp_path, error, reason):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")

    def fail():
        with replacing(path) as part:
            part.write_bytes(b"half")
            raise error

    with pytest.raises(OutputError) as caught:
        fail()
    assert str(caught.value) == f"{path} could not be written: {reason}; make room or write elsewhere"
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ReadError("a tile"), ZeroDivisionError()])
def test_other_errors_pass_through_and_clean_up(tmp_path, error):
    def interrupted():
        with replacing(tmp_path / "out.tif") as part:
            part.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        interrupted()
    assert caught.value is error
    assert names(tmp_path) == []


def test_a_block_that_writes_nothing_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="No such file"), replacing(tmp_path / "out.tif"):
        pass


def test_what_was_kept_beside_the_old_file_goes_with_it(tmp_path):
    stale = ["out.tif.aux.xml", "out.tif.ovr", "out.tif.msk"]
    others = ["out.qml", "out.tfw", "out.tif.txt", "other.tif.ovr"]
    for name in ("out.tif", *stale, *others):
        (tmp_path / name).write_bytes(b"old")
    with replacing(tmp_path / "out.tif") as part:
        part.write_bytes(b"new")
        assert set(stale) < set(names(tmp_path))
    assert names(tmp_path) == sorted(["out.tif", *others])


def test_a_journal_of_the_old_file_is_not_written_into_the_new(tmp_path):
    path = tmp_path / "mines.gpkg"
    reader = sqlite3.connect(path)
    reader.execute("PRAGMA journal_mode = WAL")  # as QGIS does while a layer is open
    reader.execute("CREATE TABLE mines (name)")
    reader.execute("INSERT INTO mines VALUES ('old')")
    reader.commit()
    assert names(tmp_path) == ["mines.gpkg", "mines.gpkg-shm", "mines.gpkg-wal"]
    with replacing(path) as part:
        new = sqlite3.connect(part)
        new.execute("CREATE TABLE mines (name)")
        new.execute("INSERT INTO mines VALUES ('new')")
        new.commit()
        new.close()
    again = sqlite3.connect(path)
    assert again.execute("SELECT name FROM mines").fetchall() == [("new",)]
    again.close()
    reader.close()
