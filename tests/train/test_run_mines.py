"""Runs on small chips alone: fast enough to try everything that a recipe may ask for."""

import logging
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import small_chips
import tiny_model

from geoscan.data.material import gather
from geoscan.data.sources import ChipsSource, TrainingData
from geoscan.dehazing import DarkLevel
from geoscan.errors import DatasetError, InputError, OutputError, PackageError
from geoscan.evaluate.thresholds import tune_label
from geoscan.labels import LABELS, MINE
from geoscan.model import pretrained
from geoscan.model.backend import keras, tf
from geoscan.model.package import CARD, MARKDOWN, NETWORK, WEIGHTS, load
from geoscan.model.preprocess import Preprocess
from geoscan.model.runtime import FAINT
from geoscan.model.spec import MINE_HEADS, DenseNetSpec, EfficientNetSpec
from geoscan.model.split import Split
from geoscan.model.tensorflow_runtime import NetworkDetector
from geoscan.symmetry import symmetry
from geoscan.train import start, teachers
from geoscan.train import trainer as room
from geoscan.train.augment import Augmentation
from geoscan.train.job import Job
from geoscan.train.last_layer import MineRow
from geoscan.train.loop import Outcome, Schedule
from geoscan.train.recipe import Recipe
from geoscan.train.run import run
from geoscan.train.scoring import score

SPEC = DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=16, stem_stride=1, dropout=0.0, heads=MINE_HEADS)
RECIPE = Recipe(
    spec=SPEC,
    preprocess=Preprocess(16, 10.0, "sentinel2-l1c", None),
    schedule=Schedule(epochs=3, rate=0.03, warmup=0.5, average=0.5),
    augmentation=Augmentation(zoom=1, clear=0.5),
    split=Split(held_out=0.34),
    batch=8,
)
SHORT = replace(RECIPE, schedule=replace(RECIPE.schedule, epochs=1), batch=16)
FOLDS = replace(RECIPE, schedule=replace(RECIPE.schedule, epochs=2), split=Split(folds=2), batch=24)
COLUMN = LABELS.index(MINE)
PACKAGE = [CARD, MARKDOWN, "network.bin", NETWORK, WEIGHTS]


