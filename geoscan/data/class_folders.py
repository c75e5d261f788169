"""Chips in folders, one folder a class, as most sets for scene classification come: EuroSAT, UC Merced, AID."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from geoscan.data import images
from geoscan.data.chips import problem_lines
from geoscan.errors import DatasetError
from geoscan.progress import Track


@dataclass(frozen=True, slots=True)
class FolderProblems:
    """What was found wrong but not fatal, by name, sorted."""

    unreadable: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    """Images in no folder, or in one that holds class folders."""
    single: tuple[str, ...] = ()
    """Classes with one chip, which no split can put on both of its sides."""

    def lines(self) -> list[str]:
        """One line for each kind of problem that occurs: its count and its first three names."""
        return problem_lines(
            ("unreadable images", self.unreadable, "left out"),
            ("images outside a class folder", self.outside, "left out"),
            ("classes with one chip", self.single, "trained on but not validated"),
        )


@dataclass(frozen=True, slots=True)
class ClassFolders(images.Images):
    """Chips of known classes in a zip archive or a directory, sorted by name."""

    classes: NDArray[np.intp]
    """(n,), position in `class_names`."""
    class_names: tuple[str, ...]
    """Names of the folders, sorted, each once."""
    problems: FolderProblems = FolderProblems()


def read_class_folders(source: Path, track: Track = iter) -> ClassFolders:
    """List the PNG and JPEG chips of an archive or a directory whose images lie in one folder a class.

    A class has the name of the folder that its images lie in, however deep: train/river and test/river are one class.
    Every image is decoded once, so that none fails during training; those that cannot be read are left out.
    Raises DatasetError when the source cannot be used, or has fewer than two classes.
    """
    found = images.listed(source)
    if not found:
        raise DatasetError(f"{source} holds no PNG or JPEG images; pass one with a folder of images for each class")
    inside = _in_class_folders(found)
    readable = images.readable(source, inside, track)
    folders = [PurePosixPath(name).parent.name for name in readable]
    counts = Counter(folders)
    if len(counts) < 2:
        raise DatasetError(
            f"{len(found):,} images in {source} lie in {len(counts)} class folders that can be read; "
            "at least two are needed, each named after its class"
        )
    class_names, classes = np.unique(folders, return_inverse=True)
    return ClassFolders(
        source,
        readable,
        classes.astype(np.intp),
        tuple(class_names.tolist()),
        FolderProblems(
            unreadable=tuple(sorted(set(inside) - set(readable))),
            outside=tuple(sorted(set(found) - set(inside))),
            single=tuple(sorted(name for name, count in counts.items() if count == 1)),
        ),
    )


def _in_class_folders(names: list[str]) -> list[str]:
    """Names of the images whose folder holds no other folder with images."""
    folders = {name: PurePosixPath(name).parent for name in names}
    above = {PurePosixPath()}.union(*(folder.parents for folder in set(folders.values())))
    return [name for name in names if folders[name] not in above]
