"""The way from the cell state to the hidden state, by the equation of each cell.

    n = c, or with layer normalisation scale ⊙ (c - mean(c)) + shift          scale = gain / deviation
    m = o ⊙ act(n)                                                            what is shown of c
    h = m, or W_hr m, or with zoneout ζ ⊙ h_{t-1} + (1 - ζ) ⊙ m

An sLSTM has the average c / n in the place of c, and no activation: m = o ⊙ c / n.

`OutputSplit` goes this way with each share of c: act(n) is divided in proportion, and scale is taken as it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gatewright.equations import Array, Record
from gatewright.equations.variants import activated, normalised
from gatewright.spec.cell import CellSpec

#: Below this an activation is its argument: each has the slope 1 at 0.
_LINEAR = 1e-8


def activation(cell: CellSpec) -> str:
    """Return the name of the output activation.

    >>> activation(CellSpec()), activation(CellSpec(kind="slstm"))
    ('tanh', 'identity')
    """
    return "identity" if cell.is_slstm else cell.output_activation


def is_average(cell: CellSpec) -> bool:
    """Whether the cell state is a weighted average of candidates, if no gate is held by itself."""
    return cell.is_slstm or (cell.coupled and not cell.cell_clip)


def with_normal(record: Record, gain: Array, shift: Array) -> Record:
    """Return a record with what the output activation reads under layer normalisation.

    Args:
        record: gates and states of a layer in one direction.
        gain: ``weight_ln_cell`` (H,).
        shift: ``bias_ln_cell`` (H,).
    """
    normal, deviation = normalised(record.cell)
    return replace(record, normal=normal * gain + shift, normal_scale=gain / deviation)


def read_by_output(record: Record) -> Array:
    """Return what the output activation reads, (T, B, H): c, or c normalised."""
    return record.cell if record.normal is None else record.normal


def bent(record: Record, cell: CellSpec) -> Array:
    """Return what the output gate lets through or not, (T, B, H): tanh(c) of the plain cell."""
    return activated(activation(cell), read_by_output(record))


def shown(record: Record, cell: CellSpec) -> Array:
    """Return the hidden state before a projection and before zoneout, (T, B, H): o ⊙ tanh(c) of the plain cell."""
    return record.output_gate * bent(record, cell)


def input_factor(record: Record, cell: CellSpec, rounding: float) -> Array | None:
    """Return the weight of each step's candidate where the cell state is a weighted average of candidates.

    That is where what a step keeps and the weight of its candidate sum to 1: in an sLSTM, and with coupled gates,
    unless the cell state is clipped or an input gate is held by itself.

    Args:
        record: gates and states.
        cell: the cell.
        rounding: relative, of the recorded numbers.

    Returns:
        The weight, (T, B, H), at least 0; None for other cells.
    """
    if not is_average(cell):
        return None
    factor = (1 - cell.zoneout_cell) * record.input_gate
    return factor if (np.abs(factor + record.keep() - 1) <= 8 * rounding).all() else None


class OutputSplit(NamedTuple):
    """How the hidden state of a step, before a projection, depends on the shares of the cell state.

    Attributes:
        factor: of each share (U,).
        rest: what comes from none of the shares (U,): shifts, and what zoneout carries of the hidden state.
        centre: mean of each step's shares over the units of the layer, if they count from there (K,); else None.
    """

    factor: Array
    rest: Array
    centre: Array | None = None

    def of(self, weights: Array, shares: Array, others: Array) -> tuple[Array, float]:
        """Return w · h by step (K,), and the rest of it.

        Args:
            weights: w (U,).
            shares: of each step (K, U).
            others: shares of the initial state and of edits together (U,).
        """
        scale = weights * self.factor
        parts: Array = shares @ scale
        if self.centre is not None:
            parts = parts - self.centre * scale.sum()
        return parts, float(others @ scale + weights @ self.rest)


def secant(output_activation: str, n: Array) -> Array:
    """Return act(n) / n."""
    small = np.abs(n) < _LINEAR
    return np.where(small, 1.0, activated(output_activation, n) / np.where(small, 1.0, n))


def output_split(
    step: Record, cell: CellSpec, shares: Array | None = None, others: Array | None = None
) -> OutputSplit | None:
    """Return how the hidden state of a step depends on the shares of its cell state.

    Args:
        step: gates and states of the step, of all units of the layer, (H,).
        cell: the cell.
        shares: of each step in the cell state (K, H); for a cell with layer normalisation.
        others: shares of the initial state and of edits together (H,); likewise.

    Returns:
        The split; None where a recording has some units of a layer that is normalised over all of them.
    """
    n = read_by_output(step)
    factor = step.output_gate * secant(activation(cell), n)
    rest, centre = np.zeros_like(factor), None
    if step.normal is not None:
        if step.normal_scale is None or shares is None or others is None:
            return None
        scale, centre = step.normal_scale, shares.mean(axis=-1)
        rest = factor * (n - scale * (step.cell - step.cell.mean() + others.mean()))
        factor = factor * scale
    if cell.zoneout_hidden:
        factor, rest = (1 - cell.zoneout_hidden) * factor, (1 - cell.zoneout_hidden) * rest
        rest = rest + cell.zoneout_hidden * step.hidden_initial
    return OutputSplit(factor, rest, centre)
