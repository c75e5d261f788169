"""A model on disk: a directory with `weights.keras`, the same network as OpenVINO reads it, `card.json`, and `card.md`.

The digest in `card.json` ties all but the last together.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import OutputError, PackageError, one_line
from geoscan.labels import MINE
from geoscan.machine import is_shortage
from geoscan.model.card import Card
from geoscan.model.contents import check_archive, check_place
from geoscan.model.markdown import card_markdown
from geoscan.model.spec import Spec

if TYPE_CHECKING:
    from geoscan.model.backend import keras

WEIGHTS = "weights.keras"
NETWORK = "network.xml"
"""The network for OpenVINO; its weights are in `network.bin`. Packages of earlier versions have neither."""

EVIDENCE = "evidence"
"""Name of the network's output that says where in a chip the evidence for a mine lies: see `arrays.Evidence`. Packages
of earlier versions lack it."""

CARD = "card.json"
MARKDOWN = "card.md"
"""The card for people; nothing reads it."""

_SEALED = (WEIGHTS, NETWORK, "network.bin")
"""What the digest covers, beside the card."""

_WORTH_PACKING = 0.75
"""Share of its size above which a file in an archive is stored as it is: weights hardly get smaller, unless half
precision holds them."""

_LARGEST_CARD = 4 * 2**20
"""Bytes; real ones have some 20 kB. `save` writes none that `load` would not take."""

_NEXT = "."
"""How the names begin of files that are to replace others. The card is the last to be written and the last to be moved:
where it fits the files, `save` broke off between two moves, and `load` ends them."""


@dataclass(frozen=True, slots=True)
class Package:
    """A model package that was opened and whose digest fits; pickles to its path and its card."""

    path: Path
    card: Card

    @property
    def has_export(self) -> bool:
        """Whether it holds the network that OpenVINO reads."""
        return (self.path / NETWORK).is_file()

    @property
    def has_evidence(self) -> bool:
        """Whether that network also tells where in a chip the evidence for a mine lies."""
        return self.has_export and f'names="{EVIDENCE}"'.encode() in (self.path / NETWORK).read_bytes()

    def network(self) -> keras.Model:
        """Build the network of the card's spec, with the stored weights; code that they may bring along is never run.

        Raises PackageError when they cannot be loaded, do not fit the card, or are no numbers; MemoryError when memory
        is short.
        """
        check_archive(self.path / WEIGHTS)
        # TensorFlow takes seconds to import: only where a model runs
        from geoscan.model.backend import keras
        from geoscan.model.network import build

        network = build(self.card.spec)
        try:
            stored = keras.saving.load_model(self.path / WEIGHTS, compile=False, safe_mode=True)
        except Exception as err:  # Keras raises whatever the layer at fault does
            if is_shortage(err):
                raise MemoryError(f"{self.path / WEIGHTS} does not fit into memory") from err
            raise PackageError(f"{self.path / WEIGHTS} holds no network that is safe to load ({_brief(err)})") from err
        weights = {variable.path: variable for variable in stored.weights}
        alike = {path: weight.shape for path, weight in weights.items()} == {v.path: v.shape for v in network.weights}
        if not alike or stored.input_shape != network.input_shape:
            raise PackageError(f"{self.path}: the network is not the one that its card describes; train it anew")
        network.set_weights([weights[variable.path] for variable in network.weights])
        check_finite(network.get_weights(), self.path / WEIGHTS)
        return network


def check_finite(weights: Iterable[NDArray[np.generic]], path: Path) -> None:
    """Refuse weights that are no numbers: rectifiers hide them, and every score would look like one.

    Raises PackageError, with the name of the file that they are from.
    """
    if not all(np.isfinite(values).all() for values in weights):
        raise PackageError(f"{path} holds weights that are no numbers (NaN); train it anew")


def save(path: Path, network: keras.Model, card: Card) -> Package:
    """Write a package, replacing one that is there; whenever it breaks off, `load` finds the old one or the new one.

    network: one that the card's spec builds. Neither an optimizer, twice as large as the weights, nor half precision is
    kept.
    Raises OutputError when it cannot be written, or its card is so large that `load` would refuse it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if (path / CARD).exists():
            with suppress(PackageError):
                load(path)  # ends what an earlier one left undone
        try:
            card = _prepare(path, _portable(network, card.spec), card)
        except BaseException:
            _discard(path)
            raise
        _move(path)
    except OSError as err:
        raise OutputError(f"the model package {path} cannot be written: {err.strerror or _brief(err)}") from err
    return Package(path, card)