@pytest.fixture(autouse=True, scope="module")
def untraced():
    """Run step by step: to trace a graph takes longer than these few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def untrained(monkeypatch):
    """Leave networks as they begin."""

    def fit(network, task, schedule, checkpoint, advance):
        checkpoint.path.parent.mkdir(exist_ok=True)
        return Outcome([], 0, 0.0, False)

    monkeypatch.setattr(room, "fit", fit)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TrainingData(ChipsSource(*small_chips.make(tmp_path_factory.mktemp("chips"), 48, places=6, side=16)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(data, cache, tmp_path_factory):
    package, _ = run(RECIPE, data, Job(tmp_path_factory.mktemp("out") / "mines", cache))
    return package


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def equal(found, wanted):
    """Two cards measured the same, whatever the time it took."""
    assert (found.data, found.split) == (wanted.data, wanted.split)
    assert found.thresholds == pytest.approx(dict(wanted.thresholds), abs=1e-5)
    mine, other = found.figures.mine, wanted.figures.mine
    assert (mine.n, mine.n_other) == (other.n, other.n_other)
    assert (mine.auc, mine.ap) == pytest.approx((other.auc, other.ap), abs=1e-5)
    for one, two in zip(found.training.history, wanted.training.history, strict=True):
        assert one == pytest.approx(two, abs=1e-5)


def test_chips_alone_make_a_model_that_knows_mines(trained, data, cache):
    assert files(trained.path) == PACKAGE
    card = load(trained.path).card
    assert card.labels == (MINE,)
    assert card.preprocess.radiometry == "sentinel2-l1c"
    assert card.figures.f2 is None
    assert card.figures.mine.ap > 0.9
    assert set(card.figures.lookalikes) == {"other_negatives"}
    assert set(card.figures.calibration) == {"land"}
    assert card.data.training_chips + card.data.validation_chips == 48
    assert card.data.campaigns == 6
    assert (card.data.source, card.data.licence) == ("small.zip", "not stated")
    assert [set(epoch) for epoch in card.training.history] == [{"loss", "ap", "auc"}] * 3
    made = gather(data, RECIPE.preprocess, RECIPE.split, cache)
    _, rows = made.sides()
    scores = score(NetworkDetector(trained.network(), SPEC), SPEC.labels, RECIPE.preprocess, made.chips, rows)
    assert (np.delete(scores, COLUMN, axis=1) == 0).all()
    tuned = tune_label(made.targets[rows, COLUMN], scores[:, COLUMN])
    assert card.thresholds == pytest.approx({MINE: tuned}, abs=1e-5)


def test_chips_that_cannot_be_read_are_named_once(data, cache, tmp_path, caplog, untrained):
    run(SHORT, data, Job(tmp_path / "out", cache))
    assert sum("broken.png" in record.getMessage() for record in caplog.records) == 1


class Stopped(Exception):  # noqa: N818
    """Stands for a kill: nothing in a run catches it."""


class Ticks:
    """Counts steps and raises after so many."""

    def __init__(self, at=0, error=None):
        self.done, self.at, self.error = 0, at, error

    def __call__(self, chips):
        self.done += 1
        if self.done == self.at:
            raise self.error


FOLDED = 2 * 1 + 2 * 1 + 2 * 2
"""Steps of a run with folds: two epochs each without the one half, without the other, and of all chips."""


@pytest.fixture(scope="module")
def folded(data, cache, tmp_path_factory):
    """Give what a run with folds came to, what it learned from, and its scores of unseen chips."""
    seen, unseen, ticks = [], [], Ticks()
    with pytest.MonkeyPatch.context() as patch:
        batches, card = room.Batches, room.make_card
        patch.setattr(room, "Batches", lambda shown, *a, **k: seen.append(shown.rows) or batches(shown, *a, **k))
        patch.setattr(room, "make_card", lambda *a, **k: unseen.append(a[4]) or card(*a, **k))
        out = tmp_path_factory.mktemp("out") / "mines"
        package, outcome = run(FOLDS, data, Job(out, cache, advance=ticks, keep_folds=True))
    assert ticks.done == FOLDED
    return package, outcome, seen, unseen[-1]


def test_with_folds_every_chip_is_scored_by_a_network_that_has_not_seen_it(folded, data, cache):
    _, _, seen, unseen = folded
    made = gather(data, FOLDS.preprocess, FOLDS.split, cache)
    np.testing.assert_array_equal(unseen.rows, made.readable)
    assert len(unseen.rows) == 48
    assert np.isfinite(unseen.scores).all()
    assert len(seen) == 3
    for fold in range(2):
        assert set(seen[fold]) == set(np.flatnonzero(made.fold == 1 - fold))
    assert set(seen[2]) == set(made.readable)


def test_with_folds_the_package_is_of_all_chips_and_nothing_is_left_over(folded):
    package, outcome, _, unseen = folded
    assert files(package.path) == [*PACKAGE[:2], "fold1", "fold2", *PACKAGE[2:]]
    card = load(package.path).card
    assert card.data.training_chips == card.figures.mine.n + card.figures.mine.n_other == 48
    assert card.data.validation_chips is None
    assert card.split.folds == 2
    assert card.split.without is None
    assert "have not seen the chips that they judge" in card.figures.notes[0]
    assert list(card.figures.mine_folds) == ["fold 1", "fold 2"]
    assert [set(epoch) for epoch in outcome.history] == [{"loss"}] * 2
    assert outcome.best_epoch == 2
    assert unseen.scores[:, COLUMN].std() > 0


def test_with_folds_the_card_has_operating_points_of_scores_of_unseen_chips(folded, data, cache):
    package, _, _, unseen = folded
    card = load(package.path).card
    made = gather(data, FOLDS.preprocess, FOLDS.split, cache)
    targets, scores = made.targets[unseen.rows, COLUMN], unseen.scores[:, COLUMN]
    assert list(card.points) == list(card.figures.detection) == ["sensitive", "balanced", "strict"]
    for name, point in card.points.items():
        found = card.figures.detection[name].alone
        assert found.threshold == point.isolated
        assert found.found == (scores[targets == 1] >= point.isolated).mean()
        assert found.false_alarms.flagged == (scores[targets == 0] >= point.isolated).sum()
        assert found.false_alarms.km2 == pytest.approx(24 * 0.16**2)
    assert (scores[targets == 0] >= card.strict.high).mean() <= 0.006
    assert sum(one.n for one in card.figures.reliability) == 48


def test_networks_of_the_folds_are_packages_that_say_what_they_have_not_seen(folded, data, cache):
    package, _, _, unseen = folded
    made = gather(data, FOLDS.preprocess, FOLDS.split, cache)
    for fold in range(2):
        kept = load(package.path / f"fold{fold + 1}")
        training, rows = made.sides(fold)
        assert files(kept.path) == PACKAGE
        assert kept.card.name == f"mines-fold{fold + 1}"
        assert kept.card.split == package.card.split.without_fold(fold)
        assert kept.card.data.training_chips == len(training)
        assert kept.card.data.validation_chips == len(rows)
        assert "one fold" in kept.card.figures.notes[0]
        assert kept.card.figures.mine_folds == {}
        said = score(NetworkDetector(kept.network(), SPEC), SPEC.labels, RECIPE.preprocess, made.chips, rows)
        np.testing.assert_allclose(said, unseen.scores[np.isin(unseen.rows, rows)], atol=1e-5)


@pytest.fixture
def fitted(monkeypatch):
    """List what each last layer was fitted to, and what came of it."""
    calls, by_campaigns = [], MineRow.by_campaigns

    def spied(row, *known):
        calls.append((*known, by_campaigns(row, *known)))
        return calls[-1][-1]

    monkeypatch.setattr(MineRow, "by_campaigns", spied)
    return calls


AS_THEY_ARE = Augmentation(symmetries=False, zoom=1, gain=1, haze=0)


@pytest.mark.large
def test_the_last_layer_counts_each_campaign_alike_that_its_network_has_seen(data, cache, tmp_path, untrained, fitted):
    recipe = replace(FOLDS, augmentation=AS_THEY_ARE)
    package, _ = run(recipe, data, Job(tmp_path / "mines", cache, keep_folds=True))
    made = gather(data, recipe.preprocess, recipe.split, cache)
    for without, (features, mines, campaigns, row) in zip((0, 1, None), fitted, strict=True):
        one = package if without is None else load(package.path / f"fold{without + 1}")
        seen, _ = made.sides(without)
        chips = recipe.preprocess.cleared(np.asarray(made.chips[seen]))
        _, wanted = NetworkDetector(one.network(), SPEC, features=True).describe(chips)
        np.testing.assert_allclose(features, wanted, atol=1e-5)
        np.testing.assert_array_equal(mines, made.targets[seen, COLUMN] == 1)
        np.testing.assert_array_equal(campaigns, made.groups[seen])
        kept = MineRow.of(one.network(), SPEC, "")
        np.testing.assert_array_equal(kept.weights, row.weights)
        assert kept.bias == pytest.approx(row.bias, abs=1e-6)
        assert one.card.training.recipe["last_layer"] == "each campaign alike"


def test_the_last_layer_is_fitted_to_chips_as_varied_as_in_training(data, cache, tmp_path, untrained, fitted):
    for name in ("one", "same"):
        run(SHORT, data, Job(tmp_path / name, cache))
    run(replace(SHORT, augmentation=AS_THEY_ARE), data, Job(tmp_path / "other", cache))
    (one, *_), (same, *_), (other, *_) = fitted
    np.testing.assert_array_equal(one, same)
    assert (np.abs(one - other).max(axis=1) > 1e-3).mean() > 0.9


def test_chips_are_spoilt_as_in_training_for_the_last_layer_and_then_lose_their_haze(
    data, cache, tmp_path, untrained, fitted, monkeypatch
):
    monkeypatch.setattr(room, "degraded", lambda chips, vary, rng: np.full_like(chips, 200))
    preprocess = replace(SHORT.preprocess, dehaze=DarkLevel())
    package, _ = run(replace(SHORT, preprocess=preprocess), data, Job(tmp_path / "out", cache))
    ((features, *_),) = fitted
    spoilt = preprocess.cleared(np.full((len(features), 16, 16, 3), 200, np.uint8))
    _, wanted = NetworkDetector(package.network(), SPEC, features=True).describe(spoilt)
    np.testing.assert_allclose(features, wanted, atol=1e-5)


def test_unchecked_mines_do_not_count_as_others(cache, tmp_path):
    mines = TrainingData(ChipsSource(*small_chips.make(tmp_path, 24, places=6, side=16, every=1)))
    split = Split(held_out=0.34, unchecked=("place_0",))
    with pytest.raises(DatasetError, match=r"^there are \d+ mines and 0 others to train on"):
        run(replace(SHORT, split=split), mines, Job(tmp_path / "out", cache))


def test_mines_that_nobody_has_checked_have_no_part_in_the_last_layer(data, cache, tmp_path, untrained, fitted):
    split = Split(folds=2, unchecked=("place_0",))
    run(replace(SHORT, split=split), data, Job(tmp_path / "out", cache))
    made = gather(data, SHORT.preprocess, split, cache)
    for without, (_, mines, campaigns, _) in zip((0, 1, None), fitted, strict=True):
        seen, _ = made.sides(without)
        sure = seen[made.targets[seen, COLUMN] != np.float32(0.8)]
        assert len(sure) == len(seen) - 4
        np.testing.assert_array_equal(mines, made.targets[sure, COLUMN] == 1)
        np.testing.assert_array_equal(campaigns, made.groups[sure])


@pytest.mark.large
def test_each_fold_is_taught_by_what_has_not_seen_it(folded, data, cache, tmp_path, monkeypatch):
    package, _, _, _ = folded
    asked, detector = [], teachers.TensorFlowDetector
    monkeypatch.setattr(
        teachers,
        "TensorFlowDetector",
        lambda teacher, *a, **k: asked.append(teacher.card.name) or detector(teacher, *a, **k),
    )
    student = replace(FOLDS, distill=(str(package.path),), mixed=3)
    taught, _ = run(student, data, Job(tmp_path / "student", cache, keep_folds=True))
    assert asked == ["mines-fold1", "mines-fold2", "mines"]
    assert taught.card.training.teachers == (package.card.digest,)
    first = load(taught.path / "fold1").card.training
    assert first.teachers == (load(package.path / "fold1").card.digest,)
    assert (taught.card.data, taught.card.split) == (package.card.data, package.card.split)


def test_a_teacher_without_networks_of_the_folds_is_refused(folded, data, cache, tmp_path):
    package, _, _, _ = folded
    lone = shutil.copytree(package.path, tmp_path / "lone", ignore=shutil.ignore_patterns("fold*"))
    for teacher, words in ((lone, "seen chips of every fold.*--keep-folds"), (package.path / "fold1", "another split")):
        with pytest.raises(PackageError, match=words) as caught:
            run(replace(FOLDS, distill=(str(teacher),)), data, Job(tmp_path / "out", cache))
        assert "\n" not in str(caught.value)
    swapped = shutil.copytree(package.path, tmp_path / "swapped")
    (swapped / "fold1").rename(swapped / "fold3")
    (swapped / "fold2").rename(swapped / "fold1")
    (swapped / "fold3").rename(swapped / "fold2")
    with pytest.raises(PackageError, match="learned from another split"):
        run(replace(FOLDS, distill=(str(swapped),)), data, Job(tmp_path / "out", cache))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("steps", "kept", "again", "keep"),
    [
        pytest.param(3, 1, 6, False, marks=pytest.mark.large),
        (4, 1, 5, True),
        pytest.param(5, 2, 4, False, marks=pytest.mark.large),
    ],
)
@pytest.mark.large
def test_killed_in_a_later_fold_and_resumed_the_card_is_the_same(
    folded, data, cache, tmp_path, steps, kept, again, keep
):
    """In the first epoch of the second fold, in its second epoch, and when all chips are learned.

    Networks of folds that were done before anybody asked for them are kept all the same.
    """
    with pytest.raises(Stopped):
        run(FOLDS, data, Job(tmp_path / "mines", cache, advance=Ticks(steps, Stopped())))
    left = files(tmp_path / "mines")
    assert not set(PACKAGE) & set(left)
    assert sum("scores" in name for name in left) == kept
    ticks = Ticks()
    package, _ = run(FOLDS, data, Job(tmp_path / "mines", cache, advance=ticks, resume=True, keep_folds=keep))
    assert ticks.done == again, "what was done is not done again"
    equal(load(package.path).card, folded[0].card)
    assert files(package.path) == (files(folded[0].path) if keep else PACKAGE)
    for name in ("fold1", "fold2") if keep else ():
        equal(load(package.path / name).card, load(folded[0].path / name).card)


@pytest.mark.large
def test_ctrl_c_in_a_fold_ends_the_run_and_resumed_it_is_the_same(folded, data, cache, tmp_path):
    """A network that was not trained to its end says nothing of the recipe."""
    with pytest.raises(KeyboardInterrupt):
        run(FOLDS, data, Job(tmp_path / "mines", cache, advance=Ticks(2, KeyboardInterrupt())))
    assert files(tmp_path / "mines") == [".fold1.npz"]
    package, _ = run(FOLDS, data, Job(tmp_path / "mines", cache, resume=True))
    equal(load(package.path).card, folded[0].card)


def test_refuses_to_resume_folds_of_another_recipe(data, cache, tmp_path):
    with pytest.raises(Stopped):
        run(FOLDS, data, Job(tmp_path / "mines", cache, advance=Ticks(3, Stopped())))
    preprocess = replace(FOLDS.preprocess, dehaze=DarkLevel())
    for change in ({"preprocess": preprocess}, {"spec": replace(SPEC, growth=3)}, {"mosaics": 5}):
        with pytest.raises(DatasetError, match="another run") as caught:
            run(replace(FOLDS, **change), data, Job(tmp_path / "mines", cache, resume=True))
        assert "\n" not in str(caught.value)


def test_refuses_to_resume_with_other_preprocessing(data, cache, tmp_path):
    with pytest.raises(Stopped):
        run(SHORT, data, Job(tmp_path / "mines", cache, advance=Ticks(2, Stopped())))
    with pytest.raises(DatasetError, match="nothing to resume"):
        run(SHORT, data, Job(tmp_path / "mines", cache, resume=True))
    with pytest.raises(Stopped):
        run(RECIPE, data, Job(tmp_path / "mines", cache, advance=Ticks(5, Stopped())))
    other = replace(RECIPE, preprocess=replace(RECIPE.preprocess, dehaze=DarkLevel()))
    with pytest.raises(DatasetError, match=r"preprocess\.dehaze was None, now .* or give another --out"):
        run(other, data, Job(tmp_path / "mines", cache, resume=True))


def test_refuses_to_resume_folds_of_chips_that_are_divided_otherwise_now(cache, tmp_path):
    """Or their scores would be taken for those of other chips."""
    archive, index = small_chips.make(tmp_path, 48, places=6, side=16, broken=False)
    shutil.unpack_archive(archive, tmp_path / "chips")
    data, before = TrainingData(ChipsSource(tmp_path / "chips", index)), index.read_text()
    with pytest.raises(Stopped):
        run(FOLDS, data, Job(tmp_path / "mines", cache, advance=Ticks(3, Stopped())))
    assert ".fold1-scores.npz" in files(tmp_path / "mines")
    index.write_text("\n".join(line.rsplit(",", 1)[0] for line in before.splitlines()) + "\n")
    with pytest.raises(
        DatasetError, match=r"split\.parts was .* the same chips, labels and campaigns; or give"
    ) as caught:
        run(FOLDS, data, Job(tmp_path / "mines", cache, resume=True))
    assert "\n" not in str(caught.value)
    index.write_text(before)
    (tmp_path / "chips" / "0.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"split\.parts was"):
        run(FOLDS, data, Job(tmp_path / "mines", cache, resume=True))


def stem(network):
    return network.get_layer("stem_conv").get_weights()[0]


def test_a_network_begins_as_a_package_says(trained, data, cache, tmp_path, caplog, monkeypatch):
    """All but its last layer, which other labels may have needed."""
    begun = []

    def fit(network, task, schedule, checkpoint, advance):
        checkpoint.path.parent.mkdir(exist_ok=True)
        begun.extend((layer.name, layer.get_weights()) for layer in network.layers)
        return Outcome([], 0, 0.0, False)

    monkeypatch.setattr(room, "fit", fit)
    with caplog.at_level(logging.INFO):
        package, _ = run(replace(SHORT, init=str(trained.path)), data, Job(tmp_path / "out", cache))
    source = trained.network()
    for name, weights in begun:
        for found, wanted in zip(weights, source.get_layer(name).get_weights(), strict=True):
            assert (found == wanted).all() == (name != "land"), name
    assert f"layers begin as in {trained.path}" in caplog.text
    assert "flatter" not in caplog.text + " ".join(package.card.figures.notes)
    assert package.card.training.recipe["init"] == trained.path.name


def test_a_model_is_measured_by_averaged_scores_where_asked(trained, data, cache, tmp_path):
    averaged, _ = run(replace(RECIPE, tta=True), data, Job(tmp_path / "out", cache))
    assert averaged.card.tta
    assert not trained.card.tta
    made = gather(data, RECIPE.preprocess, RECIPE.split, cache)
    _, rows = made.sides()
    targets, network = made.targets[rows, COLUMN], averaged.network()
    detect = NetworkDetector(network, SPEC)
    turned = [np.stack([symmetry(made.chips[i], k) for i in rows]) for k in range(8)]
    views = [score(detect, SPEC.labels, RECIPE.preprocess, chips)[:, COLUMN] for chips in turned]
    assert np.ptp(views, axis=0).max() > 1e-3
    scores = np.where(views[0] < FAINT, views[0], np.mean(views, axis=0))
    assert averaged.card.thresholds[MINE] == pytest.approx(tune_label(targets, scores))
    assert averaged.card.thresholds != trained.card.thresholds


@pytest.mark.parametrize("split", [Split(1, 0.34), Split(folds=2)])
def test_warns_where_a_network_begins_with_what_may_have_seen(trained, data, cache, tmp_path, caplog, split, untrained):
    package, _ = run(replace(SHORT, init=str(trained.path), split=split), data, Job(tmp_path / "out", cache))
    assert caplog.text.count("learned from another split of these chips") == 1
    first, second = package.card.figures.notes[:2]
    assert first.startswith(f"The model that training began with, mines ({trained.card.digest[:12]}), learned from")
    assert first.endswith("figures on the validation chips will flatter.")
    assert str(tmp_path) not in first
    assert second.startswith("Measured")


@pytest.mark.parametrize("split", [SHORT.split, FOLDS.split])
def test_warns_where_a_set_has_grown_since_the_model_that_a_network_begins_with(
    trained, cache, tmp_path, caplog, split, untrained
):
    """Its card knows no more of the set than a fingerprint, and the chips are dealt anew."""
    grown = TrainingData(ChipsSource(*small_chips.make(tmp_path / "grown", 52, places=6, side=16)))
    job = Job(tmp_path / "out", cache, keep_folds=bool(split.folds))
    package, _ = run(replace(SHORT, init=str(trained.path), split=split), grown, job)
    assert caplog.text.count("learned from another set of such chips") == 1
    kept = [load(package.path / f"fold{fold + 1}") for fold in range(split.folds or 0)]
    for one in (package, *kept):
        assert "figures flatter if it holds some of these" in one.card.figures.notes[0]


@pytest.mark.large
def test_each_fold_begins_with_the_network_that_has_not_seen_it(folded, data, cache, tmp_path, caplog, untrained):
    source = folded[0].path
    recipe = replace(FOLDS, schedule=SHORT.schedule, init=str(source))
    with caplog.at_level(logging.INFO):
        package, _ = run(recipe, data, Job(tmp_path / "out", cache, keep_folds=True))
    assert "flatter" not in caplog.text
    for part in ("fold1", "fold2", "."):
        begun, before = load(package.path / part).network(), load(source / part).network()
        np.testing.assert_array_equal(stem(begun), stem(before))
    assert not (stem(load(source / "fold1").network()) == stem(folded[0].network())).all()


@pytest.mark.large
def test_warns_of_folds_that_began_with_what_has_seen_them(folded, data, cache, tmp_path, caplog, untrained):
    """The package itself has learned from all of them, and none of its networks was kept."""
    alone = tmp_path / "alone"
    shutil.copytree(folded[0].path, alone, ignore=shutil.ignore_patterns("fold*"))
    run(replace(SHORT, init=str(alone), split=FOLDS.split), data, Job(tmp_path / "out", cache))
    assert "will flatter" in caplog.text


@pytest.mark.large
def test_warns_of_folds_that_were_dealt_otherwise(folded, data, cache, tmp_path, caplog, untrained):
    split = replace(FOLDS.split, seed=FOLDS.split.seed + 1)
    run(replace(SHORT, init=str(folded[0].path), split=split), data, Job(tmp_path / "out", cache))
    assert "will flatter" in caplog.text


def test_a_package_of_small_chips_begins_every_network_of_folds_of_others(folded, caplog):
    """Its own networks were kept from folds of its chips, which say nothing of these; small chips judge no fold."""
    package, small = load(folded[0].path), folded[0].card.split.data
    assert (package.path / "fold1").is_dir()
    others = Split(folds=2, kind="kaggle", data="others", small=small)
    assert start.packages_of(package, others) == {None: package, 0: package, 1: package}
    assert not caplog.text
    start.packages_of(package, Split(kind="kaggle", data="others", small=small))
    assert "will flatter" in caplog.text, "mosaics of those that are held out are judged"
    caplog.clear()
    start.packages_of(package, Split(kind="kaggle", data="others", small="grown"))
    assert "another set of such chips" in caplog.text
    caplog.clear()
    untold = replace(package, card=replace(package.card, split=None))
    start.packages_of(untold, Split(kind="kaggle", data="others"))
    assert "learned from chips that its card does not name" in caplog.text


def test_refuses_to_begin_with_another_architecture_or_nothing(trained, data, cache, tmp_path):
    other = replace(SHORT, spec=replace(SPEC, growth=5, stem=6))
    for recipe, words in (
        (replace(other, init=str(trained.path)), "start from a network of the same architecture"),
        (replace(SHORT, init="unheard-of"), "no model is called 'unheard-of'"),
    ):
        with pytest.raises(PackageError, match=words) as caught:
            run(recipe, data, Job(tmp_path / "out", cache))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_imagenet_without_its_package_is_one_line(data, cache, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    recipe = replace(SHORT, spec=EfficientNetSpec(side=32, chip=16, heads=MINE_HEADS), init="imagenet")
    with pytest.raises(PackageError, match=r"torch is not installed; .*geoscan\[imagenet\]") as caught:
        run(recipe, data, Job(tmp_path / "out", cache))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_imagenet_for_a_densenet(data, cache, tmp_path, monkeypatch, untrained):
    """Keras has those of one architecture; away from the internet it is one line, too."""

    def offline(**options):
        raise OSError("Name or service not known\nand more")

    monkeypatch.setattr(keras.applications, "DenseNet121", offline)
    with pytest.raises(PackageError, match="there are none for another"):
        run(replace(SHORT, init="imagenet"), data, Job(tmp_path / "out", cache))
    monkeypatch.setattr(pretrained, "PRESETS", {"densenet121": SPEC})
    with pytest.raises(PackageError, match="cannot be fetched") as caught:
        run(replace(SHORT, init="imagenet"), data, Job(tmp_path / "out", cache))
    assert "\n" not in str(caught.value)
    weights = [np.full_like(value, 0.25) for value in tiny_model.network(SPEC).get_weights()[:-2]]
    monkeypatch.setattr(pretrained, "_of_keras", lambda: weights)
    package, _ = run(replace(SHORT, init="imagenet"), data, Job(tmp_path / "out", cache))
    assert (stem(package.network()) == 0.25).all()
    assert package.card.spec == pretrained.scaled(SPEC)


@pytest.mark.parametrize("elsewhere", [False, pytest.param(True, marks=pytest.mark.large)])
def test_a_teacher_of_the_same_split_teaches(trained, data, cache, tmp_path, elsewhere):
    student = replace(RECIPE, spec=replace(SPEC, growth=3), distill=(str(trained.path),), mixed=3, unlabelled=2)
    if elsewhere:
        data = replace(data, unlabelled=small_chips.classes(tmp_path / "elsewhere", side=SPEC.chip + 5))
    package, outcome = run(student, data, Job(tmp_path / "out", cache))
    card = load(package.path).card
    assert card.training.teachers == (trained.card.digest,)
    assert card.training.recipe["distill"] == [trained.path.name]
    assert (card.data, card.split) == (trained.card.data, trained.card.split)
    assert outcome.history[-1]["loss"] < outcome.history[0]["loss"]
    assert card.figures.mine.ap > 0.9
    assert files(package.path) == PACKAGE
    assert set(package.network().output) == {"land"}, "what predicted the teacher's features is left behind"


def test_a_teacher_that_does_not_fit_is_refused_in_one_line(trained, data, cache, tmp_path):
    planet = tiny_model.package(tmp_path / "planet", replace(SPEC, heads=tiny_model.SPEC.heads), gsd=10.0)
    recipe = replace(SHORT, distill=(str(trained.path),))
    for other, words in (
        (replace(recipe, split=Split(1, 0.34)), "learned from another split .* --seed, --held-out and --folds"),
        (replace(recipe, split=Split(0, 0.3)), "learned from another split"),
        (replace(recipe, distill=(str(planet.path),)), "must be alike"),
        (replace(recipe, preprocess=replace(RECIPE.preprocess, gsd=9.0)), "must be alike"),
        (replace(recipe, split=FOLDS.split), "learned from another split"),
        (replace(recipe, distill=("unheard-of",)), "no model is called"),
    ):
        with pytest.raises(PackageError, match=words) as caught:
            run(other, data, Job(tmp_path / "out", cache))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def classes(data, tmp_path):
    return replace(data, classes=small_chips.classes(tmp_path / "classes"))


PRETRAINED = replace(SHORT, pretrain_epochs=2)


@pytest.mark.large
def test_a_network_learns_classes_first_and_leaves_no_checkpoint(classes, cache, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        package, _ = run(PRETRAINED, classes, Job(tmp_path / "out", cache))
    assert files(package.path) == PACKAGE
    assert f"layers begin as pre-training on {classes.classes} left them" in caplog.text
    assert list(package.network().output) == ["land"]
    plain, _ = run(SHORT, classes, Job(tmp_path / "plain", cache))
    assert np.abs(stem(package.network()) - stem(plain.network())).max() > 1e-3


@pytest.mark.large
def test_killed_while_it_learns_classes_and_resumed_it_is_the_same(classes, cache, tmp_path):
    """The run has no checkpoint of its own by then."""
    steps = 10 // 8
    whole, _ = run(PRETRAINED, classes, Job(tmp_path / "whole", cache))
    with pytest.raises(Stopped):
        run(PRETRAINED, classes, Job(tmp_path / "out", cache, advance=Ticks(steps + 1, Stopped())))
    assert files(tmp_path / "out") == [".pretrain.npz"]
    package, _ = run(PRETRAINED, classes, Job(tmp_path / "out", cache, resume=True))
    equal(load(package.path).card, whole.card)
    for found, wanted in zip(package.network().get_weights(), whole.network().get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.large
def test_each_fold_is_pretrained_from_its_own_beginning(folded, classes, cache, tmp_path, caplog):
    recipe = replace(FOLDS, schedule=SHORT.schedule, init=str(folded[0].path), pretrain_epochs=1)
    with caplog.at_level(logging.INFO):
        run(recipe, classes, Job(tmp_path / "out", cache))
    assert caplog.text.count("pre-training on ") - caplog.text.count("left them") == 3
    assert not list((tmp_path / "out").glob(".*.npz"))


def test_folds_share_what_classes_taught(classes, cache, tmp_path, monkeypatch, untrained):
    calls = []
    taught = tiny_model.network(SPEC)
    monkeypatch.setattr(start, "pretrain", lambda *args, **options: calls.append(1) or taught)
    package, _ = run(replace(PRETRAINED, split=FOLDS.split), classes, Job(tmp_path / "out", cache))
    assert len(calls) == 1
    assert (stem(package.network()) == stem(taught)).all()


def test_nothing_to_resume_is_said_before_anything_is_read(data, tmp_path):
    with pytest.raises(DatasetError, match="nothing to resume"):
        run(FOLDS, data, Job(tmp_path / "out", tmp_path / "cache", resume=True))
    assert list(tmp_path.iterdir()) == []


def test_a_network_begins_with_the_scaling_of_its_package(trained, data, cache, tmp_path, untrained):
    """Whatever preset it is: the weights were trained for these colours."""
    other = replace(SPEC, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    package, _ = run(replace(SHORT, spec=other, init=str(trained.path)), data, Job(tmp_path / "out", cache))
    assert package.card.spec == replace(other, mean=SPEC.mean, std=SPEC.std)


@pytest.mark.parametrize(("name", "keep"), [("x" * 201, False), ("x" * 195, True), ("a\tb", False)])
def test_what_no_model_may_be_called_is_refused_before_the_work(data, cache, tmp_path, name, keep):
    """Nor a network of its folds."""
    with pytest.raises(PackageError, match="is no name for a model; give 1 to 200 characters that can be printed"):
        run(FOLDS, data, Job(tmp_path / name, cache, keep_folds=keep, advance=Ticks(1, Stopped())))
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(("name", "said"), [(".fold7.npz", "--resume goes on with it"), (CARD, "is a model already")])
def test_what_an_earlier_run_left_is_not_lost(data, cache, tmp_path, name, said):
    left = tmp_path / "out" / name
    left.parent.mkdir()
    left.write_bytes(b"of hours")
    with pytest.raises(InputError, match=said):
        run(SHORT, data, Job(left.parent, cache))
    assert left.read_bytes() == b"of hours"
    assert files(left.parent) == [name]


def test_a_checkpoint_that_was_not_written_whole_is_deleted(data, cache, tmp_path, untrained):
    left = tmp_path / "out" / "..checkpoint.npz"
    left.parent.mkdir()
    left.write_bytes(b"half")
    run(SHORT, data, Job(left.parent, cache))
    assert files(left.parent) == PACKAGE


def test_refuses_a_split_without_mines_on_a_side(cache, tmp_path):
    """Campaigns of one kind each: one of mines cannot lie on both sides."""
    archive, index = small_chips.make(tmp_path / "chips", 12, side=16, broken=False)
    rows = [f"{i}.png,{small_chips.label(i)},{small_chips.label(i)}{i % 3 if i % 2 == 0 else ''}" for i in range(12)]
    index.write_text("\n".join(["file,label,source_gallery", *rows]) + "\n")
    data = TrainingData(ChipsSource(archive, index))
    for split in (Split(held_out=0.3), Split(folds=2)):
        with pytest.raises(DatasetError, match=r"there are \d+ mines and \d+ others to .*; give more campaigns"):
            run(replace(SHORT, split=split), data, Job(tmp_path / "out", cache))
    assert not (tmp_path / "out").exists()


def test_refuses_chips_that_are_smaller_than_the_network_takes(data, cache, tmp_path):
    large = replace(SHORT, spec=replace(SPEC, chip=32), preprocess=replace(SHORT.preprocess, chip=32))
    wanted = (
        r"zip/0.png is of 16 x 16 px, as most chips there, and the network takes 32 x 32 px; .* 48 px: .*lite-small"
    )
    with pytest.raises(DatasetError, match=wanted):
        run(large, data, Job(tmp_path / "out", cache))


def test_a_loss_that_is_no_number_ends_the_run(data, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("geoscan.train.tensorflow_step.TensorFlowStep.__call__", lambda *given: float("nan"))
    with pytest.raises(InputError, match="the loss of epoch 1 is nan; pass a smaller --rate"):
        run(SHORT, data, Job(tmp_path / "out", cache))


def test_a_place_that_cannot_be_written_is_said_before_the_work(data, cache, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is no folder that may be written to; choose another --out"):
        run(SHORT, data, Job(tmp_path / "file" / "out", cache))


@pytest.mark.large
def test_a_damaged_fold_is_trained_anew(folded, data, cache, tmp_path, caplog):
    with pytest.raises(Stopped):
        run(FOLDS, data, Job(tmp_path / "mines", cache, advance=Ticks(4, Stopped())))
    (tmp_path / "mines" / ".fold1-scores.npz").write_bytes(b"half")
    package, _ = run(FOLDS, data, Job(tmp_path / "mines", cache, resume=True))
    assert "fold1-scores.npz cannot be read; that fold is trained anew" in caplog.text
    equal(load(package.path).card, folded[0].card)


@pytest.mark.large
def test_what_is_trained_may_be_judged_by_averaged_scores_without_training_again(data, cache, tmp_path):
    ticks = Ticks(FOLDED, Stopped())
    with pytest.raises(Stopped):
        run(FOLDS, data, Job(tmp_path / "mines", cache, advance=ticks, keep_folds=True))
    ticks = Ticks()
    averaged = replace(FOLDS, tta=True)
    package, _ = run(averaged, data, Job(tmp_path / "mines", cache, resume=True, advance=ticks, keep_folds=True))
    assert ticks.done < FOLDED / 2, "the last epoch alone, in which it was stopped"
    wanted, _ = run(averaged, data, Job(tmp_path / "anew", cache))
    equal(package.card, wanted.card)
    assert package.card.tta
    assert load(package.path / "fold1").card.tta


def test_refuses_too_few_chips(cache, tmp_path):
    few = TrainingData(ChipsSource(*small_chips.make(tmp_path / "few", 2, places=2, side=16, broken=False)))
    with pytest.raises(DatasetError, match="1 are left to train and 1 that are not only cloudy"):
        run(SHORT, few, Job(tmp_path / "out", cache))
    with pytest.raises(DatasetError, match="2 groups of chips cannot fill 3 folds"):
        run(replace(SHORT, split=Split(folds=3)), few, Job(tmp_path / "out", cache))
    assert not (tmp_path / "out").exists()
