"""The record of steps of a stream: gates, cell states, and what the ledger needs beyond them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.runtime.state import Shape
from gatewright.spec.cell import CellSpec

Array = NDArray[Any]


class StepRecord(NamedTuple):
    """Gates and cell states of one or more steps: the axes of the input without its last, then (L, H).

    Of layers of unequal size the units of all layers are in a row: one axis (sum of H) in place of (L, H).

    A gate that the cell does not have is 1; the candidate of another activation may be beyond its bounds.

    Of an sLSTM, c is the average c / n, i the weight of the step's own candidate in it, and f = 1 - i that of the
    average before.

    Attributes:
        input_gate: i, the share of the candidate that is added, between 0 and 1.
        forget_gate: f, the share of the cell state that is kept, between 0 and 1.
        candidate: g, the value offered to the cell state, between -1 and 1.
        output_gate: o, the share of the cell state that is visible in h, between 0 and 1.
        cell: c after the step.
        kept: the factor of the previous cell state where that is not f, with zoneout or clipping of the cell
            state; else None.
        written: what the step adds to the cell state where that is not i ⊙ g; likewise.
    """

    input_gate: Array
    forget_gate: Array
    candidate: Array
    output_gate: Array
    cell: Array
    kept: Array | None = None
    written: Array | None = None

    def keep(self) -> Array:
        """Return the factor of the previous cell state at each step; c_t = keep_t ⊙ c_{t-1} + write_t.

        >>> zeros = np.zeros((4, 1), np.float32)
        >>> from gatewright import Stream
        >>> stream = Stream.from_weights({"weight_ih_l0": zeros, "weight_hh_l0": zeros})
        >>> _, record = stream.step(np.zeros(1, np.float32), record=True)
        >>> record.keep(), record.write()
        (array([[0.5]], dtype=float32), array([[0.]], dtype=float32))
        """
        return self.forget_gate if self.kept is None else self.kept

    def write(self) -> Array:
        """Return what each step adds to the cell state: i ⊙ g."""
        return self.input_gate * self.candidate if self.written is None else self.written

    def reshaped(self, shape: tuple[int, ...]) -> StepRecord:
        """Return the same with other axes."""
        i, f, g, o, cell = (part.reshape(shape) for part in self[:5])
        kept, written = (None if part is None else part.reshape(shape) for part in self[5:])
        return StepRecord(i, f, g, o, cell, kept, written)


def by_step(array: Array, shape: Shape, parts: int, T: int, B: int) -> Array:
    """Return what the native module left layer by layer, (T, B, parts, H) each, as (parts, T, B, L, H)."""
    if not shape.sizes:
        layers = array.reshape(shape.layers, T, B, parts, shape.cell)
        return layers.transpose(3, 1, 2, 0, 4)
    ends = np.cumsum([T * B * parts * H for H in shape.sizes])[:-1]
    each = zip(np.split(array, ends), shape.sizes, strict=True)
    return np.concatenate([part.reshape(T, B, parts, H) for part, H in each], axis=-1).transpose(2, 0, 1, 3)


def reads_state(cell: CellSpec) -> bool:
    """Whether the record of a step needs the cell state before it, whose factors are not f and i."""
    return bool(cell.cell_clip or cell.zoneout_cell)


def of_steps(gates: Array, cells: Array, before: Array | None, cell: CellSpec) -> StepRecord:
    """Return the record of steps, each part (T, B, L, H), or of layers of unequal size (T, B, sum of H).

    Args:
        gates: i, f, g, o as the native module leaves them, (4, T, B, L, H); of an sLSTM keep, or with the sign bit
            set minus share, whichever is less; a derivative; z; o.
        cells: cell states after each step, c / n of an sLSTM, (T, B, L, H).
        before: cell states before the first step, (B, L, H), where `reads_state`; else None.
        cell: the cell of the layers after training.
    """
    i, f, g, o = gates
    if cell.is_slstm:
        shared, one = np.signbit(i), np.float32(1)
        i, f = np.where(shared, -i, one - i), np.where(shared, one + i, i)
    if before is None:
        return StepRecord(i, f, g, o, cells)
    keep, write = f, i * g
    if cell.cell_clip:
        size = np.abs(f * np.concatenate([before[None], cells[:-1]]) + write)
        one, limit = np.float32(1), np.float32(cell.cell_clip)
        share = np.where(size > limit, one / np.maximum(size, limit) * limit, one)  # as torch divides
        keep, write = share * keep, share * write
    if cell.zoneout_cell:
        zoned = np.float32(1 - cell.zoneout_cell)
        keep, write = np.float32(cell.zoneout_cell) + zoned * keep, zoned * write
    return StepRecord(i, f, g, o, cells, keep, write)
