"""Networks as data: a spec round-trips through JSON, and the same spec always builds the same network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from geoscan.errors import PackageError
from geoscan.labels import LAND, MINE, WEATHER

Activation: TypeAlias = Literal["softmax", "sigmoid"]
StemStride: TypeAlias = Literal[1, 2, 4]
LiteFamily: TypeAlias = Literal["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]


@dataclass(frozen=True, slots=True)
class Head:
    """One group of labels that the network answers together."""

    name: str
    labels: tuple[str, ...]
    activation: Activation
    """softmax: exactly one label holds; sigmoid: any number of them."""


class _Headed:
    """What every spec has because it has heads."""

    __slots__ = ()
    heads: tuple[Head, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order of the scores' columns."""
        return tuple(label for head in self.heads for label in head.labels)

    @property
    def mine_column(self) -> int:
        """Which column of the scores is of mines. Raises ValueError where none is."""
        return self.labels.index(MINE)

    @property
    def mines_alone(self) -> bool:
        """Whether it tells mines from the rest, and nothing else."""
        return self.labels == (MINE,)

    def alone(self, label: str) -> tuple[str, int] | None:
        """Name of the head that answers a label by a sigmoid, and its column there; None where no head does."""
        heads = [head for head in self.heads if label in head.labels and head.activation == "sigmoid"]
        return (heads[0].name, heads[0].labels.index(label)) if heads else None


PLANET_HEADS = (Head("weather", WEATHER, "softmax"), Head("land", LAND, "sigmoid"))
MINE_HEADS = (Head("land", (MINE,), "sigmoid"),)
"""Of a model that knows mines from the rest, and nothing else."""

PLANET_MEAN = (80.0, 87.0, 77.0)
PLANET_STD = (40.0, 36.0, 34.0)
"""Of Kaggle's chips: red, green and blue, 0..255."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class DenseNetSpec(_Headed):
    """A DenseNet-BC (Huang, Liu, van der Maaten, Weinberger 2017, section 3) over square RGB chips.

    blocks: number of dense layers in each dense block.
    growth: channels that each dense layer adds.
    stem: channels after the first convolution.
    compression: share of the channels that a transition keeps, in (0, 1].
    dropout: rate before the heads, in [0, 1).
    chip: side of the input, in pixels.
    shrink: the network looks at the chip averaged over `shrink` x `shrink` pixels.
    side: or at the chip enlarged to `side` x `side` pixels, between which it is interpolated: convolutions of a stride
        see small chips in more places then. None leaves it.
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
    side: int | None = None
    stem_stride: StemStride = 4
    mean: tuple[float, float, float] = PLANET_MEAN
    std: tuple[float, float, float] = PLANET_STD
    heads: tuple[Head, ...] = PLANET_HEADS
    family: Literal["densenet"] = "densenet"

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1 or self.growth < 1 or self.stem < 1:
            raise PackageError(f"a DenseNet needs blocks, growth and stem of 1 or more; got {self}")
        if not 0 < self.compression <= 1:
            raise PackageError(f"compression must lie in (0, 1]; got {self}")
        if self.stem_stride not in get_args(StemStride):
            raise PackageError(f"stem_stride {self.stem_stride} is not known; choose 1, 2 or 4")
        if self.shrink < 1 or self.chip % self.shrink:
            raise PackageError(f"shrink {self.shrink} must divide the chip of {self.chip} px")
        if self.side is not None and (self.side <= self.chip or self.shrink > 1):
            raise PackageError(
                f"a side of {self.side} px must be more than the chip's {self.chip}, without shrink {self.shrink}"
            )
        if self.seen < self.reduction:
            raise PackageError(f"a chip of {self.seen} px is too small; these blocks need {self.reduction} px or more")
        _check(self)

    @property
    def seen(self) -> int:
        """Pixels along each side that the first convolution sees."""
        return self.side or self.chip // self.shrink

    @property
    def reduction(self) -> int:
        """How many of these there are to one cell of the last feature map."""
        reduction: int = self.stem_stride * 2 ** (len(self.blocks) - 1)
        return reduction


