import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import kaggle_dir
import numpy as np
import pytest

from geoscan.data import kaggle
from geoscan.data.cache import find_prepared, prepared
from geoscan.data.kaggle import read_chip, read_kaggle
from geoscan.dehazing import DarkLevel
from geoscan.errors import DatasetError, OutputError
from geoscan.files import cache_directory
from geoscan.model.preprocess import Preprocess

PLAIN = Preprocess(256, 3.7, "visual", None)
CLEAR = replace(PLAIN, dehaze=DarkLevel())


@pytest.fixture
def chips(tmp_path):
    return read_kaggle(kaggle_dir.make(tmp_path / "kaggle", 4))


@pytest.fixture
def decoded(monkeypatch):
    """Count what is decoded."""
    paths = []

    def counted(path):
        paths.append(path)
        return read_chip(path)

    monkeypatch.setattr(kaggle, "read_chip", counted)
    return paths


@pytest.mark.parametrize("preprocess", [PLAIN, CLEAR])
def test_holds_chips_in_their_frame(chips, tmp_path, preprocess):
    pixels, readable, bad = prepared(chips, preprocess, tmp_path / "cache")
    assert (pixels.shape, pixels.dtype) == ((4, 256, 256, 3), np.uint8)
    assert readable.tolist() == [True] * 4
    assert bad == []
    for path, chip in zip(chips.paths, pixels, strict=True):
        np.testing.assert_array_equal(chip, preprocess.frame(read_chip(path)))


def test_pixels_that_were_decoded_otherwise_are_not_taken(chips, tmp_path, monkeypatch):
    prepared(chips, PLAIN, tmp_path / "cache")
    assert find_prepared(chips, PLAIN, tmp_path / "cache") is not None
    monkeypatch.setattr("geoscan.data.cache._DECODING", b"another")
    assert find_prepared(chips, PLAIN, tmp_path / "cache") is None


def test_what_was_read_does_not_stay_in_memory(chips, tmp_path):
    pixels, _, _ = prepared(chips, PLAIN, tmp_path / "cache")
    assert not isinstance(pixels[0], np.memmap)
    assert [pixels[key].shape for key in (0, np.int64(3), slice(1, 3), np.array([2, 0, 2]))] == [
        (256, 256, 3),
        (256, 256, 3),
        (2, 256, 256, 3),
        (3, 256, 256, 3),
    ]
    np.testing.assert_array_equal(pixels[np.array([2, 0, 2])], pixels[:][[2, 0, 2]])


def test_several_threads_read_at_once(chips, tmp_path):
    pixels, _, _ = prepared(chips, PLAIN, tmp_path / "cache")
    wanted = pixels[:]
    with ThreadPoolExecutor(8) as pool:
        for i, chip in enumerate(pool.map(lambda i: pixels[i % 4], range(200))):
            np.testing.assert_array_equal(chip, wanted[i % 4])


def test_decodes_once(chips, tmp_path, decoded):
    first, *_ = prepared(chips, PLAIN, tmp_path / "cache")
    again, *_ = prepared(chips, PLAIN, tmp_path / "cache")
    np.testing.assert_array_equal(first[:], again[:])
    assert decoded == list(chips.paths)


def test_finds_what_is_prepared_and_makes_nothing(chips, tmp_path, decoded):
    assert find_prepared(chips, PLAIN, tmp_path / "cache") is None
    assert not (tmp_path / "cache").exists()
    wanted = prepared(chips, PLAIN, tmp_path / "cache").pixels[:]
    found = find_prepared(chips, PLAIN, tmp_path / "cache")
    np.testing.assert_array_equal(found.pixels[:], wanted)
    assert find_prepared(chips, replace(PLAIN, chip=288), tmp_path / "cache") is None
    assert len(decoded) == 4


def test_another_frame_another_file(chips, tmp_path, decoded):
    for preprocess in (PLAIN, CLEAR, replace(CLEAR, dehaze=DarkLevel(omega=0.7)), replace(PLAIN, chip=288)):
        prepared(chips, preprocess, tmp_path / "cache")
    assert len(decoded) == 8, "haze is removed after chips are varied: the file holds them with it"
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_a_changed_chip_is_decoded_anew(chips, tmp_path, decoded):
    before = prepared(chips, PLAIN, tmp_path / "cache")[0]
    facts = chips.paths[2].stat()
    chips.paths[2].write_bytes(kaggle_dir.jpeg(40))
    after, *_ = prepared(chips, PLAIN, tmp_path / "cache")
    assert (after[2] != before[2]).any()
    os.utime(chips.paths[2], ns=(facts.st_atime_ns, facts.st_mtime_ns + 10_000_000_000))
    prepared(chips, PLAIN, tmp_path / "cache")
    assert len(decoded) == 12


