import io
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoscan.data.mine_chips import campaign, read_mine_chips
from geoscan.errors import DatasetError, ReadError
from geoscan.labels import LABELS, MINE

DATA = Path(os.environ.get("GEOSCAN_DATA", "../shared/data")) / "sentinel2-mines"


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((48, 48, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def chips(tmp_path):
    with zipfile.ZipFile(tmp_path / "chips.zip", "w") as archive:
        for i in range(6):
            archive.writestr(f"{'mine' if i % 2 else 'other'}/{i}.png", png(i * 10))
            file = tmp_path / "open" / "mine" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(i))
    return tmp_path


def write(path, *rows, head="file,label,source_gallery"):
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_only_the_mine_label_is_known(chips):
    index = write(chips / "i.csv", "mine/1.png,mine,A_S2L1C_clear0.05_2024-01-01", "other/2.png,other,B")
    found = read_mine_chips(chips / "chips.zip", index)
    assert found.names == ("mine/1.png", "other/2.png")
    assert found.targets[:, LABELS.index(MINE)].tolist() == [1, 0]
    assert np.isnan(found.targets).sum() == 2 * (len(LABELS) - 1)
    assert found.campaigns == ("A", "B")
    assert found.read(1).shape == (3, 48, 48)
    assert (found.read(1) == 20).all()
    turned = found.take([1])
    assert (turned.names, turned.campaigns, turned.targets[0, LABELS.index(MINE)]) == (("other/2.png",), ("B",), 0)
    assert (turned.read(0) == 20).all()


def test_composites_of_one_campaign_are_one(chips):
    dates = "2024-01-01_2025-01-01"
    assert campaign(f"riverbank_v2025-08_S2L1C_clear0.05_{dates}") == campaign(
        f"riverbank_v2025-08_S2L1C_clear0.75_{dates}"
    )
    assert campaign("v2.6_amazon_negatives_v2_S2L1C_clear0.75_2019-01-01_2020-01-01") == "v2.6_amazon_negatives_v2"
    assert campaign("by hand") == "by hand"
    assert campaign("Peru-curated2025-09_S2L1C_clear0.75_2024-01-01_2025-01-01") == campaign("Peru-curated2026-04-17")


def test_pickles_to_its_address_and_reads_from_many_threads(chips):
    index = write(
        chips / "i.csv", *(f"{'mine' if i % 2 else 'other'}/{i}.png,other" for i in range(6)), head="file,label"
    )
    found = pickle.loads(pickle.dumps(read_mine_chips(chips / "chips.zip", index)))
    assert len(set(found.campaigns)) == 6
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda i: int(found.read(i % 6).mean()), range(300)))
    assert values == [i % 6 * 10 for i in range(300)]


def test_a_directory_serves_as_well(chips):
    found = read_mine_chips(chips / "open", write(chips / "i.csv", "mine/3.png,mine", head="file,label"))
    assert (found.read(0) == 3).all()


def test_problems_are_counted(chips):
    index = write(
        chips / "i.csv",
        "mine/1.png,mine,A",
        "mine/1.png,mine,A",
        "mine/99.png,mine,A",
        "mine/3.png,lake,A",
        "other/0.png,other,A",
    )
    found = read_mine_chips(chips / "chips.zip", index)
    assert len(found) == 2
    assert found.problems.duplicate_rows == ("mine/1.png",)
    assert found.problems.labels_without_chips == ("mine/99.png",)
    assert found.problems.unknown_labels == ("lake",)
    assert found.problems.chips_without_labels == ("mine/5.png", "other/2.png", "other/4.png")


def test_labels_in_any_case_and_with_spaces_are_the_same(chips):
    index = write(
        chips / "i.csv", "mine/1.png,Mine,A", "mine/3.png, mine,A", "mine/5.png,MINE ,A", "other/0.png,Other,B"
    )
    found = read_mine_chips(chips / "chips.zip", index)
    assert found.targets[:, LABELS.index(MINE)].tolist() == [1, 1, 1, 0]
    assert found.problems.unknown_labels == ()


def test_rows_that_are_lost_to_their_labels_are_counted(chips):
    rows = [f"mine/{n}.png,gold,A" for n in range(1, 60)] + ["other/0.png,,A", "mine/3.png,mine,A"]
    found = read_mine_chips(chips / "chips.zip", write(chips / "i.csv", *rows))
    assert found.names == ("mine/3.png",)
    assert "60 rows with unknown labels ('gold' (59), '' (1)): left out" in found.problems.lines()


