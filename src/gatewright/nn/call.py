"""What a call of the operators is, its tensors aside, and where the rows of its tensors are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewright.nn import precision
from gatewright.nn.extras import Extras
from gatewright.spec.cell import LayerWeights

#: Tensors of `Extras`, which follow the weights.
EXTRAS = len(Extras().tensors())

#: Tensors that come before x in a call of the adjoint: the adjoints of five results, then y, gates and cell states
#: as the forward pass kept them.
OF_RESULTS, KEPT = 5, 3
BEFORE_X = OF_RESULTS + KEPT


class CallOptions(NamedTuple):
    """What all layers and directions of a call of a layer have in common.

    Attributes:
        batch_sizes: how many rows each step has, (T,), int64, as a `PackedSequence` has it; None for B each.
        record: whether to return the activations that a pass saves.
        checkpoint: for the backward pass keep only the states before every K-th step, and recompute the rest;
            0 keeps the activations of every step, as a record does.
        compute: the arithmetic, a code of `gatewright.nn.precision`.  In bf16, each tensor is float32 or bfloat16;
            in int8, all are float32.
    """

    batch_sizes: Tensor | None = None
    record: bool = False
    checkpoint: int = 0
    compute: int = precision.FULL


@dataclass(frozen=True)
class Call:
    """What a call of the operators is, its tensors aside.

    Attributes:
        cell: which cell it is, `CellSpec.code`.
        weights: how many weights it has.
        reverse: whether it goes from the last step to the first.
        checkpoint: as for `operators.lstm_kernel`.
        compute: the arithmetic, a code of `gatewright.nn.precision`.
        rates: of a variant of the cell.
        place: stream and first step of its random numbers, or nothing.
        keep: whether gates and cell states are among the results of a forward pass.
        need_x: whether an adjoint of x is wanted.
        need_weights: whether those of the weights are.
        need_gates: whether those of the gates before activation are, to form those of the weights from them.
    """

    cell: int
    weights: int
    reverse: bool = False
    checkpoint: int = 0
    compute: int = precision.FULL
    rates: tuple[float, ...] = ()
    place: tuple[int, ...] = ()
    keep: bool = True
    need_x: bool = True
    need_weights: bool = True
    need_gates: bool = False

    def split(self, tensors: Sequence[Any]) -> tuple[list[Any], Extras]:
        """Return the weights and the arguments at the end of an operator, from what follows x, h_0 and c_0."""
        extras = Extras(rates=self.rates).with_tensors(tensors[self.weights :])
        return list(tensors[: self.weights]), extras

    def folds(self, tensors: Sequence[Any]) -> bool:
        """Whether several calls can be one of more rows: what layer normalisation keeps is not kept row by row.

        Args:
            tensors: the weights, and what follows them.
        """
        return LayerWeights.of(self.cell, tensors[: self.weights]).w_ln is None

    def numbered(self, tensors: Sequence[Any], rows: int) -> list[Any]:
        """Return all tensors with the numbers by which the rows of one call draw, where it draws any.

        Args:
            tensors: those of a batch of calls, to be made as one of more rows.
            rows: those of a single call.
        """
        *others, seed, row_ids = tensors
        if seed is not None and row_ids is None:
            row_ids = torch.arange(rows, device=seed.device)
        return [*others, seed, row_ids]

    def options(self) -> list[int]:
        """Return the options of the forward operator."""
        return [int(self.reverse), int(self.keep), self.checkpoint, self.compute, *self.place]

    def row_axes(self) -> list[int | None]:
        """Return where the rows are in x, h_0, c_0 and what follows them, from the end; None for nowhere."""
        extras = (-2, -2, -1, -1, -1, None, -1)  # in the order of `Extras.tensors`
        return [-2, -2, -2, *[None] * self.weights, *extras]
