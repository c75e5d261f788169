import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from geoscan.data.chips import only_cloudy
from geoscan.data.kaggle import cap_cloudy, read_chip, read_kaggle
from geoscan.errors import DatasetError, ReadError
from geoscan.labels import LABELS, MINE_COLUMN, WEATHER
from geoscan.radiometry import PLANET_ANALYTIC

DATA = Path(os.environ.get("GEOSCAN_DATA", "../shared/data")) / "planet"


def picture(seed=0, size=256):
    coarse = np.random.default_rng(seed).integers(0, 256, (size // 16, size // 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BILINEAR)


def kaggle(directory, rows, chips, table="train_v2.csv"):
    (directory / "train-jpg").mkdir(parents=True)
    for name in chips:
        (directory / "train-jpg" / f"{name}.jpg").write_bytes(b"")
    lines = ["image_name,tags", *(f"{name},{tags}" for name, tags in rows)]
    (directory / table).write_text("\n".join(lines) + "\n")
    return directory


def test_finds_labelled_chips_in_natural_order(tmp_path):
    rows = [("train_10", "clear primary water"), ("train_2", "haze")]
    found = read_kaggle(kaggle(tmp_path, rows, ["train_2", "train_10"]))
    assert found.names == ("train_2", "train_10")
    assert [path.name for path in found.paths] == ["train_2.jpg", "train_10.jpg"]
    assert {LABELS[i] for i in found.targets[1].nonzero()[0]} == {"clear", "primary", "water"}
    assert found.targets.dtype == np.float32
    assert not np.isnan(found.targets).any()
    assert found.problems.lines() == []


@pytest.mark.parametrize("table", ["train.csv", "train_classes.csv"])
def test_looks_one_level_below_and_takes_other_tables(tmp_path, table):
    kaggle(tmp_path / "planet", [("train_0.jpg", "clear")], ["train_0"], table)
    assert read_kaggle(tmp_path).names == ("train_0",)


def test_counts_and_names_every_problem(tmp_path):
    rows = [
        ("train_0", "clear primary"),
        ("train_0", "haze"),
        ("train_1", "clear cloudy road"),
        ("train_2", "primary volcano"),
        ("train_3", "clear"),
    ]
    found = read_kaggle(kaggle(tmp_path, rows, ["train_0", "train_1", "train_2", "train_9"]))
    problems = found.problems
    assert problems.duplicate_rows == ("train_0",)
    assert problems.contradictory_weather == ("train_1", "train_2")
    assert problems.unknown_tags == ("volcano",)
    assert problems.labels_without_chips == ("train_3",)
    assert problems.chips_without_labels == ("train_9",)
    assert len(problems.lines()) == 5
    assert found.targets[0, LABELS.index("clear")] == 1
    assert np.isnan(found.targets[1:, : len(WEATHER)]).all()
    assert found.targets[1, LABELS.index("road")] == 1
    assert not np.isnan(found.targets[:, len(WEATHER) :]).any()


def test_unusable_directories_are_one_line(tmp_path):
    def message(directory):
        with pytest.raises(DatasetError) as caught:
            read_kaggle(directory)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no directory" in message(tmp_path / "absent")
    assert "train_v2.csv" in message(tmp_path)
    (tmp_path / "train_v2.csv").write_text("image_name,tags\ntrain_0,clear\n")
    assert "train-jpg" in message(tmp_path)
    (tmp_path / "train-jpg").mkdir()
    assert "train-jpg" in message(tmp_path)
    (tmp_path / "train-jpg" / "other_0.jpg").write_bytes(b"")
    assert "none of the 1 names" in message(tmp_path)
    (tmp_path / "train_v2.csv").write_text("file,label\na,b\n")
    assert "image_name,tags" in message(tmp_path)
    (tmp_path / "train_v2.csv").write_text("image_name,tags\n")
    assert "no rows" in message(tmp_path)
    (tmp_path / "train_v2.csv").write_bytes(b"\xff\xfe\x00")
    assert "train_v2.csv" in message(tmp_path)


def test_cap_keeps_all_but_surplus_cloud_and_does_not_depend_on_order(tmp_path):
    rows = [(f"train_{i}", "cloudy" if i % 2 else "cloudy water" if i % 4 else "clear") for i in range(40)]
    found = read_kaggle(kaggle(tmp_path, rows, [name for name, _ in rows]))
    capped = cap_cloudy(found, 5, seed=1)
    assert only_cloudy(capped.targets).sum() == 5
    assert len(capped) == 25
    turned = cap_cloudy(found.take(reversed(range(40))), 5, seed=1)
    assert set(turned.names) == set(capped.names)
    assert set(cap_cloudy(found, 5, seed=2).names) != set(capped.names)
    assert len(cap_cloudy(found, 0, seed=1)) == 20
    assert cap_cloudy(found, 99, seed=1).names == found.names


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_reads_jpegs_of_any_colour_model(tmp_path, mode):
    path = tmp_path / "train_0.jpg"
    picture().convert(mode).save(path, quality=95)
    chip = read_chip(path)
    assert chip.shape == (3, 256, 256)
    assert chip.dtype == np.uint8
    expected = np.asarray(picture().convert(mode).convert("RGB")).transpose(2, 0, 1)
    assert np.abs(chip.astype(int) - expected).mean() < 3


def test_truncated_jpeg_is_an_error_wherever_it_is_cut(tmp_path):
    buffer = io.BytesIO()
    picture().convert("CMYK").save(buffer, "JPEG", quality=80)
    whole, path = buffer.getvalue(), tmp_path / "train_7.jpg"
    for length in [0, 1, 10, len(whole) // 3, len(whole) // 2, *range(len(whole) - 40, len(whole), 3)]:
        path.write_bytes(whole[:length])
        with pytest.raises(ReadError, match=r"train_7\.jpg"):
            read_chip(path)
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    with pytest.raises(ReadError, match=r"train_7\.jpg"):
        read_chip(path)


def tiff(path, dtype="uint16"):
    levels = np.stack([np.full((256, 256), value) for value in (1, 2, 3, 4)]) * (40 if dtype == "uint8" else 2500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", width=256, height=256, count=4, dtype=dtype) as out:
            out.write(levels.astype(dtype))
    return levels


def test_tiffs_are_blue_green_red_and_mapped_by_the_radiometry(tmp_path):
    levels = tiff(tmp_path / "train_0.tif")
    expected = PLANET_ANALYTIC.apply(levels[[2, 1, 0]].astype(np.uint16), np.ones((256, 256), bool))
    chip = read_chip(tmp_path / "train_0.tif")
    assert chip.dtype == np.uint8
    assert (chip == expected).all()
    whole = (tmp_path / "train_0.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match=r"cut\.tif"):
        read_chip(tmp_path / "cut.tif")
    tiff(tmp_path / "bytes.tif", "uint8")
    with pytest.raises(ReadError, match="uint16"):
        read_chip(tmp_path / "bytes.tif")


def test_takes_tiffs_where_there_are_no_jpegs(tmp_path):
    kaggle(tmp_path, [("train_0", "clear"), ("train_1", "haze")], ["train_0"])
    (tmp_path / "train-tif-v2").mkdir()
    tiff(tmp_path / "train-tif-v2" / "train_1.tif")
    assert read_kaggle(tmp_path).names == ("train_0",)
    (tmp_path / "train-jpg" / "train_0.jpg").unlink()
    assert read_kaggle(tmp_path).names == ("train_1",)


def test_wrong_size_and_missing_file_are_read_errors(tmp_path):
    picture(size=128).save(tmp_path / "small.jpg")
    with pytest.raises(ReadError, match="128 x 128"):
        read_chip(tmp_path / "small.jpg")
    with pytest.raises(ReadError, match=r"absent\.jpg"):
        read_chip(tmp_path / "absent.jpg")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no Kaggle chips in {DATA}")
def test_real_chips_read_as_pillow_reads_them():
    found = read_kaggle(DATA)
    assert len(found) == 2319
    assert len(found.problems.labels_without_chips) == 40479 - 2319
    for path in found.paths[::300]:
        with Image.open(path) as image:
            assert image.mode == "CMYK"
            assert (read_chip(path) == np.asarray(image.convert("RGB")).transpose(2, 0, 1)).all()


def test_tags_in_any_case_and_between_commas_or_spaces_are_the_same(tmp_path):
    rows = [("train_0", "Clear Primary"), ("train_1.JPG", '"clear,primary"'), ("train_2", '" CLEAR ,  primary "')]
    found = read_kaggle(kaggle(tmp_path, rows, ["train_0", "train_1", "train_2"]))
    assert found.problems.unknown_tags == ()
    assert [[LABELS[i] for i in np.flatnonzero(row == 1)] for row in found.targets] == [["clear", "primary"]] * 3


def test_a_mine_is_known_as_kaggle_and_as_layers_spell_it(tmp_path):
    rows = [("train_0", "clear artisinal_mine"), ("train_1", "clear artisanal_mine"), ("train_2", "clear")]
    found = read_kaggle(kaggle(tmp_path, rows, ["train_0", "train_1", "train_2"]))
    assert found.targets[:, MINE_COLUMN].tolist() == [1, 1, 0]
    assert found.problems.lines() == []


def test_unknown_tags_say_how_many_chips_bear_them_and_what_they_may_mean(tmp_path):
    rows = [(f"train_{n}", "clear primary artisinal_mines") for n in range(12)] + [
        ("train_12", "clear volcano volcano")
    ]
    found = read_kaggle(kaggle(tmp_path, rows, [name for name, _ in rows]))
    (line,) = found.problems.lines()
    assert line.startswith(
        "2 unknown tags, and how many chips bear them "
        "('artisinal_mines' (12; did you mean artisinal_mine?), 'volcano' (1)): left out"
    )


def test_chips_with_a_suffix_in_capitals_are_found(tmp_path):
    folder = kaggle(tmp_path, [("train_0", "clear primary"), ("train_1", "clear")], ["train_0", "train_1"])
    for file in (folder / "train-jpg").glob("*.jpg"):
        file.rename(file.with_suffix(".JPG"))
    assert read_kaggle(folder).names == ("train_0", "train_1")


def test_labels_of_another_set_are_refused(tmp_path):
    folder = kaggle(tmp_path, [("train_0", "Forest River"), ("train_1", "SeaLake clear")], ["train_0", "train_1"])
    with pytest.raises(DatasetError, match=r"does not hold Kaggle's labels: 3 of 4 tags are unknown"):
        read_kaggle(folder)


def test_a_chip_that_names_a_server_asks_nobody(tmp_path, port):
    folder = tmp_path / "train-tif-v2"
    folder.mkdir()
    (tmp_path / "train_v2.csv").write_text("image_name,tags\ntrain_0,clear primary\n")
    service = (
        f'<Service name="TiledWMS"><ServerUrl>{port.url}/wms?</ServerUrl><TiledGroupName>a</TiledGroupName></Service>'
    )
    (folder / "train_0.tif").write_text(f"<GDAL_WMS>{service}</GDAL_WMS>")
    chips = read_kaggle(tmp_path)
    with pytest.raises(ReadError, match=r"train_0\.tif cannot be read"):
        chips.read(0)
    assert not port.was_asked


def test_a_folder_in_a_folder_of_its_name_is_found(tmp_path):
    """As Windows unpacks archives."""
    made = kaggle(tmp_path, [("train_0", "clear primary")], ["train_0"])
    (made / "train-jpg").rename(made / "inner")
    (made / "train-jpg").mkdir()
    (made / "inner").rename(made / "train-jpg" / "train-jpg")
    assert read_kaggle(made).names == ("train_0",)


def test_folders_that_may_not_be_entered_are_left_out(tmp_path, monkeypatch):
    made = kaggle(tmp_path, [("train_0", "clear primary")], ["train_0"])
    (made / "lost+found").mkdir()
    plain = Path.is_file

    def is_file(path):
        if "lost+found" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    monkeypatch.setattr("os.access", lambda path, mode: "lost+found" not in str(path))
    assert read_kaggle(made).names == ("train_0",)
