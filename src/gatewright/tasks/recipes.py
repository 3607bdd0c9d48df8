"""Recipes: options that `train --auto` tries together, and how a kind of model scores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gatewright.tasks.options import Options
from gatewright.tasks.search_space import Value

if TYPE_CHECKING:
    from gatewright.data.table import TrainingSource
    from gatewright.nn.model import Model


@dataclass(frozen=True)
class Recipe:
    """Options under a name.

    Attributes:
        name: for a person.
        values: what differs from the defaults, as `search_space.with_values` takes it.
    """

    name: str
    values: Mapping[str, Value] = field(default_factory=dict)


class RollingValidation(Protocol):
    """The validation part of a dataset in folds: each is scored by models of what comes before it."""

    @property
    def folds(self) -> int:
        """Number of folds, in the order of time."""
        ...

    def steps(self, options: Options) -> int:
        """Return the number of steps of a training with resolved options."""
        ...

    def source(self, fold: int) -> TrainingSource:
        """Return what comes before a fold."""
        ...

    def options(self, options: Options) -> Options:
        """Return the options of a training on what comes before a fold."""
        ...

    def score(self, fold: int, model: Model, context: int) -> float:
        """Return the score of a model in a fold; lower is better.

        Args:
            fold: its number.
            model: learned from `source`.
            context: largest number of steps that one of the models reads, for all to be scored on the same.
        """
        ...
