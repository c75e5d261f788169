"""The journal's file: what it gives back, what it goes on with, and what it does not trust."""

import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scans import CHIP, blocks, run

from geoscan.errors import BusyError, InputError, OutputError
from geoscan.model.package import Package
from geoscan.scanning.batch import ScoredBatch
from geoscan.scanning.gathered import Part
from geoscan.scanning.journal import database
from geoscan.scanning.journal.file import open_journal, read_journal
from geoscan.scanning.journal.kept_plan import from_json, to_json
from geoscan.scanning.journal.key import difference, key_of, mark_of
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scene import Scene

LABELS = 17


@pytest.fixture
def package(make_package) -> Package:
    return make_package(chip=CHIP)


@pytest.fixture
def plan(make_scene, package) -> Plan:
    return Plan.of(Scene.open(make_scene(pixels=blocks(), nodata=0)), package, ScanOptions(batch=4))


def batches(plan: Plan, size: int = 4) -> list[Part]:
    """All tiles of a scene, as batches: some without data, some not understood, some not read."""
    rng = np.random.default_rng(1)
    made = []
    for start in range(0, len(plan.grid), size):
        tiles = list(range(start, min(start + size, len(plan.grid))))
        scored, strange, failed = tiles[2:], tiles[1:2], {tiles[0]: "no 1 é"} if start % 8 else {}
        observed = {tile: 1024 - tile for tile in tiles if tile not in failed}
        scores = rng.random((len(scored), LABELS), np.float32)
        made.append(Part.of(ScoredBatch(scored, scores, strange, 1, observed, failed, {}), LABELS))
    return made


def written(path: Path, plan: Plan, parts: list[Part]) -> Path:
    journal, told = open_journal(path, plan)
    assert told == ""
    with journal:
        for part in parts:
            journal.record(part)
    return path


def known(part: Part) -> dict[int, tuple]:
    """What is known of each tile, to the last bit."""
    scores = dict(zip(part.scored.tolist(), (row.tobytes() for row in part.scores), strict=True))
    seen = zip(part.tiles.tolist(), part.observed.tolist(), strict=True)
    strange = set(part.strange.tolist())
    return {tile: (pixels, scores.get(tile), tile in strange) for tile, pixels in seen}


@pytest.fixture
def truth(plan) -> dict[int, tuple]:
    return {tile: what for part in batches(plan) for tile, what in known(part).items()}


def test_what_was_recorded_comes_back_to_the_last_bit(plan, tmp_path, truth):
    parts = batches(plan)
    path = written(tmp_path / "a.journal", plan, parts)
    journal, told = open_journal(path, plan)
    with journal:
        assert told == ""
        assert known(journal.found) == truth
        assert journal.found.failed == {tile: cause for part in parts for tile, cause in part.failed.items()}
        assert journal.found.white == len(parts)
        assert journal.done == len(truth) == 42 - 5
    assert [one.name for one in tmp_path.iterdir() if "journal" in one.name] == ["a.journal"]


def test_a_plan_comes_back_but_for_what_it_is_read_from(plan):
    again = from_json(to_json(plan))
    assert again.scene.path == again.scene.vrt == again.scene.address == ""
    assert again.reading == plan.reading
    assert (again.scene.transform, again.scene.crs, again.grid) == (plan.scene.transform, plan.scene.crs, plan.grid)
    assert again.package.card == plan.package.card
    assert replace(again, scene=plan.scene, package=plan.package) == plan
    assert str(plan.scene.path).encode() not in to_json(plan)


