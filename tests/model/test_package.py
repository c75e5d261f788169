import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tiny_model import SPEC, card, package
from tiny_model import network as build

from geoscan.dehazing import DarkLevel
from geoscan.errors import InputError, OutputError, PackageError
from geoscan.labels import MINE
from geoscan.model import export as exports
from geoscan.model import package as packages
from geoscan.model.calibration import Calibration, Curve
from geoscan.model.card import Card
from geoscan.model.figures import CampaignFigures, F2Figures, Figures
from geoscan.model.markdown import card_markdown
from geoscan.model.openvino_runtime import OpenVinoDetector
from geoscan.model.origin import TrainedOn, Training
from geoscan.model.package import CARD, MARKDOWN, NETWORK, WEIGHTS, load, save
from geoscan.model.spec import MINE_HEADS, EfficientNetSpec, Head
from geoscan.polygons import Hysteresis

network = cache(build)
FILES = [CARD, MARKDOWN, "network.bin", NETWORK, WEIGHTS]
FIGURES = Figures(notes=("of two chips",), f2=F2Figures(2, 0.5, None, None, None, None, 0.1))
CHIPS = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return package(tmp_path_factory.mktemp("made") / "tiny", seed=1, figures=FIGURES)


@pytest.fixture
def copy(made, tmp_path):
    return Path(shutil.copytree(made.path, tmp_path / "copy"))


def edit(path, **changes):
    facts = json.loads((path / CARD).read_text())
    (path / CARD).write_text(json.dumps(facts | changes))


def sealed(path, text):
    """The digest of a card and whatever the other files are."""
    return packages._digest([path / name for name in packages._SEALED], text)


def refused(path, match):
    with pytest.raises(PackageError, match=match) as caught:
        load(path).network()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_round_trip_gives_the_same_scores_and_card(made):
    opened = load(made.path)
    assert opened.card.digest == made.card.digest
    assert opened.card.spec == SPEC
    assert opened.card.thresholds == made.card.thresholds
    expected = network(seed=1)(CHIPS)
    for name, answer in opened.network()(CHIPS).items():
        np.testing.assert_array_equal(answer, expected[name])


def test_card_round_trips_through_json():
    dehaze = DarkLevel(omega=0.5, airlight=(0.5, 0.6, 0.7))
    history = Training(history=({"loss": 0.5},), teachers=("abc",))
    whole = card(dehaze=dehaze, figures=FIGURES, data=TrainedOn("rendered", campaigns=3), training=history)
    assert Card.from_json(whole.to_json()) == whole


@pytest.mark.parametrize("spec", [SPEC, EfficientNetSpec(side=32, chip=16, heads=MINE_HEADS)])
def test_card_round_trips_with_either_family_and_a_calibration(spec):
    curves = {"artisinal_mine": Curve(0.6, 1.4, -2.1)}
    whole = card(spec, calibration=Calibration({"land": 1.7}, seen_prior=0.18, ground_prior=0.001, curves=curves))
    opened = Card.from_json(whole.to_json())
    assert opened == whole
    assert type(opened.spec) is type(spec)
    assert opened.labels == spec.labels


def test_refuses_a_network_of_no_known_family(copy):
    edit(copy, spec=json.loads((copy / CARD).read_text())["spec"] | {"family": "perceptron"})
    refused(copy, "perceptron.*densenet")


@pytest.mark.parametrize(
    ("calibration", "match"),
    [
        ({"temperatures": {"land": 0}}, "temperature 0.0 of land"),
        ({"temperatures": {"land": None}}, "temperatures"),
        ({"temperatures": {"sea": 2}}, "sea do not fit the heads weather, land"),
        ({"curves": {"land": {"a": 1}}}, "curves of land do not fit the labels clear, "),
        ({"curves": {"artisinal_mine": {"b": 0}}}, "b 0.0 does not fit"),
        ({"curves": {"artisinal_mine": {"d": 1}}}, "curves.artisinal_mine.d"),
        ({"seen_prior": 0}, "seen_prior 0.0"),
        ({"ground_prior": 7}, "ground_prior 7.0"),
    ],
)
def test_refuses_an_impossible_calibration(copy, calibration, match):
    edit(copy, calibration=calibration)
    refused(copy, match)


