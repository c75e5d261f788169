"""A DenseNet as data: it round-trips through JSON, and the same spec always builds the same network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from geoscan.errors import PackageError
from geoscan.labels import LAND, WEATHER

Activation: TypeAlias = Literal["softmax", "sigmoid"]
StemStride: TypeAlias = Literal[1, 2, 4]


@dataclass(frozen=True, slots=True)
class Head:
    """One group of labels that the network answers together."""

    name: str
    labels: tuple[str, ...]
    activation: Activation
    """softmax: exactly one label holds; sigmoid: any number of them."""


PLANET_HEADS = (Head("weather", WEATHER, "softmax"), Head("land", LAND, "sigmoid"))


@dataclass(frozen=True, slots=True)
class DenseNetSpec:
    """A DenseNet-BC (Huang, Liu, van der Maaten, Weinberger 2017, section 3) over square RGB chips.

    blocks: number of dense layers in each dense block.
    growth: channels that each dense layer adds.
    stem: channels after the first convolution.
    compression: share of the channels that a transition keeps, in (0, 1].
    dropout: rate before the heads, in [0, 1).
    chip: side of the input, in pixels.
    shrink: the network looks at the chip averaged over `shrink` x `shrink` pixels.
    stem_stride: 4 is the 7 x 7 convolution and max pooling of the paper; 2 and 1 keep more detail in small chips.
    mean, std: of the chips' red, green and blue, 0..255; the network subtracts and divides by them itself.
    heads: groups of labels; the scores' columns are their labels, in this order.
    """

    blocks: tuple[int, ...]
    growth: int
    stem: int
    compression: float = 0.5
    dropout: float = 0.2
    chip: int = 256
    shrink: int = 1
    stem_stride: StemStride = 4
    mean: tuple[float, float, float] = (80.0, 87.0, 77.0)
    std: tuple[float, float, float] = (40.0, 36.0, 34.0)
    heads: tuple[Head, ...] = PLANET_HEADS

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1 or self.growth < 1 or self.stem < 1:
            raise PackageError(f"a DenseNet needs blocks, growth and stem of 1 or more; got {self}")
        if not 0 < self.compression <= 1 or not 0 <= self.dropout < 1:
            raise PackageError(f"compression must lie in (0, 1] and dropout in [0, 1); got {self}")
        if len(self.mean) != 3 or len(self.std) != 3 or not min(self.std) > 0:
            raise PackageError(f"mean and std need three numbers, std above 0; got {self.mean} and {self.std}")
        if self.stem_stride not in get_args(StemStride):
            raise PackageError(f"stem_stride {self.stem_stride} is not known; choose 1, 2 or 4")
        if self.shrink < 1 or self.chip % self.shrink:
            raise PackageError(f"shrink {self.shrink} must divide the chip of {self.chip} px")
        labels = self.labels
        if not all(head.labels and head.activation in get_args(Activation) for head in self.heads):
            raise PackageError(f"each head needs labels, and softmax or sigmoid; got {self.heads}")
        if not labels or len(set(labels)) != len(labels) or len({h.name for h in self.heads}) != len(self.heads):
            raise PackageError(f"heads need names and labels that differ from each other; got {self.heads}")
        if self.chip < self.reduction:
            raise PackageError(f"a chip of {self.chip} px is too small; these blocks need {self.reduction} px or more")

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order of the scores' columns."""
        return tuple(label for head in self.heads for label in head.labels)

    @property
    def reduction(self) -> int:
        """Pixels of the chip, along one side, to one cell of the last feature map."""
        reduction: int = self.shrink * self.stem_stride * 2 ** (len(self.blocks) - 1)
        return reduction


PRESETS = MappingProxyType(
    {
        "densenet121": DenseNetSpec(blocks=(6, 12, 24, 16), growth=32, stem=64),
        "compact": DenseNetSpec(blocks=(3, 6, 8), growth=32, stem=32, shrink=2),
    }
)
"""`densenet121` is the paper's; `compact` the small network for few chips, which looks at half the resolution."""


def preset(name: str, heads: tuple[Head, ...] = PLANET_HEADS) -> DenseNetSpec:
    """Return a preset by name, with other heads if wanted. Raises PackageError for an unknown name."""
    if name not in PRESETS:
        raise PackageError(f"no preset is called {name!r}; choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], heads=heads)
