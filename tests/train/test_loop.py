import json
from dataclasses import replace

import numpy as np
import pytest

from geoscan.errors import DatasetError, InputError, OutputError
from geoscan.labels import LABELS
from geoscan.model.backend import keras, tf
from geoscan.model.network import build
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import DenseNetSpec
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches, StoredExamples
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.loop import Schedule, Task, fit
from geoscan.train.losses import loss_of

SPEC = DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=8, stem_stride=1, dropout=0.3)
SCHEDULE = Schedule(epochs=3, rate=0.01, warmup=1, average=0.8)
N, BATCH = 10, 5
STEPS = N // BATCH
RNG = np.random.default_rng(0)
CHIPS = RNG.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
TARGETS = RNG.integers(0, 2, (N, len(LABELS))).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def untraced():
    """Run step by step: to trace a graph takes longer than these few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class Stopped(Exception):  # noqa: N818
    """Stands for a kill: nothing in the loop catches it."""


class Ticks:
    """Counts steps and raises in the middle of an epoch."""

    def __init__(self, at, error):
        self.left, self.error = at, error

    def __call__(self, chips):
        assert chips == BATCH
        self.left -= 1
        if not self.left:
            raise self.error


def train(
    path,
    schedule=SCHEDULE,
    *,
    figures=None,
    seen=None,
    validated=True,
    dtype="float32",
    resume=False,
    identity=None,
    advance=lambda _: None,
):
    """Train the tiny network.

    figures: what validation finds, one an epoch, as dicts or as values of F2. seen: gets the weights it saw.
    """
    keras.utils.set_random_seed(0)
    network = build(SPEC, dtype)
    examples = StoredExamples(CHIPS, TARGETS, np.arange(N))
    batches = Batches(
        examples,
        SPEC.heads,
        Preprocess(SPEC.chip, 3.7, "visual", None),
        batch=BATCH,
        seed=0,
        augmentation=Augmentation(zoom=1),
    )
    losses = {head.name: loss_of(head, np.ones(len(head.labels), np.float32)) for head in SPEC.heads}
    answers = iter(figures or [])

    def validate():
        if seen is not None:
            seen.append(network.get_weights())
        if figures:
            answer = next(answers)
            return answer if isinstance(answer, dict) else {"f2": answer}
        return {"f2": float(np.asarray(network(CHIPS)["land"]).mean())}

    task = Task(losses, batches, validate if validated else None)
    return network, fit(network, task, schedule, Checkpoint(path, identity or {}, resume), advance)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole") / "c.npz")


def same(one, other):
    (network, outcome), (twin, again) = one, other
    assert [sorted(figures) for figures in outcome.history] == [["f2", "loss"]] * len(again.history)
    for figures, wanted in zip(outcome.history, again.history, strict=True):
        assert figures == pytest.approx(wanted, abs=1e-6)
    equal(network.get_weights(), twin.get_weights())


def equal(weights, wanted):
    for found, expected in zip(weights, wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_learns(whole):
    _, outcome = whole
    losses = [figures["loss"] for figures in outcome.history]
    assert len(losses) == SCHEDULE.epochs
    assert losses[-1] < losses[0]
    assert outcome.seconds > 0
    assert not outcome.interrupted


@pytest.mark.parametrize(("warmup", "epochs"), [(3, 10), (0.25, 2), (0.05, 1), (0, 5), (3, 2)])
def test_the_rate_rises_and_falls_as_a_cosine_over_all_steps(warmup, epochs):
    schedule, steps = Schedule(epochs, rate=0.02, warmup=warmup), 8
    first = round(steps * warmup)
    wanted = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps * epochs - first), warmup_target=0.02, warmup_steps=first
    )
    found = [schedule.rate_at(step, steps) for step in range(steps * epochs + 1)]
    np.testing.assert_allclose(found, [float(wanted(step)) for step in range(steps * epochs + 1)], atol=1e-8)
    assert max(found) <= 0.02


def test_the_network_is_left_with_the_best_epochs_averaged_weights(tmp_path):
    seen = []
    network, outcome = train(tmp_path / "c.npz", figures=[0.1, 0.9, 0.2], seen=seen)
    assert outcome.best_epoch == 2
    equal(network.get_weights(), seen[1])
    assert any((a != b).any() for a, b in zip(seen[1], seen[2], strict=True))


def test_killed_in_the_middle_of_an_epoch_and_resumed_it_is_the_same_run(tmp_path, whole):
    checkpoint = tmp_path / "c.npz"
    with pytest.raises(Stopped):
        train(checkpoint, advance=Ticks(2 * STEPS + 1, Stopped()))
    kept = json.loads(str(np.load(checkpoint)["notes"]))
    assert len(kept["history"]) == 2
    resumed = train(checkpoint, resume=True)
    same(resumed, whole)
    assert resumed[1].seconds > kept["seconds"]


def test_killed_before_the_first_checkpoint_leaves_nothing(tmp_path):
    with pytest.raises(Stopped):
        train(tmp_path / "c.npz", advance=Ticks(2, Stopped()))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DatasetError, match="nothing to resume"):
        train(tmp_path / "c.npz", resume=True)


def test_ctrl_c_keeps_the_best_epoch_and_the_way_back(tmp_path, whole):
    seen = []
    network, outcome = train(tmp_path / "c.npz", advance=Ticks(STEPS + 1, KeyboardInterrupt()), seen=seen)
    assert outcome.interrupted
    assert len(outcome.history) == 1
    equal(network.get_weights(), seen[0])
    same(train(tmp_path / "c.npz", resume=True), whole)


def test_ctrl_c_in_validation_keeps_the_epoch_before(tmp_path):
    def figures():
        yield 0.5
        raise KeyboardInterrupt

    seen = []
    network, outcome = train(tmp_path / "c.npz", figures=figures(), seen=seen)
    assert outcome.interrupted
    assert [f["f2"] for f in outcome.history] == [0.5]
    equal(network.get_weights(), seen[0])


def test_ctrl_c_in_the_first_epoch_is_passed_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "c.npz", advance=Ticks(2, KeyboardInterrupt()))
    assert list(tmp_path.iterdir()) == []


def test_stops_when_it_gets_no_better(tmp_path):
    schedule = replace(SCHEDULE, epochs=6, patience=2)
    _, outcome = train(tmp_path / "c.npz", schedule, figures=[0.1, 0.5, 0.5, 0.4, 0.9, 0.9])
    assert len(outcome.history) == 4
    assert outcome.best_epoch == 2


def test_the_first_figure_decides(tmp_path):
    figures = [{"ap": ap, "auc": auc} for ap, auc in ((0.1, 0.9), (float("nan"), 0.5), (0.3, 0.1))]
    _, outcome = train(tmp_path / "c.npz", figures=figures)
    assert outcome.best_epoch == 3
    assert list(outcome.history[0]) == ["loss", "ap", "auc"]


def test_it_decides_after_a_resumption_too(tmp_path):
    figures = [{"zeal": 0.9, "auc": 0.1}, {"zeal": 0.5, "auc": 0.5}, {"zeal": 0.1, "auc": 0.9}]
    train(tmp_path / "c.npz", figures=figures[:2], advance=Ticks(2 * STEPS + 1, KeyboardInterrupt()))
    _, outcome = train(tmp_path / "c.npz", figures=figures[2:], resume=True)
    assert outcome.best_epoch == 1
    assert len(outcome.history) == 3


@pytest.mark.large
def test_keeping_the_last_epoch_needs_no_validation(tmp_path):
    last = replace(SCHEDULE, keep="last", patience=1)
    network, outcome = train(tmp_path / "validated.npz", last, figures=[0.9, 0.1, 0.5], seen=(seen := []))
    assert outcome.best_epoch == len(outcome.history) == SCHEDULE.epochs
    equal(network.get_weights(), seen[-1])
    unvalidated, outcome = train(tmp_path / "c.npz", last, validated=False)
    assert [list(figures) for figures in outcome.history] == [["loss"]] * SCHEDULE.epochs
    equal(unvalidated.get_weights(), network.get_weights())
    with pytest.raises(ValueError, match="validation"):
        train(tmp_path / "c.npz", validated=False)


@pytest.mark.large
def test_the_last_epoch_without_validation_can_be_resumed(tmp_path):
    last = replace(SCHEDULE, keep="last")
    with pytest.raises(Stopped):
        train(tmp_path / "c.npz", last, validated=False, advance=Ticks(STEPS + 1, Stopped()))
    network, outcome = train(tmp_path / "c.npz", last, validated=False, resume=True)
    wanted, _ = train(tmp_path / "whole.npz", last, validated=False)
    assert outcome.best_epoch == SCHEDULE.epochs
    equal(network.get_weights(), wanted.get_weights())


@pytest.mark.large
def test_in_half_precision_the_average_is_validated_and_a_resumption_is_the_same_run(tmp_path):
    seen = []
    _, whole = train(tmp_path / "whole.npz", dtype="mixed_float16", seen=seen)
    assert all(np.isfinite(weights).all() for weights in seen[-1])
    plain = train(tmp_path / "plain.npz", replace(SCHEDULE, average=0.0), dtype="mixed_float16")[1]
    assert plain.history[0]["loss"] == whole.history[0]["loss"]
    assert plain.history[-1]["f2"] != whole.history[-1]["f2"]
    with pytest.raises(Stopped):
        train(tmp_path / "c.npz", dtype="mixed_float16", advance=Ticks(2 * STEPS + 1, Stopped()))
    _, again = train(tmp_path / "c.npz", dtype="mixed_float16", resume=True)
    assert again.history == [pytest.approx(figures, abs=1e-6) for figures in whole.history]


def test_refuses_a_checkpoint_of_another_run(tmp_path):
    checkpoint, schedule = tmp_path / "c.npz", replace(SCHEDULE, epochs=1)
    train(checkpoint, schedule, identity={"batch": 5, "rate": 0.01, "data": "a"})
    with pytest.raises(DatasetError, match=r"batch was 5, now 6; seed was None, now 1") as caught:
        train(checkpoint, schedule, resume=True, identity={"batch": 6, "rate": 0.01, "data": "a", "seed": 1})
    assert "\n" not in str(caught.value)
    _, outcome = train(checkpoint, schedule, resume=True, identity={"batch": 5, "rate": 0.01, "data": "a"})
    assert len(outcome.history) == 1


def test_a_checkpoint_that_names_no_run_is_trusted(tmp_path):
    """As those of the first version."""
    checkpoint, schedule = tmp_path / "c.npz", replace(SCHEDULE, epochs=1)
    train(checkpoint, schedule)
    arrays = dict(np.load(checkpoint))
    notes = json.loads(str(arrays["notes"]))
    del notes["identity"]
    np.savez(checkpoint, **arrays | {"notes": np.array(json.dumps(notes))})
    _, outcome = train(checkpoint, schedule, resume=True, identity={"batch": 5})
    assert len(outcome.history) == 1


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_refuses_a_damaged_checkpoint(tmp_path, content):
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"c\.npz") as caught:
        train(tmp_path / "c.npz", resume=True)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match=r"checkpoint .* could not be written"):
        train(tmp_path / "taken" / "c.npz")


def test_too_few_chips_for_a_step(tmp_path, monkeypatch):
    monkeypatch.setattr(Batches, "__len__", lambda _: 0)
    with pytest.raises(DatasetError, match="--batch"):
        train(tmp_path / "c.npz")


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"patience": 0},
        {"rate": 0.0},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"warmup": -1},
        {"decay": -0.1},
        {"average": 1.0},
        {"keep": "first"},
    ],
)
def test_a_schedule_that_cannot_be_is_one_line(values):
    with pytest.raises(InputError) as caught:
        Schedule(**values)
    assert "\n" not in str(caught.value)
