"""The memory ledger: what a cell state is made of, step by step.

The cell state is only ever scaled and added to, c_t = keep_t ⊙ c_{t-1} + write_t, so it splits exactly into what
each earlier step wrote and later steps have kept:

    c_t = Σ_{k≤t} (∏_{j=k+1..t} keep_j) ⊙ write_k + (∏_{j≤t} keep_j) ⊙ c_0

It follows by substituting the equation of the cell with a forget gate (Gers et al. 2000, Neural Computation
12(10)) into itself.  `gatewright.equations.Record` has both factors: `keep` is f, `write` is i ⊙ g.  A cell state
that was edited by hand before step j, by adding d_j, has one more share, (∏_{m=j..t} keep_m) ⊙ d_j.

The identity holds for every cell that keeps and writes, in that cell's own gates:

- peepholes and layer norm on the gates: with the resulting gates;
- coupled gates: write = (1 - f) ⊙ g, so that c is a weighted average of candidates (`Ledger.weights`);
- zoneout with the mask or the rate z: keep = z + (1 - z) ⊙ f, write = (1 - z) ⊙ i ⊙ g;
- clipping: both times clip(c) / c;
- the sLSTM: of the average c / n, keep = f n_{t-1} / n_t and write = (i / n_t) ⊙ z, whose weights sum to 1 too.

**Limits of exactness.**  The shares of c are exact, and no other split has their meaning: what step k wrote, times
what the gates kept of it.  The *values* of later gates depend on earlier steps too, through h; the ledger takes
the gates as they were.  Beyond c, h = o ⊙ tanh(c) is not a sum: `Ledger.readout` splits it in proportion to the
shares, which sums to the right value but is a convention (`gatewright.insight.output`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import Array, Record
from gatewright.errors import GatewrightError
from gatewright.insight.layers import map_record, require_index, require_units
from gatewright.insight.output import OutputSplit, input_factor, output_split, secant
from gatewright.spec.cell import CellSpec
from gatewright.spec.recording import Edit

_PLAIN = CellSpec()


@dataclass(frozen=True, eq=False, repr=False)
class Ledger:
    """The parts of the cell state after one step.

    K is the number of steps read until then, in the order of time in both directions; U is the number of units.

    Attributes:
        steps: the steps k that have a share (K,).
        units: numbers of the units (U,).
        writes: what each step wrote, i_k g_k of the plain cell (K, U).
        log_survival: logarithm of `survival`, also where that underflows; -inf where a gate was 0 (K, U).
        shares: what is left of each write (K, U); `shares`, `initial` and `edited` sum to the cell state.
        initial: what is left of the initial state (U,).
        edited: what is left of edits by hand (U,).
        cell: the recorded cell state (U,).
        output_gate: the output gate at the step (U,).
        initial_survival: fraction of the initial state that is left (U,).
        weights: weight of each step's candidate in the cell state, where that is a weighted average of them: in an
            sLSTM, and with coupled gates (K, U); each is at least 0, and with `initial_survival` they sum to 1.
            None for other cells, with clipping, where an input gate is held, and of layers in float16, whose gates
            are rounded.
        output: how the hidden state depends on the shares; None where a recording lacks units that it needs.

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
    initial_survival: Array
    weights: Array | None = None
    output: OutputSplit | None = None

    @property
    def survival(self) -> Array:
        """Fraction of each step's write that is left, ∏ keep (K, U)."""
        return np.exp(self.log_survival)

    @property
    def total(self) -> Array:
        """Sum of all shares (U,): the cell state, up to rounding."""
        total: Array = self.shares.sum(axis=0) + self.initial + self.edited
        return total

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.units)} units, {len(self.steps)} steps)"

    def readout(self, direction: Any) -> tuple[Array, float]:
        """Split w · h_t in proportion to the shares of each unit: w_u o_u (tanh c_u / c_u) share_u.

        The parts sum to w · (o ⊙ tanh(c)) over the units of the ledger, or to what the cell has in its place:

        - Another activation stands for tanh.  Dividing its curve by the secant through 0 is a convention, exact
          where |c| is small and proportional elsewhere.
        - With layer normalisation a share counts less the mean of that step's shares over all units of the layer,
          times gain / deviation, which is taken as it was; shifts belong to no step.
        - With zoneout of the hidden state, h = ζ h_{t-1} + (1 - ζ) m, what it carries of h_{t-1} belongs to no
          step.

        Args:
            direction: w, one number for each unit of the ledger (U,): a row of the head's weight; for a layer with
                a projection such a row times its W_hr.

        Returns:
            The part of each step (K,), and the rest: that of the initial state, of edits and of no step.

        Raises:
            GatewrightError: if ``direction`` does not have one number for each unit, or the recording has some
                units of a layer that is normalised over all of them.
        """
        weights = np.asarray(direction, dtype=np.float64)
        if weights.shape != self.cell.shape:
            raise GatewrightError(
                "direction", f"one number for each of {len(self.cell)} units", str(weights.shape)
            )
        if self.output is None:
            expected = "a recording of every unit, since layer_norm takes a mean over all of them"
            raise GatewrightError("recording", expected, f"one of {len(self.cell)} units")
        return self.output.of(weights, self.shares, self.initial + self.edited)


