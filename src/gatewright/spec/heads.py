"""Heads: what a model gives - quantiles of the next values, scores of the next symbol, or of classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gatewright.spec.distributions import FAMILIES, Family
from gatewright.spec.encoders import Encoder, FeatureEncoder, SeriesEncoder, SymbolEncoder
from gatewright.spec.json import Spec, left_out, require, require_size, require_text

#: What a point forecast can be: the value that minimises the absolute, the squared or the Huber loss.
POINTS = ("median", "mean", "huber")

#: How the hidden states of the steps of a sequence become one vector.
POOLINGS = ("last", "mean", "max", "attention")


@dataclass(frozen=True)
class QuantileHead(Spec):
    """Quantiles of each target's next values: an output of shape (horizon, targets, quantiles) a step.

    Where the encoder reads targets, the head gives the difference from the last observed value.  With a
    distribution, the output is (horizon, targets, outputs of its family), and the quantiles follow from it.

    Attributes:
        horizon: steps ahead.
        quantiles: levels in rising order, with 0.5 (the point forecast) among them.
        minimum: lower bound of the forecasts of each target, in its units; empty for none.
        maximum: upper bound, likewise.
        point: what the point forecast is, out of `POINTS`: another one than the median stands alone, at level 0.5.
        distribution: family of the distributions that the quantiles are of, out of `FAMILIES`; "" for none.
    """

    kind: ClassVar[str] = "quantiles"

    horizon: int = 1
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    minimum: tuple[float, ...] = left_out((), since=4)
    maximum: tuple[float, ...] = left_out((), since=4)
    point: str = left_out("median", since=4)
    distribution: str = left_out("", since=4)

    def __post_init__(self) -> None:
        require_size("horizon", self.horizon)
        rising = all(a < b for a, b in zip((0.0, *self.quantiles), (*self.quantiles, 1.0), strict=True))
        require(
            rising and 0.5 in self.quantiles,
            "quantiles",
            "rising levels between 0 and 1 with 0.5 among them",
            self.quantiles,
        )
        for name, bounds in (("minimum", self.minimum), ("maximum", self.maximum)):
            require(all(map(math.isfinite, bounds)), name, "finite numbers", bounds)
        if self.minimum and self.maximum:
            ordered = all(a < b for a, b in zip(self.minimum, self.maximum, strict=False))
            require(ordered, "maximum", f"numbers above the minimum {self.minimum}", self.maximum)
        require(self.point in POINTS, "point", f"one of {POINTS}", self.point)
        alone = self.point == "median" or self.quantiles == (0.5,)
        require(alone, "quantiles", f"(0.5,) with a {self.point} as the point forecast", self.quantiles)
        known = self.distribution in ("", *FAMILIES)
        require(known, "distribution", f"one of {tuple(FAMILIES)}", self.distribution)
        fits = not self.distribution or self.point == "median"
        require(fits, "point", "the median of a distribution", self.point)

    def output_shape(self, encoder: Encoder) -> tuple[int, ...]:
        """Shape of the output of one step."""
        return self.horizon, len(encoder.targets), len(self.output_names)

    @property
    def family(self) -> Family | None:
        """The family of the distributions; None for a head that gives the quantiles themselves."""
        return FAMILIES.get(self.distribution)

    @property
    def counts(self) -> bool:
        """Whether the forecasts are of whole numbers: then nothing is added to the output."""
        return self.family is not None and self.family.counts

    @property
    def moved(self) -> int:
        """Number of the first outputs of a step ahead and target that last value and seasons are added to."""
        if self.family is None:
            return len(self.quantiles)
        return 0 if self.counts else 1

    @property
    def output_names(self) -> tuple[str, ...]:
        """Name of each output of a step ahead and target before it becomes quantiles.

        >>> QuantileHead().output_names, QuantileHead(distribution="normal").output_names
        (('q0.1', 'q0.5', 'q0.9'), ('location', 'log_scale'))
        """
        return self.names if self.family is None else self.family.outputs

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each forecast of a step ahead and target: of a quantile such as "q0.1", or "mean", "huber".

        >>> QuantileHead().names, QuantileHead(quantiles=(0.5,), point="mean").names
        (('q0.1', 'q0.5', 'q0.9'), ('mean',))
        """
        if self.point != "median":
            return (self.point,)
        return tuple(f"q{level}" for level in self.quantiles)