def test_operating_points_come_back_in_their_order():
    points = {"sensitive": Hysteresis(0.2, 0.1, 0.2), "strict": Hysteresis(0.8, 0.4, 0.8)}
    opened = Card.from_json(card(**points).to_json())
    assert list(opened.points.items()) == [
        ("sensitive", points["sensitive"]),
        ("balanced", opened.detection),
        ("strict", points["strict"]),
    ]
    assert opened.point("strict") == points["strict"]
    with pytest.raises(PackageError, match=r"no operating point strict, only balanced; .* or give --high") as caught:
        card().point("strict")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "points",
    [
        {"strict": {"high": 0.5, "low": 0.3, "isolated": 0.5}},
        {"sensitive": {"high": 0.4, "low": 0.4, "isolated": 0.4}},
        {"sensitive": {"high": 0.4, "low": 0.2, "isolated": 0.7}},
    ],
)
def test_refuses_operating_points_out_of_order(copy, points):
    edit(copy, **points)
    refused(copy, "thresholds above those of")


def test_the_card_for_people_says_what_the_card_says(made):
    text = (made.path / MARKDOWN).read_text(encoding="utf-8")
    assert text == card_markdown(load(made.path).card)
    assert made.card.digest in text


def test_a_package_without_a_card_for_people_is_whole(copy, made):
    (copy / MARKDOWN).unlink()
    assert load(copy).card.digest == made.card.digest


def test_optimizer_and_half_precision_stay_behind(tmp_path):
    from geoscan.model import network as networks
    from geoscan.model.backend import keras

    compiled, half = build(seed=3), networks.build(SPEC, dtype="mixed_float16")
    half.set_weights(compiled.get_weights())
    compiled.compile(
        keras.optimizers.AdamW(1e-3), {"weather": "categorical_crossentropy", "land": "binary_crossentropy"}
    )
    compiled.optimizer.build(compiled.trainable_variables)
    keras.utils.set_random_seed(99)
    saved, twin = save(tmp_path / "a", compiled, card()), save(tmp_path / "b", half, card())
    assert saved.card.digest == twin.card.digest, "whatever the seed of dropout and the precision of training"
    assert (saved.path / WEIGHTS).stat().st_size < 1.5 * (package(tmp_path / "c", seed=3).path / WEIGHTS).stat().st_size
    assert compiled.optimizer is not None
    opened = saved.network()
    assert getattr(opened, "optimizer", None) is None
    np.testing.assert_array_equal(opened(CHIPS)["land"], compiled(CHIPS)["land"])


def test_holds_nothing_but_weights_and_cards(made):
    assert sorted(path.name for path in made.path.iterdir()) == FILES


def test_same_network_and_card_give_the_same_bytes(made, tmp_path):
    twin = package(tmp_path / "twin", seed=1, figures=FIGURES)
    assert twin.card.digest == made.card.digest
    for name in FILES:
        assert (twin.path / name).read_bytes() == (made.path / name).read_bytes()


def test_digest_covers_weights_and_card(made, tmp_path):
    digests = {made.card.digest, package(tmp_path / "a", seed=2).card.digest}
    digests.add(save(tmp_path / "b", network(seed=1), card(gsd=3.0)).card.digest)
    assert len(digests) == 3


@pytest.mark.parametrize("name", [WEIGHTS, NETWORK, "network.bin"])
@pytest.mark.parametrize("where", [0.01, 0.5, 0.99])
def test_refuses_a_flipped_byte(copy, name, where):
    data = bytearray((copy / name).read_bytes())
    data[int(where * len(data))] ^= 1
    (copy / name).write_bytes(data)
    refused(copy, "do not fit together")


@pytest.mark.parametrize("name", [NETWORK, "network.bin"])
def test_refuses_a_package_that_has_lost_its_export(copy, name):
    (copy / name).unlink()
    refused(copy, "do not fit together")


def test_a_package_of_an_earlier_version_has_no_export_and_opens(copy, made):
    (copy / NETWORK).unlink()
    (copy / "network.bin").unlink()
    seal(copy, made.card)
    opened = load(copy)
    assert (opened.has_export, made.has_export) == (False, True)
    np.testing.assert_array_equal(opened.network()(CHIPS)["land"], made.network()(CHIPS)["land"])
    (copy / NETWORK).write_text("of another network")
    refused(copy, "do not fit together")


