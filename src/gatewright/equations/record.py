"""The record of a pass, and the adjoint of all that a pass reads."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gatewright.bfloat16 import to_bf16
from gatewright.equations.arrays import Array
from gatewright.spec.cell import CellSpec

#: Fields of a `Record` with an activation: the gates and the candidate, in the order of the weights' rows.
GATES = CellSpec().gates()
#: Fields of a `Record` with a value at each step, in the order in which a step computes them.
QUANTITIES = CellSpec().recorded()
#: Fields that every record has.
FIELDS = (*QUANTITIES, "cell_initial", "hidden_initial")
#: Fields with a value at each step that only records of some cells have.
OPTIONAL = ("kept", "written", "normal", "normal_scale")


@dataclass(frozen=True)
class Record:
    """Every gate and state, by name, after activation: of a sequence, or without T of a single step.

    A gate that the cell does not have is 1 throughout, and the input gate of a coupled cell is 1 - f.

    Of an sLSTM, the cell is the average c / n, the input gate the weight of the step's own candidate in it, and
    the forget gate what is kept of the average before: 1 less that weight.

    Attributes:
        input_gate: i, (T, B, H).
        forget_gate: f, (T, B, H).
        candidate: g, after dropout, (T, B, H).
        output_gate: o, (T, B, H).
        cell: c after each step, (T, B, H).
        hidden: h after each step, (T, B, P).
        cell_initial: c before the first step, (B, H).
        hidden_initial: h before the first step, (B, P).
        kept: what `keep` returns where that is not f, (T, B, H): with zoneout or clipping of the cell state.
        written: what `write` returns where that is not i ⊙ g; likewise.
        normal: what the output activation reads, where a recording has that and it is not c, (T, B, H): with layer
            normalisation.
        normal_scale: gain over deviation, by which c less its mean over the units counts in `normal`; likewise.

    >>> from gatewright.equations import Weights, step
    >>> record = step(np.zeros(3), np.zeros(2), np.ones(2), Weights(np.ones((8, 3)), np.ones((8, 2))))
    >>> record.forget_gate, record.cell
    (array([0.5, 0.5]), array([0.5, 0.5]))
    """

    input_gate: Array
    forget_gate: Array
    candidate: Array
    output_gate: Array
    cell: Array
    hidden: Array
    cell_initial: Array
    hidden_initial: Array
    kept: Array | None = None
    written: Array | None = None
    normal: Array | None = None
    normal_scale: Array | None = None

    def keep(self) -> Array:
        """Return the factor of the previous cell state at each step, (T, B, H): f, between 0 and 1.

        With `write` it is all that happens to a cell state: c_t = keep_t ⊙ c_{t-1} + write_t (Gers et al. 2000).

        >>> from gatewright.equations import Weights, step
        >>> record = step(np.zeros(3), np.zeros(2), np.ones(2), Weights(np.ones((8, 3)), np.ones((8, 2))))
        >>> bool((record.keep() * record.cell_initial + record.write() == record.cell).all())
        True
        """
        return self.forget_gate if self.kept is None else self.kept

    def write(self) -> Array:
        """Return what each step adds to the cell state, (T, B, H): i ⊙ g."""
        return self.input_gate * self.candidate if self.written is None else self.written

    def rounded(self) -> Record:
        """Return the record as a pass keeps it in bfloat16: gates and cell states after a step rounded."""
        rounded: dict[str, Any] = {name: to_bf16(getattr(self, name)) for name in (*GATES, "cell")}
        return dataclasses.replace(self, **rounded)

    def at(self, t: int) -> Record:
        """Return the record of step t alone, which begins with the state after step t-1."""
        t = range(len(self.cell))[t]
        values: dict[str, Any] = {name: getattr(self, name)[t] for name in QUANTITIES}
        c = self.cell[t - 1] if t > 0 else self.cell_initial
        h = self.hidden[t - 1] if t > 0 else self.hidden_initial
        optional = {name: getattr(self, name) for name in OPTIONAL}
        values |= {name: None if each is None else each[t] for name, each in optional.items()}
        return Record(**values, cell_initial=c, hidden_initial=h)

    @property
    def cell_state(self) -> Array:
        """The cell state after each step, as the next one reads it: the cell, or [c | n | m] of an sLSTM."""
        return self.cell

    @property
    def c_n(self) -> Array:
        """The cell state after the last step of a sequence, (B, H); [c | n | m] of an sLSTM, (B, 3H)."""
        return self.cell_state[-1] if len(self.cell) else self.cell_initial

    @property
    def h_n(self) -> Array:
        """The hidden state after the last step of a sequence, (B, P)."""
        return self.hidden[-1] if len(self.hidden) else self.hidden_initial


class OutputGradients(NamedTuple):
    """The adjoint of all that `forward` returns; None for zeros.

    Attributes:
        dy: of y, (T, B, P).
        dh_n: of the last hidden state, (B, P).
        dc_n: of the last cell state, (B, H).
        record: of each gate and state of the record, for a loss that reads them.
    """

    dy: Array | None = None
    dh_n: Array | None = None
    dc_n: Array | None = None
    record: Record | None = None


@dataclass(frozen=True)
class Gradients:
    """The adjoint of everything that `forward` reads, each in the shape of what it belongs to.

    Those of weights that are not there are None.

    >>> from gatewright.equations import OutputGradients, Weights, backward, forward
    >>> weights = Weights(np.ones((8, 3)), np.ones((8, 2)))
    >>> y, record = forward(np.ones((5, 1, 3)), weights)
    >>> gradients = backward(OutputGradients(np.ones_like(y)), record, np.ones((5, 1, 3)), weights)
    >>> gradients.dW_hh.shape, gradients.db_hh
    ((8, 2), None)
    """

    dx: Array
    dh_0: Array
    dc_0: Array
    dW_ih: Array  # noqa: N815
    dW_hh: Array  # noqa: N815
    db_ih: Array | None
    db_hh: Array | None
    dW_hr: Array | None  # noqa: N815
    dw_ch: Array | None = None
    dw_ln: Array | None = None
    dw_ln_cell: Array | None = None
    db_ln_cell: Array | None = None


def zero_record(x: Array, H: int, P: int, dtype: np.dtype[Any]) -> Record:
    """Return the record that belongs to x, (T, B, D) or (T, D), full of zeros."""
    i, f, g, o, cell = (np.zeros((*x.shape[:-1], H), dtype) for _ in range(5))
    hidden = np.zeros((*x.shape[:-1], P), dtype)
    c, h = np.zeros((*x.shape[1:-1], H), dtype), np.zeros((*x.shape[1:-1], P), dtype)
    return Record(i, f, g, o, cell, hidden, cell_initial=c, hidden_initial=h)