@dataclass(frozen=True)
class SymbolHead(Spec):
    """Scores (logits) of the next symbol: an output of shape (symbols,) a step."""

    kind: ClassVar[str] = "next_symbol"
    #: Steps ahead.
    horizon: ClassVar[int] = 1

    def output_shape(self, encoder: Encoder) -> tuple[int, ...]:
        """Shape of the output of one step."""
        return (encoder.symbols,)


@dataclass(frozen=True)
class ClassHead(Spec):
    """Scores (logits) of the classes of a whole sequence: an output of shape (classes,).

    Attributes:
        classes: the labels, in the order of the output.
        pooling: how the hidden states of the steps become one vector, out of `POOLINGS`: the last one, their mean,
            the largest value of each unit, or a mean with learned weights.

    >>> ClassHead(("cat", "dog"), pooling="mean").output_shape(FeatureEncoder(("x",)))
    (2,)
    """

    kind: ClassVar[str] = "classes"
    #: Steps ahead.
    horizon: ClassVar[int] = 1

    classes: tuple[str, ...]
    pooling: str = "last"

    def __post_init__(self) -> None:
        _require_classes(self.classes)
        require(self.pooling in POOLINGS, "pooling", f"one of {POOLINGS}", self.pooling)

    @property
    def pools(self) -> bool:
        """Whether the output depends on more than the hidden state of the last step."""
        return self.pooling != "last"

    def version(self) -> int:
        """Return the version of the model file's format that has this head."""
        return 3

    def output_shape(self, encoder: Encoder) -> tuple[int, ...]:  # noqa: ARG002
        """Shape of the output of a sequence."""
        return (len(self.classes),)

    def tensors(self, width: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight of the pooling, for hidden states of this width."""
        return {"pool.weight": (1, width)} if self.pooling == "attention" else {}


@dataclass(frozen=True)
class StepClassHead(Spec):
    """Scores (logits) of the classes of each step: an output of shape (classes,) a step.

    Attributes:
        classes: the labels, in the order of the output.

    >>> StepClassHead(("rest", "walk")).output_shape(FeatureEncoder(("x",)))
    (2,)
    """

    kind: ClassVar[str] = "step_classes"
    #: Steps ahead.
    horizon: ClassVar[int] = 1
    #: Whether the output depends on the hidden states of other steps.
    pools: ClassVar[bool] = False
    #: How the hidden states of the steps become one vector: each is one.
    pooling: ClassVar[str] = ""

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_classes(self.classes)

    def version(self) -> int:
        """Return the version of the model file's format that has this head."""
        return 4

    def output_shape(self, encoder: Encoder) -> tuple[int, ...]:  # noqa: ARG002
        """Shape of the output of one step."""
        return (len(self.classes),)


def _require_classes(classes: tuple[str, ...]) -> None:
    """Require at least two different labels."""
    require(len(classes) > 1, "classes", "at least two classes", classes)
    require_text("classes", classes)
    require(len(set(classes)) == len(classes), "classes", "each class once", classes)
    require_size("classes", len(classes))


Head = QuantileHead | SymbolHead | ClassHead | StepClassHead

#: The heads that an encoder can have.
HEADS: dict[type[Encoder], tuple[type[Head], ...]] = {
    SeriesEncoder: (QuantileHead,),
    SymbolEncoder: (SymbolHead,),
    FeatureEncoder: (ClassHead, StepClassHead),
}