def _prepare(path: Path, network: keras.Model, card: Card) -> Card:
    """Write all files of a package beside those that they are to replace; return the card with its digest."""
    from geoscan.model.export import export

    part = path / f".part-{WEIGHTS}"  # Keras insists on its own suffix
    try:
        network.save(part)
        _make_reproducible(part, _next(path, WEIGHTS))
    finally:
        part.unlink(missing_ok=True)
    export(network, _next(path, NETWORK), card.spec.alone(MINE))
    card = replace(card, digest=_digest([_next(path, name) for name in _SEALED], card.to_json()))
    text = card.to_json()
    if (size := len(text.encode())) > _LARGEST_CARD:
        raise OutputError(
            f"the card of {path} would have {size / 2**20:.1f} MB, more than the {_LARGEST_CARD >> 20} MB that "
            f"can be opened; it lists {len(card.figures.campaigns):,} sampling campaigns: give the chips fewer of them"
        )
    _next(path, MARKDOWN).write_text(card_markdown(Card.from_json(text)), encoding="utf-8")
    _next(path, CARD).write_text(text, encoding="utf-8")
    return card


def _next(path: Path, name: str) -> Path:
    return path / f"{_NEXT}{name}"


def _discard(path: Path) -> None:
    for name in (*_SEALED, MARKDOWN, CARD):
        with suppress(OSError):
            _next(path, name).unlink(missing_ok=True)


def _move(path: Path) -> None:
    """Put files in their places, as far as that is not done: another process may be at it, too."""
    for name in (*_SEALED, MARKDOWN, CARD):
        with suppress(FileNotFoundError):
            _next(path, name).replace(path / name)


def load(path: Path) -> Package:
    """Open a package. Raises PackageError when it is missing, damaged, or its digest does not fit."""
    try:
        check_place(path, (CARD, *_SEALED, *(f"{_NEXT}{name}" for name in (CARD, *_SEALED))))
        text = _card_text(path / CARD)
        if not (path / WEIGHTS).is_file():
            raise FileNotFoundError(WEIGHTS)
    except OSError as err:
        raise PackageError(f"{path} is no model package: it must hold {CARD} and {WEIGHTS}") from err
    try:
        card = Card.from_json(text)
    except PackageError as err:
        raise PackageError(f"{path / CARD}: {err}; train the model anew or restore the file") from err
    try:
        found = _digest([path / name for name in _SEALED], text)
        if card.digest != found and (following := _following(path)):
            _move(path)
            return Package(path, following)
    except OSError as err:
        raise PackageError(f"{err.filename or path} cannot be read or put in place: {err.strerror or err}") from err
    if card.digest != found:
        raise PackageError(
            f"{path}: card and weights do not fit together (the card says {card.digest[:12]}, found {found[:12]}); "
            "restore all files, or train the model anew"
        )
    return Package(path, card)


def _card_text(file: Path) -> bytes:
    """Read a card. Raises OSError when it cannot be read, PackageError when it is far too large for one."""
    with file.open("rb") as stream:
        text = stream.read(_LARGEST_CARD + 1)
    if len(text) > _LARGEST_CARD:
        raise PackageError(f"{file} has more than {_LARGEST_CARD >> 20} MB, too much for a card; restore it")
    return text


def _following(path: Path) -> Card | None:
    """Return the card of the package that `save` was putting in place when it broke off; None where there is none."""
    try:
        text = _card_text(_next(path, CARD))
        card = Card.from_json(text)
    except (FileNotFoundError, PackageError):
        return None
    moved = [file if (file := _next(path, name)).is_file() else path / name for name in _SEALED]
    return card if card.digest == _digest(moved, text) else None


def package_files(path: Path) -> list[Path]:
    """List the files of a package that its digest covers, and its card."""
    return [path / name for name in (CARD, *_SEALED) if (path / name).is_file()]


def _portable(network: keras.Model, spec: Spec) -> keras.Model:
    """Return a copy in single precision, without optimizer, of Keras' own layers: whoever has Keras can open it."""
    from geoscan.model.backend import keras
    from geoscan.model.network import build
    from geoscan.model.normalization import BatchNormalization

    def own(layer: keras.Layer) -> keras.Layer:
        kind = keras.layers.BatchNormalization if isinstance(layer, BatchNormalization) else type(layer)
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(build(spec), clone_function=own)
    copy.set_weights(network.get_weights())
    weights = {id(variable) for variable in copy.weights}
    for seed in (variable for variable in copy.variables if id(variable) not in weights):
        seed.assign([0, 0])  # dropout's; equal networks shall give equal files
    return copy


def _digest(files: Sequence[Path], text: str | bytes) -> str:
    """SHA-256 of files, those that there are, and of what the JSON of a card holds, but for its digest.

    It reads the JSON, not the card made of it: a later version may add figures, and the seal of an older card holds.
    """
    facts = json.loads(text)
    facts.pop("digest", None)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in files:
        with suppress(FileNotFoundError), file.open("rb") as stream:
            while part := stream.read(2**20):
                digest.update(part)
    return digest.hexdigest()


def _brief(err: BaseException) -> str:
    """First sentence of an error, on one line."""
    return one_line(err).split(". ")[0].rstrip(".")[:200]


def _make_reproducible(source: Path, target: Path) -> None:
    """Copy a .keras archive without the date of its making, so that equal networks give equal files."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "metadata.json":
                facts = json.loads(content)
                facts.pop("date_saved", None)
                content = json.dumps(facts, sort_keys=True).encode()
            packed = len(zlib.compress(content)) < _WORTH_PACKING * len(content)
            new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
