"""The memory ledger: what a cell state is made of, step by step.

The cell state is only ever scaled and added to, c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t, so it splits exactly into what
each earlier step wrote and the forget gates have since let survive:

    c_t = Σ_{k≤t} (∏_{j=k+1..t} f_j) ⊙ i_k ⊙ g_k + (∏_{j≤t} f_j) ⊙ c_0

It follows by putting the equation of the cell (Gers et al. 2000, Neural Computation 12(10), with the forget gate)
into itself.  Where a cell state was edited by hand before step j, by adding d_j, there is one more share,
(∏_{m=j..t} f_m) ⊙ d_j.

It holds for every cell that keeps and writes, c_t = keep_t ⊙ c_{t-1} + write_t, in that cell's own gates:

- peepholes and layer norm on the gates: in the gates that come of them;
- coupled gates: write = (1 - f) ⊙ g;
- zoneout with the mask z (1 where the old state stays): keep = z + (1 - z) ⊙ f, write = (1 - z) ⊙ i ⊙ g.

**Where it stops being exact.**  The shares of c are exact, and no other split has their meaning: what step k
wrote, times what the gates let through.  The *values* of later gates depend on earlier steps too, by way of h; the
ledger takes the gates as they were.  Beyond c, h = o ⊙ tanh(c) is not a sum: a readout direction splits it in
proportion to the shares (`Ledger.readout`), which sums up but is a convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.errors import GatewrightError
from gatewright.insight.recording import Recording, require_index, require_units

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Ledger:
    """What the cell state after one step is made of.

    K is how many steps were read until then, in the order of time also in reverse; U is how many units were asked
    for.

    Attributes:
        steps: the steps k that have a share (K,).
        units: numbers of the units (U,).
        writes: what each step wrote, i_k g_k (K, U).
        log_survival: logarithm of `survival`, also where that underflows; -inf where a gate was 0 (K, U).
        shares: what is left of it (K, U); they, `initial` and `edited` sum to the cell state.
        initial: what is left of the initial state (U,).
        edited: what is left of changes by hand (U,).
        cell: the recorded cell state (U,).
        output_gate: the output gate at the step (U,).

    >>> keep = np.array([[0.5], [0.5], [0.25]])
    >>> ledger = split(keep, write=np.ones((3, 1)), initial=np.array([8.0]))
    >>> ledger.shares.ravel(), ledger.initial, ledger.total
    (array([0.125, 0.25 , 1.   ]), array([0.5]), array([1.875]))
    """

    steps: NDArray[np.int64]
    units: NDArray[np.int64]
    writes: Array
    log_survival: Array
    shares: Array
    initial: Array
    edited: Array
    cell: Array
    output_gate: Array

    @property
    def survival(self) -> Array:
        """How much of each step's write is left, ∏ f (K, U)."""
        return np.exp(self.log_survival)

    @property
    def total(self) -> Array:
        """Sum of all shares (U,): the cell state, up to rounding."""
        total: Array = self.shares.sum(axis=0) + self.initial + self.edited
        return total

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.units)} units, {len(self.steps)} steps)"

    def readout(self, direction: Any) -> tuple[Array, float]:
        """Split w · h_t, in proportion to the shares of each unit: w_u o_u (tanh c_u / c_u) share_u.

        The parts sum to w · (o ⊙ tanh(c)), over the units asked for.  How the curve of tanh is divided is a
        convention (the secant through 0), exact where |c| is small and proportional elsewhere.

        Args:
            direction: w, one number for each unit asked for (U,): a row of the head's weight, or, of a layer that
                projects, such a row times its W_hr.

        Returns:
            The part of each step (K,), and that of the initial state and of edits together.

        Raises:
            GatewrightError: if there is not one number a unit.
        """
        weights = np.asarray(direction, dtype=np.float64)
        if weights.shape != self.cell.shape:
            raise GatewrightError(
                "direction", f"one number for each of {len(self.cell)} units", str(weights.shape)
            )
        small = np.abs(self.cell) < 1e-8
        secant = np.where(small, 1.0, np.tanh(self.cell) / np.where(small, 1.0, self.cell))
        scale = weights * self.output_gate * secant
        return self.shares @ scale, float((self.initial + self.edited) @ scale)


@dataclass(frozen=True, eq=False, repr=False)
class Fate:
    """Where what one step wrote goes.

    Attributes:
        steps: that step and those that are read after it, in the order of reading (K,).
        units: numbers of the units (U,).
        write: what the step wrote, i g (U,).
        log_survival: logarithm of `survival` (K, U).
        half_life: steps until at most half of it is left (U,); inf where that never happens.
    """

    steps: NDArray[np.int64]
    units: NDArray[np.int64]
    write: Array
    log_survival: Array
    half_life: Array

    @property
    def survival(self) -> Array:
        """How much of the write is left after each of the steps, 1 at the first (K, U)."""
        return np.exp(self.log_survival)

    @property
    def shares(self) -> Array:
        """What is left of it after each of the steps (K, U)."""
        return self.survival * self.write

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(of step {self.steps[0]}, {len(self.units)} units, {len(self.steps)} steps on)"
        )