def test_refuses_an_edited_card(copy):
    edit(copy, data={"source": "elsewhere"})
    refused(copy, "do not fit together")


def test_refuses_what_nobody_would_read(copy):
    edit(copy, metrics={"f2": 1})
    refused(copy, "metrics: Unexpected")


def test_the_seal_is_of_the_card_as_it_was_written(copy, made):
    """A later version may add figures; a card that does not have them yet is as good as before."""
    facts = json.loads((copy / CARD).read_text())
    del facts["figures"]["ablations"]
    facts["digest"] = sealed(copy, json.dumps(facts))
    (copy / CARD).write_text(json.dumps(facts))
    assert load(copy).card.figures == made.card.figures


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_refuses_a_missing_file(copy, name):
    (copy / name).unlink()
    refused(copy, "no model package")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": 3}', "\x00\xff"])
def test_refuses_what_is_no_card(copy, text):
    (copy / CARD).write_text(text, encoding="latin-1")
    refused(copy, "restore the file")


def test_refuses_thresholds_that_do_not_fit_the_labels(copy):
    thresholds = json.loads((copy / CARD).read_text())["thresholds"]
    edit(copy, thresholds=thresholds | {"volcano": 0.5})
    refused(copy, "volcano")
    thresholds.pop("road")
    edit(copy, thresholds=thresholds)
    refused(copy, "do not fit the labels")


def test_refuses_a_chip_that_the_network_does_not_take(copy):
    preprocess = json.loads((copy / CARD).read_text())["preprocess"]
    edit(copy, preprocess=preprocess | {"chip": 64})
    refused(copy, "64 px chips, the network takes 32")


def test_refuses_impossible_dehazing(copy):
    preprocess = json.loads((copy / CARD).read_text())["preprocess"]
    edit(copy, preprocess=preprocess | {"dehaze": {"kind": "dark-level", "omega": 7}})
    refused(copy, "omega")


def test_a_model_must_know_mines():
    heads = (Head("land", ("road", "water"), "sigmoid"),)
    with pytest.raises(PackageError, match=MINE):
        card(replace(SPEC, heads=heads))


def seal(path, whole):
    """Write a card that fits whatever the weights are."""
    whole = replace(whole, digest=sealed(path, whole.to_json()))
    (path / CARD).write_text(whole.to_json())


@pytest.mark.parametrize(
    "described",
    [
        replace(SPEC, heads=(SPEC.heads[0], Head("land", (MINE, "road"), "sigmoid"))),
        replace(SPEC, blocks=(1, 2)),
        replace(SPEC, growth=5),
        replace(SPEC, chip=64),
    ],
)
def test_refuses_a_network_that_its_card_does_not_describe(copy, described):
    seal(copy, card(described))
    refused(copy, "not the one that its card describes")


@pytest.mark.large
def test_weights_are_a_file_that_keras_opens_without_us(made):
    """In a process that has never heard of geoscan."""
    code = (
        "import keras, numpy as np, sys; network = keras.saving.load_model(sys.argv[1], compile=False); "
        "print(float(network(np.full((1, 32, 32, 3), 99, np.uint8))['land'][0, 0]), 'geoscan' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, made.path / WEIGHTS], check=True, capture_output=True, text=True
    ).stdout.split()
    assert float(ran[0]) == pytest.approx(
        float(made.network()(np.full((1, 32, 32, 3), 99, np.uint8))["land"][0, 0]), abs=1e-6
    )
    assert ran[1] == "False"


def test_code_in_a_network_is_never_run(copy, made, tmp_path):
    from geoscan.model.backend import keras

    marker = tmp_path / "ran"
    name = str(marker)
    chips = keras.Input((32, 32, 3))
    x = keras.layers.Lambda(lambda v: (open(name, "w").close(), v)[1], output_shape=(32, 32, 3))(chips)  # noqa: PTH123
    x = keras.layers.GlobalAveragePooling2D()(x)
    heads = {h.name: keras.layers.Dense(len(h.labels), name=h.name)(x) for h in SPEC.heads}
    evil = keras.Model(chips, heads)
    evil(CHIPS)
    evil.save(copy / WEIGHTS)
    marker.unlink()
    seal(copy, made.card)
    refused(copy, "no network that is safe to load")
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_refuses_weights_that_are_no_network_though_the_digest_fits(copy, made, content):
    (copy / WEIGHTS).write_bytes(content)
    seal(copy, made.card)
    refused(copy, "no network")


