"""What the files of a package may hold, looked at before Keras or OpenVINO read them: anybody may have made them."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import defusedxml.ElementTree

from geoscan.errors import PackageError, one_line

_MEMBERS: Final = frozenset(("config.json", "metadata.json", "model.weights.h5"))
"""Of an archive of Keras'."""

_LARGEST: Final = 2**30
"""Bytes of any file; a DenseNet-121 has 28 MB."""

_LARGEST_TEXT: Final = 16 * 2**20
"""Bytes of a text; those of a DenseNet-121 have half a megabyte."""

_LAYERS: Final = frozenset(
    (
        "InputLayer",
        "Rescaling",
        "Resizing",
        "Conv2D",
        "DepthwiseConv2D",
        "BatchNormalization",
        "ReLU",
        "MaxPooling2D",
        "AveragePooling2D",
        "GlobalAveragePooling2D",
        "Concatenate",
        "Add",
        "Activation",
        "Dropout",
        "Dense",
    )
)
_CLASSES: Final = {
    None: frozenset(("__keras_tensor__",)),
    "keras": frozenset(("DTypePolicy",)),
    "keras.layers": _LAYERS,
    "keras.src.models.functional": frozenset(("Functional",)),
}
"""What a network of ours is made of, by module, beside the initial values of weights, all of which are replaced: none
of it runs code that a file brings along."""

_OPERATIONS: Final = frozenset(
    (
        *("Parameter", "Const", "Result", "Convert", "Transpose", "Interpolate", "Concat", "Add", "Multiply", "MatMul"),
        *("Convolution", "GroupConvolution", "BatchNormInference", "MaxPool", "AvgPool", "ReduceMean"),
        *("ReLU", "Clamp", "Sigmoid", "SoftMax"),
    )
)
"""What `export` writes for OpenVINO: no loops, no conditions, nothing that is read from elsewhere."""


def check_place(folder: Path, names: Iterable[str]) -> None:
    """Check that the files of a package, those that there are, are files in it, and not too large.

    Raises PackageError for a pipe, a device, a link that leads out of the package, or a file far too large; OSError for
    what cannot be looked at.
    """
    home = os.path.realpath(folder)
    for file in (folder / name for name in names if (folder / name).exists()):
        if os.path.dirname(os.path.realpath(file)) != home or not file.is_file():  # noqa: PTH120
            raise PackageError(f"{file} is a link out of the package, or no file; put the file itself there")
        if (size := file.stat().st_size) > _LARGEST:
            raise PackageError(f"{file} has {size / 1e9:.1f} GB, too much for a model; restore it")


def check_archive(file: Path) -> None:
    """Check an archive of Keras': its three files, in them layers of our networks, and weights that lie in it.

    Raises PackageError.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if {one.filename for one in members} != _MEMBERS or len(members) != len(_MEMBERS):
                raise _unsafe(file, f"it must hold {', '.join(sorted(_MEMBERS))}, and nothing else")
            described = archive.getinfo("config.json").file_size
            if described > _LARGEST_TEXT or sum(one.file_size for one in members) > _LARGEST:
                raise _unsafe(file, "what it holds is far too large")
            for module, name in _classes(json.loads(archive.read("config.json"))):
                if module != "keras.initializers" and name not in _CLASSES.get(module, ()):
                    raise _unsafe(file, f"{one_line(module)}.{one_line(name)} is no part of geoscan's networks")
            with archive.open("model.weights.h5") as weights:
                _check_weights(file, weights)
    except PackageError:
        raise
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, LookupError) as err:
        raise _unsafe(file, one_line(err)[:200]) from err


def check_operations(file: Path, weights: Path) -> None:
    """Check a network as OpenVINO reads it: operations that `export` writes, and constants that lie in its weights.

    Raises PackageError; OSError for a file that cannot be read.
    """
    with file.open("rb") as stream:
        text = stream.read(_LARGEST_TEXT + 1)
    if len(text) > _LARGEST_TEXT:
        raise PackageError(f"{file} has more than {_LARGEST_TEXT >> 20} MB, too much for a network; restore it")
    try:
        layers = list(defusedxml.ElementTree.fromstring(text, forbid_dtd=True).iter("layer"))
    except (SyntaxError, ValueError, LookupError, RecursionError) as err:
        raise PackageError(f"{file} is no network that can be read ({one_line(err)[:200]}); restore it") from err
    held = weights.stat().st_size
    for layer in layers:
        kind = layer.get("type")
        if kind not in _OPERATIONS:
            raise PackageError(f"{file} holds {one_line(kind)!r}, which is no part of geoscan's networks; restore it")
        for data in layer.iter("data") if kind == "Const" else ():
            start, size = (_whole(data.get(key)) for key in ("offset", "size"))
            if not 0 <= start <= start + size <= held:
                raise PackageError(f"{file} takes constants from where {weights.name} has none; restore both")


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 20 else -1


def _classes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Module and name of each class that a description of a network names, or that it has registered."""
    if isinstance(value, dict):
        if "class_name" in value:
            module = value.get("module")
            yield module if isinstance(module, str) else None, str(value["class_name"])
        for one in value.values():
            yield from _classes(one)
    elif isinstance(value, list):
        for one in value:
            yield from _classes(one)


def _check_weights(file: Path, weights: Any) -> None:
    """Refuse what is no array in the file itself: HDF5 has links to other files, and arrays that lie in them."""
    import h5py  # Keras' own; it takes a while to import

    with h5py.File(weights) as held:
        found: list[str] = []
        held.visititems_links(lambda name, link: found.append(name) if type(link) is not h5py.HardLink else None)
        size = 0

        def look(name: str, one: Any) -> None:
            nonlocal size
            if isinstance(one, h5py.Dataset):
                size += one.nbytes
                if one.external or one.is_virtual:
                    found.append(name)

        held.visititems(look)
    if found:
        raise _unsafe(file, f"its weights {one_line(found[0])} lie in another file")
    if size > _LARGEST:
        raise _unsafe(file, "its weights are far too large")


def _unsafe(file: Path, why: str) -> PackageError:
    return PackageError(f"{file} holds no network that is safe to load ({why}); restore it, or train the model anew")
