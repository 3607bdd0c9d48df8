"""Calls of one layer, joined where one continues from the states of another."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.equations import Record
from gatewright.equations.record import OPTIONAL, QUANTITIES
from gatewright.insight.layers import Layer
from gatewright.spec.recording import Edit

Array = NDArray[Any]
#: Hidden states of all layers and directions, then cell states, each (S, B, F).
States = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a layer.

    Attributes:
        layers: its record.
        x: what it read (T, B, D).
        y: what it gave (T, B, S*P).
        lengths: steps of each row (B,).
        before: the states that the caller passed; None for none.
        after: the states after it.
        masked: whether it had a mask or resets of its own.
        edits: cell states that were set by hand.
    """

    layers: tuple[Layer, ...]
    x: Array
    y: Array
    lengths: NDArray[np.int64]
    before: States | None
    after: States
    masked: bool = False
    edits: tuple[Edit, ...] = ()

    @property
    def steps(self) -> int:
        """T, steps of the longest row."""
        return len(self.x)


@dataclass(eq=False)
class Sequence:
    """Calls of a layer of which each continues from the states of the one before.

    Attributes:
        calls: the calls.
        resets: for each call the rows that begin anew with it (B,).
    """

    calls: list[Call] = field(default_factory=list)
    resets: list[NDArray[np.bool_]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """T, steps of all calls."""
        return sum(call.steps for call in self.calls)

    @property
    def can_run_again(self) -> bool:
        """Whether the layer alone gives the same from the inputs and the first states."""
        return not any(call.masked for call in self.calls) and not any(rows.any() for rows in self.resets)

    def add(self, call: Call, resets: NDArray[np.bool_]) -> None:
        """Append a call."""
        self.calls.append(call)
        self.resets.append(resets)

    def continued(self, before: States, steps: int) -> NDArray[np.bool_] | None:
        """Return the rows that a call would reset if it continued this sequence, (B,); None if it does not.

        It does if each row starts from the row's last states, or anew: from zeros, or from the states that the
        sequence started from.  If all rows start anew, it does only where both are loops of single steps.

        Args:
            before: the states that the call starts from.
            steps: its steps.
        """
        last, first = self.calls[-1], self.calls[0]
        bidirectional = last.layers[0].reverse is not None
        shapes = [each.shape for each in before] == [each.shape for each in last.after]
        if bidirectional or not shapes or (last.lengths < last.steps).any():
            return None
        carried = _same(before, last.after)
        zeros = tuple(map(torch.zeros_like, before))
        anew = _same(before, zeros) | _same(before, zeros if first.before is None else first.before)
        single = steps == 1 and all(call.steps == 1 for call in self.calls)
        if not (carried | anew).all() or not (carried.any() or single):
            return None
        return ~carried

    def layers(self) -> tuple[Layer, ...]:
        """Return the records of all calls as those of one sequence."""
        if len(self.calls) == 1:
            return self.calls[0].layers
        parts = zip(*(call.layers for call in self.calls), strict=True)
        return tuple(Layer(_joined([part.forward for part in layer], self.resets)) for layer in parts)

    def array(self, name: str) -> Array:
        """Return ``x`` or ``y`` of all calls, (T, B, F)."""
        arrays = [getattr(call, name) for call in self.calls]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def lengths(self) -> NDArray[np.int64]:
        """Return the steps of each row (B,)."""
        return self.calls[-1].lengths + self._first(len(self.calls) - 1)

    def edits(self) -> tuple[Edit, ...]:
        """Return the edits of all calls, by the steps of the sequence."""
        return tuple(
            dataclasses.replace(edit, t=edit.t + self._first(number))
            for number, call in enumerate(self.calls)
            for edit in call.edits
        )

    def _first(self, number: int) -> int:
        return sum(call.steps for call in self.calls[:number])


def _same(states: States, others: States) -> NDArray[np.bool_]:
    """Return whether the states of each row are the same numbers, (B,)."""
    pairs = zip(states, others, strict=True)
    return torch.stack([(a == b).all(-1).all(0) for a, b in pairs]).all(0).cpu().numpy()


def _joined(parts: list[Record], resets: list[NDArray[np.bool_]]) -> Record:
    """Join the records of calls; where a row was reset, the step keeps nothing and writes what it started from.

    A state of 16 bits is rounded between two calls: the step after that writes the difference.
    """
    optional = {name for name in OPTIONAL if any(getattr(part, name) is not None for part in parts)}
    rounding = [part.cell_initial - before.cell[-1] for before, part in pairwise(parts)]
    if any(rows.any() for rows in resets) or any(each.any() for each in rounding):
        optional |= {"kept", "written"}
    if {"kept", "written"} & optional:
        none = np.zeros_like(parts[0].cell_initial)
        parts = [_reset(*each) for each in zip(parts, resets, [none, *rounding], strict=True)]
    values: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in (*QUANTITIES, *optional)
    }
    return Record(**values, cell_initial=parts[0].cell_initial, hidden_initial=parts[0].hidden_initial)


def _reset(part: Record, rows: NDArray[np.bool_], rounding: Array) -> Record:
    kept, written = part.keep().copy(), part.write().copy()
    from_outside = np.where(rows[:, None], part.cell_initial, rounding)
    written[0] += kept[0] * from_outside
    kept[0, rows] = 0
    return dataclasses.replace(part, kept=kept, written=written)