@dataclass(frozen=True, eq=False, repr=False)
class Lifetime:
    """The lifetime of what one step wrote.

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
        """Fraction of the write that is left after each of the steps, 1 at the first (K, U)."""
        return np.exp(self.log_survival)

    @property
    def shares(self) -> Array:
        """What is left of the write after each of the steps (K, U)."""
        return self.survival * self.write

    def __repr__(self) -> str:
        return f"{type(self).__name__}(step {self.steps[0]}, {len(self.units)} units, {len(self.steps)} steps)"


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
        keep: the factor of each step, between 0 and 1 (K, U): `gatewright.equations.Record.keep`.
        write: what each step adds (K, U): `gatewright.equations.Record.write`.
        initial: the cell state before the first step (U,).
        added: edits by hand before each step (K, U); None for none.
        cell: the last cell state as recorded (U,); the sum of the shares if None.
        output_gate: the output gate of the last step (U,); ones if None.

    Logarithms are summed from the last step back: the sums of recent steps are small and keep their precision.
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
    steps, units = np.arange(K), np.arange(U)
    output = OutputSplit(output_gate * secant("tanh", cell), np.zeros_like(cell))
    return Ledger(
        steps,
        units,
        write,
        left[1:],
        shares,
        from_start,
        edited,
        cell,
        output_gate,
        survival[0],
        output=output,
    )


def ledger_of_step(
    record: Record,
    t: int,
    row: int,
    length: int,
    *,
    units: Any = None,
    reverse: bool = False,
    edits: Iterable[Edit] = (),
    cell: CellSpec = _PLAIN,
) -> Ledger:
    """Return the ledger of the cell state after step t.

    Args:
        record: gates and states of a layer in one direction.
        t: the step; negative from the end of the row.
        row: row of the batch.
        length: steps of that row.
        units: numbers of the units; all if None.
        reverse: whether the record is of the reverse direction.
        edits: edits by hand in this layer, direction and row.
        cell: the cell of the layer.

    Raises:
        GatewrightError: if ``units`` or ``t`` is out of range.
    """
    H = record.cell.shape[-1]
    chosen = require_units(units, H)
    t = require_index("t", t, length)
    needed = chosen if record.normal_scale is None else np.arange(H)  # a mean over units needs them all
    # In the order of reading: up to t, or from the end of the row back to t.
    span = slice(length - 1, t - 1 if t else None, -1) if reverse else slice(0, t + 1)
    part = _part(record, span, row, needed)
    steps = np.arange(length)[span]
    added = np.zeros_like(part.cell)
    place = {int(step): k for k, step in enumerate(steps)}
    for edit in edits:
        if edit.t in place:
            added[place[edit.t], needed == edit.unit] += edit.added
    last = part.at(-1)
    ledger = split(
        part.keep(),
        part.write(),
        part.cell_initial,
        added=added,
        cell=last.cell,
        output_gate=last.output_gate,
    )
    factor = input_factor(part, cell, float(np.finfo(record.cell.dtype).eps))
    ledger = replace(
        ledger,
        steps=steps,
        weights=None if factor is None else ledger.survival * factor,
        output=output_split(last, cell, ledger.shares, ledger.initial + ledger.edited),
    )
    places = np.arange(len(chosen)) if record.normal_scale is None else chosen
    return _taken(ledger, slice(None, None, -1 if reverse else 1), chosen, places)


def _taken(ledger: Ledger, order: slice, units: NDArray[np.int64], places: NDArray[np.int64]) -> Ledger:
    """Return a ledger with its steps in another order, and of some units: those at some places."""

    def of_steps(array: Array) -> Array:
        return array[order][:, places]

    output = ledger.output
    if output is not None:
        centre = None if output.centre is None else output.centre[order]
        output = OutputSplit(output.factor[places], output.rest[places], centre)
    return Ledger(
        steps=ledger.steps[order],
        units=units,
        writes=of_steps(ledger.writes),
        log_survival=of_steps(ledger.log_survival),
        shares=of_steps(ledger.shares),
        initial=ledger.initial[places],
        edited=ledger.edited[places],
        cell=ledger.cell[places],
        output_gate=ledger.output_gate[places],
        weights=None if ledger.weights is None else of_steps(ledger.weights),
        initial_survival=ledger.initial_survival[places],
        output=output,
    )


def lifetime_of_step(
    record: Record, k: int, row: int, length: int, *, units: Any = None, reverse: bool = False
) -> Lifetime:
    """Return the lifetime of what step k wrote; arguments and errors as for `ledger_of_step`."""
    chosen = require_units(units, record.cell.shape[-1])
    k = require_index("k", k, length)
    span = slice(k, None, -1) if reverse else slice(k, length)
    part = _part(record, span, row, chosen)
    keep = part.keep().copy()
    keep[0] = 1  # the step that writes forgets nothing of its own write
    with np.errstate(divide="ignore"):
        logs = np.cumsum(np.log(keep), axis=0)
    below = logs <= np.log(0.5)
    half_life = np.where(below.any(axis=0), below.argmax(axis=0), np.inf)
    return Lifetime(np.arange(length)[span], chosen, part.write()[0], logs, half_life)


def _part(record: Record, span: slice, row: int, units: NDArray[np.int64]) -> Record:
    """Return some steps and units of one row, as float64, without the hidden states of a layer that projects."""
    whole = record.hidden.shape == record.cell.shape

    def part(name: str, array: Any) -> Any:
        some = array[row] if name.endswith("_initial") else array[span, row]
        if name.startswith("hidden") and not whole:
            return some[..., :0]
        return some[..., units].astype(np.float64)

    return map_record(record, part)