def test_where_no_row_is_understood_it_says_what_came(chips):
    index = write(chips / "i.csv", "mine/1.png,gold,A", "mine/3.png,gold,A", "other/0.png,lake,A", "mine/99.png,mine,A")
    with pytest.raises(DatasetError) as caught:
        read_mine_chips(chips / "chips.zip", index)
    assert str(caught.value).endswith(
        "; 1 name what is not there (mine/99.png); 3 have labels that are not mine or other: 'gold' (2), 'lake' (1)"
    )


def test_unusable_input(chips):
    good = write(chips / "i.csv", "mine/1.png,mine,A")
    (chips / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    for source, index in (
        (chips / "absent.zip", good),
        (chips / "broken.zip", good),
        (chips / "chips.zip", chips / "absent.csv"),
        (chips / "chips.zip", write(chips / "w.csv", "a,b", head="x,y")),
        (chips / "chips.zip", write(chips / "e.csv", "nowhere.png,mine,A")),
    ):
        with pytest.raises(DatasetError) as caught:
            read_mine_chips(source, index)
        assert "\n" not in str(caught.value)


def test_damaged_member_is_named(chips):
    found = read_mine_chips(chips / "chips.zip", write(chips / "i.csv", "mine/1.png,mine,A"))
    data = bytearray((chips / "chips.zip").read_bytes())
    start = data.index(b"mine/1.png")
    data[start + 60 : start + 80] = bytes(20)
    (chips / "other.zip").write_bytes(data)
    damaged = read_mine_chips(chips / "other.zip", chips / "i.csv")
    with pytest.raises(ReadError, match=r"mine/1\.png"):
        damaged.read(0)
    assert (found.read(0) == 10).all()


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no Sentinel-2 chips in {DATA}")
def test_real_index():
    found = read_mine_chips(DATA / "chips.zip", DATA / "index.csv")
    mine = found.targets[:, LABELS.index(MINE)]
    assert ((mine == 1).sum(), (mine == 0).sum()) == (3021, 7991)
    assert not any("clear0" in name for name in found.campaigns)
    assert found.problems.lines() == []
    assert found.read(11_011).shape == (3, 48, 48)


def test_a_row_that_was_cut_off_has_no_label(chips):
    """As the last row of a file that was not copied whole."""
    index = write(chips / "i.csv", "mine/1.png,mine,A", "other/2.png")
    found = read_mine_chips(chips / "chips.zip", index)
    assert found.names == ("mine/1.png",)
    assert found.problems.unknown_labels == ("",)
    assert found.problems.lines()
    swapped = write(chips / "j.csv", "mine,mine/1.png", "other", head="label,file")
    assert read_mine_chips(chips / "chips.zip", swapped).problems.labels_without_chips == ("",)


def test_an_endless_index_takes_no_memory(chips, tmp_path):
    (tmp_path / "index.csv").touch()
    os.truncate(tmp_path / "index.csv", 2**36)
    for endless in (tmp_path / "index.csv", Path("/dev/zero")):
        with pytest.raises(DatasetError, match="has more than 64 MB, too much for a table of file,label"):
            read_mine_chips(chips / "chips.zip", endless)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_what_parts_the_columns_may_be_a_semicolon_or_a_tab(chips, mark):
    """As Excel has it where decimals have commas."""
    rows = [row.replace(",", mark) for row in ("file,label,source_gallery", "mine/1.png,mine,A", "other/2.png,other,B")]
    index = write(chips / "i.csv", *rows[1:], head=rows[0])
    found = read_mine_chips(chips / "chips.zip", index)
    assert (found.names, found.campaigns) == (("mine/1.png", "other/2.png"), ("A", "B"))


def test_a_semicolon_in_a_header_with_commas_parts_nothing(chips):
    index = write(chips / "i.csv", "mine/1.png,mine,A;B", head="file,label,source_gallery;place")
    assert read_mine_chips(chips / "chips.zip", index).names == ("mine/1.png",)


def test_chips_of_another_kind_of_file_are_not_said_to_be_missing_alone(chips):
    (chips / "open" / "mine" / "9.TIF").write_bytes(b"II*")
    some = write(chips / "i.csv", "mine/1.png,mine,A", "mine/9.TIF,mine,A")
    wanted = "chips must be PNG or JPEG files of 8 bits"
    (line,) = (line for line in read_mine_chips(chips / "open", some).problems.lines() if "9.TIF" in line)
    assert line.endswith(wanted)
    with pytest.raises(DatasetError, match=wanted):
        read_mine_chips(chips / "open", write(chips / "j.csv", "mine/9.TIF,mine,A"))
    missing = write(chips / "k.csv", "mine/1.png,mine,A", "mine/99.png,mine,A")
    assert wanted not in "".join(read_mine_chips(chips / "open", missing).problems.lines())
