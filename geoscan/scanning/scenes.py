"""Scan any number of scenes: plan them all before the work begins, then take one after the other."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final, TypeAlias

from geoscan.errors import (
    GeoscanError,
    InputError,
    LookError,
    MadeHereError,
    PackageError,
    RadiometryError,
    ReadError,
    ResolutionError,
    SceneError,
)
from geoscan.finding import find_scenes
from geoscan.gdal import absolute, short_name, short_names
from geoscan.model.package import Package
from geoscan.model.shipped import choose, find, shipped
from geoscan.products.tiles import each_once, groups_of, mosaic_of
from geoscan.progress import Advance
from geoscan.scanning.guard import look_after, look_before
from geoscan.scanning.journal.journals import Journals
from geoscan.scanning.options import DEFAULT, ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import SceneResult, detect
from geoscan.scanning.run import scan
from geoscan.scanning.workers import HERE, Workers
from geoscan.scene import Scene

log = logging.getLogger(__name__)

SceneLike: TypeAlias = str | os.PathLike[str] | Scene
"""An address, a directory of rasters, or a scene that is open already."""


BROKEN: Final = (SceneError, RadiometryError, LookError, ReadError)
"""What is the fault of one scene, and leaves others as they are."""

Broken: TypeAlias = Callable[[str, GeoscanError], None]
"""Called with the name of a scene that cannot be scanned, and why."""


def plan_scenes(
    scenes: Iterable[SceneLike],
    options: ScanOptions = DEFAULT,
    *,
    broken: Broken | None = None,
    done: Callable[[Plan], bool] = lambda _: False,
) -> tuple[list[Plan], int]:
    """Open scenes and plan their scans; return the plans, and how many rasters were left out.

    Parts of one raster become one scene, and what another of them shows is scanned once: see `products.tiles`.
    What a directory happens to hold is left out, with a warning, when it cannot be scanned; scenes get names by which
    those of several folders can be told apart. A scene that is open keeps its bands, and stands for its file where that
    is named, too.
    broken: told of each scene that is left out; given, those named outright are left out, too. done: tells which scenes
    need not be looked at, for nothing of them will be scanned.
    Raises InputError for the first scene named outright that cannot be scanned, when none is left, for a model that
    cannot be used, and for options that do not fit; ReadError when a scene named outright cannot be read.
    """
    packages = _packages(options.model)
    given = list(scenes)
    opened = _opened(given)
    named = [scene.path if isinstance(scene, Scene) else os.fspath(scene) for scene in given]
    found, lost = _found(named, broken)
    groups = _grouped([path if (path := absolute(one)) in opened else one for one in found], opened)
    plans, left_out = [], lost
    for group, name in zip(groups, short_names([group[0] for group in groups]), strict=True):
        try:
            scene = opened.get(group[0]) or _open(group, options)
            with _naming_shipped_models():
                title = scene.name if scene.product.kind else name
                plan = Plan.of(scene, choose(packages, scene.gsd), options, title)
            if not done(plan):
                log.info("%s", plan.told)
                look_before(plan)
            plans.append(plan)
        except BROKEN as err:
            outright = not set(named).isdisjoint(group)
            if outright and (broken is None or len(named) == 1):
                raise
            if isinstance(err, MadeHereError) and not outright:
                log.info("passed over: %s", err)
                continue
            left_out += len(group)
            log.warning("left out: %s", err)
            if broken is not None:
                broken(name, err)
    if not plans:
        raise InputError(f"none of the {left_out} rasters can be scanned; give a scene with red, green and blue bands")
    _warn_of_tta(plans)
    return plans, left_out


def _packages(model: str | os.PathLike[str] | Package) -> list[Package]:
    """Open the packages of which each scene gets one; see `ScanOptions.model`."""
    if isinstance(model, Package):
        return [model]
    return shipped() if model == "auto" else [find(os.fspath(model))]


def _opened(given: Iterable[SceneLike]) -> dict[str, Scene]:
    """Give the scenes that are open by their paths; raise InputError where one file was opened in different ways."""
    opened: dict[str, Scene] = {}
    for scene in given:
        if isinstance(scene, Scene):
            first = opened.setdefault(scene.path, scene)
            if first.fingerprint() != scene.fingerprint():
                raise InputError(f"{scene.name} was opened in two ways, and is scanned once; scan them one by one")
    return opened


def _found(named: Sequence[str], broken: Broken | None) -> tuple[list[str], int]:
    """Find the scenes that are named; broken: told of what is none, which is counted, where there are others."""
    if broken is None or len(named) == 1:
        return find_scenes(named), 0
    good, lost = [], 0
    for name in named:
        try:
            good += find_scenes([name])
        except SceneError as err:
            log.warning("left out: %s", err)
            broken(short_name(name), err)
            lost += 1
    return find_scenes(good), lost


def _grouped(addresses: list[str], opened: Collection[str]) -> list[list[str]]:
    """Sort addresses into scenes; one that is open already is a scene of its own."""
    closed = [address for address in addresses if address not in opened]
    once = each_once(closed) if len(closed) > 1 else closed
    for address in closed:
        if address not in once:
            log.info("%s shows what another of the scenes shows: it is not scanned twice", short_name(address))
    groups = groups_of(once) if len(once) > 1 else [[address] for address in once]
    for group in groups:
        if len(group) > 1:
            log.info("%s and %d more are parts of one scene", short_name(group[0]), len(group) - 1)
    alone = [[address] for address in addresses if address in opened]
    return sorted([*alone, *groups], key=lambda group: addresses.index(group[0]))


def _open(group: Sequence[str], options: ScanOptions) -> Scene:
    """Open one scene, which may have several parts."""
    whole = mosaic_of([absolute(one) for one in group]) if len(group) > 1 else None
    return Scene.open(whole or group[0], bands=options.bands, follow=options.follow)


def scan_scene(
    plan: Plan, workers: Workers = HERE, *, advance: Advance = lambda _: None, journals: Journals | None = None
) -> SceneResult:
    """Scan one scene, and say what was found in it; see `scan_scenes`."""
    with (journals and journals.open(plan)) or nullcontext() as journal:
        scores = scan(plan, workers, advance=advance, journal=journal)
    look_after(plan, int(scores.scored.sum()), len(scores.strange), scores.white)
    return detect(scores)


def scan_scenes(
    plans: Iterable[Plan],
    workers: Workers = HERE,
    *,
    begin: Callable[[str], None] = lambda _: None,
    advance: Advance = lambda _: None,
    journals: Journals | None = None,
    broken: Broken | None = None,
) -> Iterator[SceneResult]:
    """Scan one scene after the other, and yield what was found in each as soon as it is done.

    workers: from `workers.workers`; without them this thread works alone, with the same result.
    begin: called with the name of each scene before it is scanned. advance: called with the number of tiles done.
    journals: what they hold is not done again. broken: told of each scene that fails; the others are scanned.
    Without it, raises LookError for a scene too many of whose chips look like nothing the model knows, and SceneError
    for one that has no place on Earth.
    """
    plans = list(plans)
    workers.make_ready(plans)
    for plan in plans:
        begin(plan.name)
        try:
            result = scan_scene(plan, workers, advance=advance, journals=journals)
        except BROKEN as err:
            if broken is None:
                raise
            broken(plan.name, err)
        else:
            yield result


@contextmanager
def _naming_shipped_models() -> Iterator[None]:
    """Where the resolution does not fit, name the models that are shipped: another of them may."""
    try:
        yield
    except ResolutionError as err:
        todo = "give a scene of their resolution, or another model with --model"
        raise ResolutionError(f"{err}; shipped models: {_shipped_models()}; {todo}") from err


def _shipped_models() -> str:
    try:
        packages = shipped()
    except PackageError:
        packages = []  # a damaged one is no obstacle to using another
    return ", ".join(f"{one.card.name} {one.card.preprocess.gsd:g} m" for one in packages) or "none"


def _warn_of_tta(plans: Iterable[Plan]) -> None:
    """Say once a model that its thresholds are for other scores, where its card and what was asked for differ."""
    cards = {plan.package.card.digest: plan.package.card for plan in plans if plan.tta != plan.package.card.tta}
    for card in cards.values():
        tuned, other = ("averaged", "--no-tta") if card.tta else ("single", "--tta")
        log.warning(
            "thresholds and probabilities of %s are for %s scores: with %s they fit less well", card.name, tuned, other
        )