def split(
    keep: Array,
    write: Array,
    initial: Array,
    *,
    added: Array | None = None,
    cell: Array | None = None,
    output_gate: Array | None = None,
) -> Ledger:
    """Split the last cell state of c_t = keep_t (c_{t-1} + added_t) + write_t.

    Args:
        keep: the factor of each step, between 0 and 1 (K, U): the forget gate, or what a variant has for it.
        write: what each step adds (K, U).
        initial: the cell state before the first step (U,).
        added: changes by hand before each step (K, U); None for none.
        cell: the last cell state, where it was recorded; the sum of the shares if None.
        output_gate: that of the last step; ones if None.

    Sums of logarithms run back from the last step, so that those of recent steps are small and lose nothing.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(keep)
    left = np.zeros((len(keep) + 1, keep.shape[1]))
    left[:-1] = np.cumsum(logs[::-1], axis=0)[::-1]  # left[k] = Σ_{j≥k} log keep_j
    survival = np.exp(left)
    shares = survival[1:] * write
    from_start = survival[0] * initial
    edited = np.zeros_like(from_start) if added is None else (survival[:-1] * added).sum(axis=0)
    if cell is None:
        cell = shares.sum(axis=0) + from_start + edited
    if output_gate is None:
        output_gate = np.ones_like(cell)
    K, U = keep.shape
    return Ledger(np.arange(K), np.arange(U), write, left[1:], shares, from_start, edited, cell, output_gate)


def at(recording: Recording, layer: int, t: int, row: int, direction: str, units: Any) -> Ledger:
    """Return what `Recording.ledger` does."""
    record, row, chosen = _chosen(recording, layer, row, direction, units)
    length = int(recording.lengths[row])
    t = require_index("t", t, length)
    reverse = direction == "reverse"
    # In the order of reading: up to t, or from the end of the row back to t.
    span = slice(length - 1, t - 1 if t else None, -1) if reverse else slice(0, t + 1)
    i, f, g = (_columns(getattr(record, gate), span, row, chosen)
               for gate in ("input_gate", "forget_gate", "candidate"))  # fmt: skip
    steps = np.arange(length)[span]
    added = np.zeros_like(f)
    place = {int(step): k for k, step in enumerate(steps)}
    for edit in recording.about.edits:
        where = (edit.layer, edit.reverse, edit.row) == (layer, reverse, row)
        if where and edit.t in place:
            added[place[edit.t], chosen == edit.unit] += edit.added
    found = split(
        f,
        i * g,
        record.cell_initial[row, chosen].astype(np.float64),
        added=added,
        cell=record.cell[t, row, chosen].astype(np.float64),
        output_gate=record.output_gate[t, row, chosen].astype(np.float64),
    )
    ordered = slice(None, None, -1 if reverse else 1)
    return Ledger(
        steps[ordered],
        chosen,
        found.writes[ordered],
        found.log_survival[ordered],
        found.shares[ordered],
        *(found.initial, found.edited, found.cell, found.output_gate),
    )


def fate(recording: Recording, layer: int, k: int, row: int, direction: str, units: Any) -> Fate:
    """Return what `Recording.fate` does."""
    record, row, chosen = _chosen(recording, layer, row, direction, units)
    length = int(recording.lengths[row])
    k = require_index("k", k, length)
    span = slice(k, None, -1) if direction == "reverse" else slice(k, length)
    keep = _columns(record.forget_gate, span, row, chosen)
    keep[0] = 1  # nothing is forgotten of it in the step that writes it
    with np.errstate(divide="ignore"):
        logs = np.cumsum(np.log(keep), axis=0)
    below = logs <= np.log(0.5)
    half_life = np.where(below.any(axis=0), below.argmax(axis=0), np.inf)
    write = record.input_gate[k, row, chosen].astype(np.float64) * record.candidate[k, row, chosen]
    return Fate(np.arange(length)[span], chosen, write, logs, half_life)


def _chosen(
    recording: Recording, layer: int, row: int, direction: str, units: Any
) -> tuple[Record, int, NDArray[np.int64]]:
    record = recording.record(layer, direction)
    row = require_index("row", row, len(recording.lengths))
    return record, row, require_units(units, record.cell.shape[-1])


def _columns(array: NDArray[Any], span: slice, row: int, units: NDArray[np.int64]) -> Array:
    """Return some steps and units of one row, as float64 of their own."""
    return array[span, row][:, units].astype(np.float64)