def test_replaces_a_package(copy):
    new = save(copy, network(seed=2), card())
    assert load(copy).card.digest == new.card.digest
    assert sorted(path.name for path in copy.iterdir()) == FILES


def test_a_package_of_an_earlier_version_is_written_again_from_its_weights(copy, made):
    text = (copy / NETWORK).read_text().replace('names="evidence"', 'names="more"')
    (copy / NETWORK).write_text(text)
    edit(copy, digest=sealed(copy, (copy / CARD).read_text()))
    old = load(copy)
    assert made.has_evidence
    assert not old.has_evidence
    new = save(copy, old.network(), old.card)
    assert load(copy) == new
    assert new.has_evidence
    assert new.card == made.card


@pytest.mark.parametrize("step", range(9))
def test_a_package_is_the_old_or_the_new_one_wherever_saving_breaks_off(copy, made, monkeypatch, step):
    """A killed process runs no clean-up: stop before each step, and freeze the directory as it is then."""
    frozen, steps = copy.parent / "frozen", iter(range(9))

    def stopping(function):
        def wrapped(*args, **kwargs):
            if next(steps) == step:
                shutil.copytree(copy, frozen)
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(packages, "_make_reproducible", stopping(packages._make_reproducible))
    monkeypatch.setattr("geoscan.model.export.export", stopping(exports.export))
    monkeypatch.setattr(Path, "write_text", stopping(Path.write_text))
    monkeypatch.setattr(Path, "replace", stopping(Path.replace))
    with pytest.raises(KeyboardInterrupt):
        save(copy, network(seed=2), card())
    monkeypatch.undo()
    for path in (frozen, copy):
        opened = load(path)
        assert (opened.card.digest == made.card.digest) == (step < 5)
        expected = network(seed=1 if step < 5 else 2)(CHIPS)
        np.testing.assert_array_equal(opened.network()(CHIPS)["land"], expected["land"])
        np.testing.assert_allclose(OpenVinoDetector(opened)(CHIPS)[:, 4:], expected["land"], atol=1e-5)
    assert load(copy).card.digest == load(frozen).card.digest


FULL = """
import resource, sys
from pathlib import Path
from tiny_model import card, network
from geoscan.errors import OutputError
from geoscan.model.package import save
made = network(seed=2)
for limit in (0, 2_000, 20_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        save(Path(sys.argv[1]), made, card())
    except OutputError as err:
        print(err)
"""


@pytest.mark.large
def test_a_full_disk_is_one_line_and_leaves_the_old_package(copy, made):
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", FULL, copy],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tests), "CUDA_VISIBLE_DEVICES": "-1"},
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN) and None,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(str(copy) in line and "cannot be written: File too large" in line for line in lines)
    assert done.stderr == ""
    assert load(copy).card.digest == made.card.digest
    assert sorted(path.name for path in copy.iterdir()) == FILES


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken cannot be written"):
        save(tmp_path / "taken", network(), card())
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_package_error_is_the_users_to_mend():
    assert issubclass(PackageError, InputError)
    assert PackageError.exit_status == 2
    assert OutputError.exit_status == 1


def test_a_card_that_could_not_be_opened_is_never_written(copy, made, monkeypatch):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    monkeypatch.setattr(packages, "_LARGEST_CARD", len(before[CARD]) + 100)
    campaigns = {f"place_{i}": CampaignFigures(2, 1, 1, 0.5, None) for i in range(9)}
    larger = replace(made.card, figures=replace(FIGURES, campaigns=campaigns))
    with pytest.raises(
        OutputError, match=r"would have .* MB, .* lists 9 sampling campaigns: give the chips fewer"
    ) as err:
        save(copy, network(seed=1), larger)
    assert "\n" not in str(err.value)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert load(save(copy, network(seed=1), made.card).path).card == made.card