@dataclass(frozen=True, slots=True)
class EfficientNetSpec(_Headed):
    """An EfficientNet-Lite over square RGB chips: Tan and Le 2019, table 1, ReLU6, no squeeze-and-excitation.

    family: Lite0, or Lite1 and Lite2, which are deeper, and Lite2 wider.
    side: the chip is brought to `side` x `side` pixels inside the network.
    chip, dropout, mean, std, heads: as in `DenseNetSpec`. mean and std are ImageNet's: chips of forest, dark and of
        little contrast, are then spread about as wide as what the stored weights learned from, (x - 127) / 128.
    """

    side: int
    dropout: float = 0.3
    chip: int = 256
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    heads: tuple[Head, ...] = PLANET_HEADS
    family: LiteFamily = "efficientnet-lite0"

    def __post_init__(self) -> None:
        if self.family not in get_args(LiteFamily):
            raise PackageError(f"no family is called {self.family!r}; choose one of {', '.join(get_args(LiteFamily))}")
        if self.chip < 1 or self.side < 32:
            raise PackageError(f"an EfficientNet needs a chip of 1 px and a side of 32 px or more; got {self}")
        _check(self)


Spec: TypeAlias = DenseNetSpec | EfficientNetSpec
"""Any network that geoscan builds; `family` tells them apart in JSON."""


_LONGEST = 400
"""Characters of a message."""

_MOST_CHIP, _MOST_BLOCKS, _MOST_DEPTH, _MOST_CHANNELS, _MOST_LABELS = 2048, 8, 128, 1024, 1000
"""Far above what anybody trains; more would take memory before anybody noticed."""


def _check(spec: Spec) -> None:
    """Refuse what no network can have, or no memory holds."""
    if max(spec.chip, spec.side or 0) > _MOST_CHIP or len(spec.labels) > _MOST_LABELS:
        raise PackageError(f"chips of up to {_MOST_CHIP} px and {_MOST_LABELS} labels fit; got {spec}"[:_LONGEST])
    if isinstance(spec, DenseNetSpec) and (
        len(spec.blocks) > _MOST_BLOCKS
        or max(spec.blocks) > _MOST_DEPTH
        or max(spec.growth, spec.stem) > _MOST_CHANNELS
    ):
        raise PackageError(
            f"up to {_MOST_BLOCKS} blocks of {_MOST_DEPTH} layers, and growth and stem up to {_MOST_CHANNELS} fit; "
            f"got {spec}"[:_LONGEST]
        )
    if not 0 <= spec.dropout < 1:
        raise PackageError(f"dropout must lie in [0, 1); got {spec}")
    colours = (*spec.mean, *spec.std)
    if len(spec.mean) != 3 or len(spec.std) != 3 or not all(map(isfinite, colours)) or min(spec.std) <= 0:
        raise PackageError(f"mean and std need three numbers, std above 0; got {spec.mean} and {spec.std}")
    labels, heads = spec.labels, spec.heads
    if not all(head.labels and head.activation in get_args(Activation) for head in heads):
        raise PackageError(f"each head needs labels, and softmax or sigmoid; got {heads}")
    if not labels or len(set(labels)) != len(labels) or len({head.name for head in heads}) != len(heads):
        raise PackageError(f"heads need names and labels that differ from each other; got {heads}")


PRESETS: Mapping[str, Spec] = MappingProxyType(
    {
        "densenet121": DenseNetSpec(blocks=(6, 12, 24, 16), growth=32, stem=64),
        "compact": DenseNetSpec(blocks=(1, 6, 12, 12), growth=32, stem=32, shrink=2, stem_stride=2),
        "compact-small": DenseNetSpec(blocks=(1, 6, 12, 12), growth=32, stem=32, chip=48, side=72, stem_stride=2),
        "lite1": EfficientNetSpec(side=192, family="efficientnet-lite1"),
        "lite-small": EfficientNetSpec(side=72, chip=48),
        "lite1-small": EfficientNetSpec(side=144, chip=48, family="efficientnet-lite1"),
        "lite2-small": EfficientNetSpec(side=144, chip=48, family="efficientnet-lite2"),
    }
)
"""`densenet121` is the paper's. `compact` is a small network for few chips, which sees them at half the resolution, and
`compact-small` the same one for chips of 48 px, as 10 m sensors need them: both see the ground in pixels of nearly 7 m,
so one may begin with the other's weights. Of the 72 px that `compact-small` sees its last block sees 64, so a strip of
53 m at the right and at the bottom weighs less than the rest: averaged over symmetries every edge does.

Those that begin with `lite` are meant to begin with ImageNet's weights, and to teach these two. `lite1-small` and
`lite2-small` see a chip of 48 px three times as large, in pixels of 3.3 m, and take a GPU; `lite1` sees the ground in
pixels of 4.5 m, and learns well from the weights of `lite1-small`.
"""


def preset(name: str, heads: tuple[Head, ...] = PLANET_HEADS) -> Spec:
    """Return a preset by name, with other heads if wanted. Raises PackageError for an unknown name."""
    if name not in PRESETS:
        raise PackageError(f"no preset is called {name!r}; choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], heads=heads)
