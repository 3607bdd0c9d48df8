"""The interface between the training loop and a task."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.nn.model import Model, State


class Share(NamedTuple):
    """Which part of each batch a process takes: the ``rank``-th of ``world`` equal parts."""

    rank: int
    world: int

    def of(self, batch: int) -> slice:
        """Rows of a batch that are this process's."""
        return slice(self.rank * batch // self.world, (self.rank + 1) * batch // self.world)


class Loss(NamedTuple):
    """Loss of a batch: the sum over what was predicted, and how much that was."""

    total: Tensor
    predictions: int


class Task(Protocol):
    """A model, its data, and a loss.  A batch is a function of the step alone."""

    model: Model
    batch: int
    steps_per_epoch: int
    #: Whether states go on from each step to the next.
    carries: bool
    #: What the loss and the validation score are measured in.
    unit: str
    #: What is learned from what, in lines for a person.
    summary: str

    def loss(self, model: torch.nn.Module, step: int) -> Loss:
        """Run the model (perhaps wrapped) over this process's rows of the batch of a step."""

    def validate(self) -> float:
        """Return the score of the validation part; lower is better."""

    def inputs(self, step: int) -> tuple[Tensor, State | None]:
        """Return what the model read at a step, to look for the cause of a NaN."""

    def rows(self, step: int, rows: NDArray[np.int64]) -> str:
        """Say where rows of the batch of a step come from."""

    @property
    def carried(self) -> State | None:
        """States that go on into the next step, of this process's rows."""

    def carry(self, state: State | None) -> None:
        """Go on from these states."""
