"""The arguments at the end of the operators: steps and resets of rows, rates and random numbers of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Extras(NamedTuple):
    """The arguments at the end of an operator, which programs exported by earlier versions do not have.

    Attributes:
        lengths: steps of each row, (B,), int64.
        mask: whether a row has a step, (T, B), bool.
        reset: whether the state before a step is the reset state, (T, B), bool.
        h_reset: the hidden state that a reset sets, (B, P); zeros if None.
        c_reset: the cell state that a reset sets, (B, H); zeros if None.
        rates: of a variant of the cell: cell_clip, zoneout_cell, zoneout_hidden, hidden_dropout,
            candidate_dropout; none for a plain cell.
        seed: of the random numbers of a variant, an int64 scalar; None in evaluation.
        row_ids: by which the rows draw their random numbers, (B,), int64; 0 to B - 1 if None.
    """

    lengths: Tensor | None = None
    mask: Tensor | None = None
    reset: Tensor | None = None
    h_reset: Tensor | None = None
    c_reset: Tensor | None = None
    rates: Sequence[float] = ()
    seed: Tensor | None = None
    row_ids: Tensor | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Return the fields that are tensors, those with gradients first: h_reset and c_reset."""
        return self.h_reset, self.c_reset, self.lengths, self.mask, self.reset, self.seed, self.row_ids

    def with_tensors(self, tensors: Sequence[Tensor | None]) -> Extras:
        """Return the same with other tensors, in the order of `tensors`."""
        h_reset, c_reset, lengths, mask, reset, seed, row_ids = tensors
        return Extras(lengths, mask, reset, h_reset, c_reset, self.rates, seed, row_ids)

    def with_states(self, h_reset: Tensor | None, c_reset: Tensor | None) -> Extras:
        """Return the same with another state of resets."""
        return self._replace(h_reset=h_reset, c_reset=c_reset)

    def has_steps(self) -> bool:
        """Whether rows have steps or resets of their own."""
        return self.lengths is not None or self.mask is not None or self.reset is not None

    def steps_within(self, T: int) -> Tensor | None:
        """Return whether a step is before a row's end, (T, B), of T steps; None where all are."""
        if self.lengths is None:
            return None
        return torch.arange(T, device=self.lengths.device)[:, None] < self.lengths

    def steps_present(self, T: int) -> Tensor | None:
        """Return whether a row has a step, (T, B), of T steps; None where all have all."""
        within = self.steps_within(T)
        return self.mask if within is None else within if self.mask is None else within & self.mask

    def in_use(self) -> bool:
        """Whether there is anything."""
        return len(self.rates) > 0 or any(each is not None for each in self.tensors())

    def present(self) -> Sequence[Any]:
        """Return the arguments, or none where nothing is in use, as earlier versions had it."""
        return tuple(self) if self.in_use() else ()