def test_parameters_that_change_no_score_are_no_part_of_the_key(make_scene, package, plan):
    scene = plan.scene
    for same in ({"high": 0.7}, {"prior": 0.5}, {"batch": 9}):
        other = Plan.of(scene, package, replace(ScanOptions(batch=4), **same))
        assert key_of(other) == key_of(plan)
        assert (mark_of(other) == mark_of(plan)) is (same in ({"batch": 9}, {"prior": 0.5})), "no prior: no calibration"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"stride": 16}, "with another grid of chips (--stride, --model)"),
        ({"scale": (0.001,) * 3}, "with another reading of its values (--scale, --offset, --stretch)"),
        ({"tta": True}, "without --tta: "),
        (
            {"scale": (0.001,) * 3, "force": True},
            "with another reading of its values (--scale, --offset, --stretch) and without --force: ",
        ),
        ({"runtime": "tensorflow"}, "with another --runtime"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_parameter_begins_anew_says_why_and_loses_nothing(plan, package, tmp_path, truth, asked, said):
    path = written(tmp_path / "a.journal", plan, batches(plan))
    other = Plan.of(plan.scene, package, ScanOptions(batch=4, **asked))
    journal, told = open_journal(path, other)
    with journal:
        assert journal.done == 0
    assert told.startswith(f"{path} was begun {said}")
    assert told.endswith("the scan starts anew, and the old file is kept as a.journal.old")
    assert known(read_journal(tmp_path / "a.journal.old")[1]) == truth


def test_other_bands_another_model_and_another_state_of_the_scene_are_told_apart(plan, make_scene, make_package):
    other_bands = replace(plan, scene=Scene.open(plan.scene.path, bands=(3, 2, 1)))
    assert difference(key_of(plan), key_of(other_bands)) == "with other bands (--bands)"
    other = make_package("other", chip=CHIP, detection=(0.6, 0.4, 0.7))
    assert difference(key_of(plan), key_of(replace(plan, package=other))) == "with another model"
    make_scene(pixels=blocks(seed=9), nodata=0, compress="deflate")
    changed = replace(plan, scene=Scene.open(plan.scene.path))
    assert difference(key_of(plan), key_of(changed)) == "with another state of the scene, which has changed since"
    forced = {**key_of(plan), "force": "True"}
    assert difference(forced, key_of(replace(plan, package=other))) == "with another model and --force"


def test_fresh_forgets(plan, tmp_path):
    path = written(tmp_path / "a.journal", plan, batches(plan))
    journal, told = open_journal(path, plan, fresh=True)
    with journal:
        assert (journal.done, told) == (0, "")
    assert list(tmp_path.glob("*.old")) == []


def test_fresh_forgets_no_other_scan(plan, package, tmp_path):
    path = written(tmp_path / "a.journal", plan, batches(plan))
    other = Plan.of(plan.scene, package, ScanOptions(stride=16))
    journal, told = open_journal(path, other, fresh=True)
    with journal:
        assert journal.done == 0
    assert "the old file is kept as a.journal.old" in told
    assert read_journal(tmp_path / "a.journal.old")[0].grid == plan.grid


def test_an_empty_journal_is_taken_over_or_removed(plan, package, tmp_path):
    assert not written(tmp_path / "a.journal", plan, []).exists()
    journal, _ = open_journal(tmp_path / "a.journal", plan)
    with journal:
        shutil.copytree(tmp_path, tmp_path / "killed")
    other = Plan.of(plan.scene, package, ScanOptions(stride=16))
    path = written(tmp_path / "killed" / "a.journal", other, batches(other))
    assert read_journal(path)[0].grid == other.grid


def test_one_scan_at_a_time(plan, tmp_path):
    path = tmp_path / "a.journal"
    journal, _ = open_journal(path, plan)
    with journal:
        with pytest.raises(BusyError, match=r"a\.journal is being written by another scan of this scene; wait for it"):
            open_journal(path, plan)
        with pytest.raises(BusyError):
            read_journal(path)
        database.remove(path)
        assert path.exists(), "it is not ours"
    database.remove(path)
    assert not path.exists()


def test_nothing_is_recorded_once_the_scene_was_written(plan, tmp_path, make_scene):
    parts = batches(plan)
    journal, _ = open_journal(tmp_path / "a.journal", plan)
    with journal:
        journal.record(parts[0])
        make_scene(pixels=blocks(seed=5), nodata=0)
        journal.record(parts[1])
        assert journal.done == len(parts[0].tiles)
    assert known(read_journal(tmp_path / "a.journal")[1]) == known(parts[0])


def strangers(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no journal of ours, and what is said of them."""
    text = folder / "text.journal"
    text.write_text("Dear Sir or Madam, " * 20)
    short = folder / "short.journal"
    short.write_bytes(b"SQLite format 3\0")
    places = folder / "places.journal"
    with sqlite3.connect(places) as db:
        db.execute("CREATE TABLE batch (number INTEGER)")
    db.close()
    tables = folder / "tables.journal"
    with sqlite3.connect(tables) as db:
        db.execute("CREATE TABLE batch (number INTEGER)")
        db.execute(f"PRAGMA application_id = {database._APPLICATION}")
        db.execute("PRAGMA user_version = 1")
    db.close()
    return {
        "text": (text, "is no journal of a scan, or is damaged"),
        "short": (short, "is no journal of a scan, or is damaged"),
        "places": (places, "is no journal of a scan, or is damaged"),
        "tables": (tables, "has other tables than a journal"),
    }


@pytest.mark.parametrize("which", ["text", "short", "places"])
def test_another_s_file_is_set_aside_as_it_is(plan, tmp_path, which):
    path, said = strangers(tmp_path)[which]
    content = path.read_bytes()
    with pytest.raises(InputError, match=f"{said}.*; give another, or scan again"):
        read_journal(path)
    assert path.read_bytes() == content
    journal, told = open_journal(path, plan)
    journal.close()
    assert said in told
    kept = tmp_path / f"{path.name}.old"
    assert kept.read_bytes() == content
    path.write_bytes(b"again" * 40)
    journal, told = open_journal(path, plan)
    journal.close()
    assert told.endswith(f"kept as {path.name}.old2")


def test_a_newer_journal_is_set_aside(plan, tmp_path):
    path = written(tmp_path / "a.journal", plan, batches(plan))
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(InputError, match=r"written by a newer geoscan \(version 2 of its tables, not 1\)"):
        read_journal(path)
    journal, told = open_journal(path, plan)
    journal.close()
    assert "newer geoscan" in told


def test_another_s_tables_under_our_name_are_set_aside(plan, tmp_path):
    path, said = strangers(tmp_path)["tables"]
    journal, told = open_journal(path, plan)
    journal.close()
    assert said in told
    with sqlite3.connect(tmp_path / "tables.journal.old") as db:
        assert db.execute("SELECT count(*) FROM batch").fetchone() == (0,)
    db.close()


def test_a_folder_in_its_place_is_one_line(plan, tmp_path):
    (tmp_path / "a.journal").mkdir()
    with pytest.raises(OutputError, match=r"the journal .*a\.journal cannot be used: Is a directory; write elsewhere"):
        open_journal(tmp_path / "a.journal", plan)
    with pytest.raises(InputError, match="no journal is at"):
        read_journal(tmp_path / "a.journal")


def killed(folder: Path, plan: Plan) -> Path:
    """A journal as kill -9 leaves it: with a write-ahead log that no one has brought home."""
    (folder / "live").mkdir()
    journal, _ = open_journal(folder / "live" / "a.journal", plan)
    with journal:
        for part in batches(plan):
            journal.record(part)
        shutil.copytree(folder / "live", folder / "killed")
    return folder / "killed" / "a.journal"


def trusted(path: Path, plan: Plan, truth: dict[int, tuple]) -> int:
    """Open a journal that was damaged: whatever it gives is true. Returns for how many tiles it gives something."""
    content, alone = path.read_bytes(), not Path(f"{path}-wal").exists()
    journal, told = open_journal(path, plan)
    with journal:
        found = known(journal.found)
        assert found.items() <= truth.items()
        assert bool(told) <= (not found)
    if told and alone:
        assert path.with_name("a.journal.old").read_bytes() == content
    return len(found)


def damaged(source: Path, folder: Path, name: str, content: bytes) -> Path:
    """Copy a journal with another content in one of its files."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source.parent, folder)
    (folder / name).write_bytes(content)
    return folder / source.name


def check_truncations(plan: Plan, folder: Path, truth: dict[int, tuple], step: int) -> set[int]:
    """Cut the file, the log, and a file without a log at every step; return how many tiles were known."""
    live = killed(folder, plan)
    (folder / "closed").mkdir()
    closed = written(folder / "closed" / "a.journal", plan, batches(plan))
    known_of = set()
    for source, name in ((live, "a.journal"), (live, "a.journal-wal"), (closed, "a.journal")):
        content = (source.parent / name).read_bytes()
        for length in range(0, len(content), step):
            known_of.add(trusted(damaged(source, folder / "cut", name, content[:length]), plan, truth))
        assert trusted(damaged(source, folder / "cut", name, content), plan, truth) == len(truth)
    return known_of


def test_a_journal_that_was_cut_off_is_not_trusted(plan, tmp_path, truth):
    found = check_truncations(plan, tmp_path, truth, 9973)
    assert 0 in found
    assert len(found) > 2, "of a log that was cut off, what is whole is used"


@pytest.mark.large
@pytest.mark.timeout(900)
def test_a_journal_that_was_cut_off_at_every_100th_byte_is_not_trusted(plan, tmp_path, truth):
    assert 0 in check_truncations(plan, tmp_path, truth, 100)


def test_a_journal_with_flipped_bytes_is_not_trusted(plan, tmp_path, truth):
    (tmp_path / "closed").mkdir()
    closed = written(tmp_path / "closed" / "a.journal", plan, batches(plan))
    content, rng = closed.read_bytes(), random.Random(3)
    lost = 0
    for _ in range(40):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        lost += trusted(damaged(closed, tmp_path / "flipped", closed.name, bytes(flipped)), plan, truth) < len(truth)
    assert lost > 5


def test_a_scan_that_goes_on_gives_the_same_as_one_that_was_not_ended(make_scene, package, plan, tmp_path):
    whole = run(Path(plan.scene.path), package)
    half = np.flatnonzero(np.arange(len(plan.grid)) % 3)
    part = Part(
        half.astype(np.uint32),
        whole.observed[half].astype(np.uint32),
        half.astype(np.uint32),
        whole.scores[half],
        np.empty(0, np.uint32),
        0,
        {},
    )
    journal, _ = open_journal(written(tmp_path / "a.journal", plan, [part]), plan)
    with journal:
        again = run(Path(plan.scene.path), package, journal=journal)
    np.testing.assert_array_equal(again.scores, whole.scores)
    np.testing.assert_array_equal(again.observed, whole.observed)
    assert again.resumed == len(half)
    assert detect(again).summary.resumed == 28
