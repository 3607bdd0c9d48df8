"""The encoder and the head of a classifier: numeric columns in, one label for each sequence out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gatewright.spec.json import Spec, require, require_size, require_text

#: How the hidden states of the steps of a sequence become one vector.
POOLINGS = ("last", "mean", "max", "attention")


@dataclass(frozen=True)
class FeatureEncoder(Spec):
    """Numeric columns, standardised: what a classifier reads at each step.

    In this order: each column, 0 where it is missing; for each column in ``missing`` 1 where it is observed, or 0.

    Attributes:
        columns: names of the columns.
        missing: those of them that may be missing, in the same order.

    >>> FeatureEncoder(("x", "y"), missing=("y",)).input_size(1)
    3
    """

    kind: ClassVar[str] = "features"
    #: What a model with this encoder has next to its weights.
    companion: ClassVar[str] = "scaler"
    #: Size of the vocabulary: none.
    symbols: ClassVar[int] = 0
    #: Columns to forecast: none.
    targets: ClassVar[tuple[str, ...]] = ()
    reads_targets: ClassVar[bool] = False
    #: Seasons, and rows that they need: none.
    seasons: ClassVar[tuple[int, ...]] = ()
    recent: ClassVar[int] = 0

    columns: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.columns) > 0, "columns", "at least one column", self.columns)
        require_text("columns", self.columns)
        require(len(set(self.columns)) == len(self.columns), "columns", "each column once", self.columns)
        ordered = tuple(name for name in self.columns if name in set(self.missing))
        require(self.missing == ordered, "missing", "columns of the encoder, in their order", self.missing)

    def input_size(self, horizon: int) -> int:  # noqa: ARG002
        """Width of one input row, whatever the horizon."""
        return len(self.columns) + len(self.missing)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight: none."""
        return {}

    def season_tensors(self, horizon: int) -> dict[str, tuple[int, ...]]:  # noqa: ARG002
        """Name and shape of the weights of seasonal differences: none."""
        return {}

    def version(self) -> int:
        """Return the version of the model file's format that has this encoder."""
        return 3


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
        require(len(self.classes) > 1, "classes", "at least two classes", self.classes)
        require_text("classes", self.classes)
        require(len(set(self.classes)) == len(self.classes), "classes", "each class once", self.classes)
        require(self.pooling in POOLINGS, "pooling", f"one of {POOLINGS}", self.pooling)
        require_size("classes", len(self.classes))

    def version(self) -> int:
        """Return the version of the model file's format that has this head."""
        return 3

    def output_shape(self, encoder: Any) -> tuple[int, ...]:  # noqa: ARG002
        """Shape of the output of a sequence."""
        return (len(self.classes),)

    def tensors(self, width: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight of the pooling, for hidden states of this width."""
        return {"pool.weight": (1, width)} if self.pooling == "attention" else {}