def test_unreadable_chips_are_named_and_left_out(chips, tmp_path, decoded):
    whole = chips.paths[1].read_bytes()
    chips.paths[1].write_bytes(whole[: len(whole) // 2])
    chips.paths[3].write_bytes(b"no image")
    for _ in range(2):
        pixels, readable, bad = prepared(chips, PLAIN, tmp_path / "cache")
        assert readable.tolist() == [True, False, True, False]
        assert len(pixels) == 4
        assert len(bad) == 2
        assert [path in line for path, line in zip(("train_1.jpg", "train_3.jpg"), bad, strict=True)] == [True, True]
    assert len(decoded) == 4


@pytest.mark.parametrize("pattern", ["*", "*.npy", "*.json"])
def test_may_be_deleted_in_whole_or_part_even_in_use(chips, tmp_path, pattern):
    pixels, *_ = prepared(chips, PLAIN, tmp_path / "cache")
    for path in (tmp_path / "cache").glob(pattern):
        path.unlink()
    again, readable, _ = prepared(chips, PLAIN, tmp_path / "cache")
    assert readable.all()
    np.testing.assert_array_equal(pixels[:], again[:])


def test_breaking_off_leaves_nothing_behind(chips, tmp_path):
    def broken(items):
        yield next(iter(items))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(chips, PLAIN, tmp_path / "cache", broken)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_run_left_is_swept_a_day_later(chips, tmp_path):
    (tmp_path / "cache").mkdir()
    left, young = tmp_path / "cache" / ".0a.77-1.part.npy", tmp_path / "cache" / ".0b.78-1.part.npy"
    for path in (left, young):
        path.write_bytes(b"half")
    os.utime(left, (1, 1))
    prepared(chips, PLAIN, tmp_path / "cache")
    assert not left.exists()
    assert young.exists()


def test_several_may_make_it_at_once(chips, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: prepared(chips, PLAIN, tmp_path / "cache"), range(4)))
    for pixels, readable, bad in results:
        np.testing.assert_array_equal(pixels[:], results[0][0][:])
        assert readable.all()
        assert bad == []
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_chip_that_has_gone_is_named(chips, tmp_path):
    chips.paths[2].unlink()
    with pytest.raises(DatasetError, match=r"train_2\.jpg has gone"):
        prepared(chips, PLAIN, tmp_path / "cache")


def test_a_directory_that_cannot_be_made_is_named(chips, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match=r"pass another --cache"):
        prepared(chips, PLAIN, tmp_path / "cache")


FULL = """
import resource, sys
from pathlib import Path
from geoscan.errors import OutputError
from geoscan.model.preprocess import Preprocess
from geoscan.data.cache import prepared
from geoscan.data.kaggle import read_kaggle
chips = read_kaggle(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    prepared(chips, Preprocess(256, 3.7, "visual", None), Path(sys.argv[2]))
except OutputError as err:
    print(err)
"""


def test_a_full_disk_is_one_line(chips, tmp_path):
    root = chips.paths[0].parents[1]
    done = subprocess.run([sys.executable, "-c", FULL, root, tmp_path / "cache"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert "could not be written: File too large; pass another --cache" in done.stdout
    assert list((tmp_path / "cache").iterdir()) == []
    assert prepared(chips, PLAIN, tmp_path / "cache")[1].all()


def test_goes_where_caches_go(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "geoscan"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "geoscan"


def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # as a container's user that /etc/passwd does not list
    with pytest.raises(OutputError, match="--cache"):
        cache_directory()


@pytest.mark.parametrize("suffix", [".json", ".npy"])
def test_a_damaged_cache_is_made_anew(chips, tmp_path, suffix):
    wanted = prepared(chips, PLAIN, tmp_path / "cache")[0][:]
    (damaged,) = (tmp_path / "cache").glob(f"*{suffix}")
    damaged.write_bytes(damaged.read_bytes()[: 20 if suffix == ".npy" else 1])
    found, readable, _ = prepared(chips, PLAIN, tmp_path / "cache")
    assert readable.all()
    np.testing.assert_array_equal(found[:], wanted)
