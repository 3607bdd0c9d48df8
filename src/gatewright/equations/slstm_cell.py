"""The sLSTM as `gatewright.equations` has every cell: one cell state, and a record of effective gates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.equations import slstm
from gatewright.equations.arrays import Array, Compute
from gatewright.equations.record import Gradients, OutputGradients, Record
from gatewright.spec.cell import CellSpec, LayerWeights


@dataclass(frozen=True, kw_only=True)
class SlstmRecord(Record):
    """The record of an sLSTM: effective gates, and the gates and states themselves.

    Attributes:
        own: the latter.
    """

    own: slstm.Record

    def at(self, t: int) -> SlstmRecord:
        """Return the record of step t alone, which begins with the state after step t-1."""
        return _record(self.own.at(t))

    def rounded(self) -> SlstmRecord:
        """Return the record as it is: m is a logarithm, whose rounding would be a factor of c and n."""
        return self

    @property
    def cell_state(self) -> Array:
        """[c | n | m] after each step, (T, B, 3H)."""
        return np.concatenate(self.own.state[1:], axis=-1)

    @property
    def c_n(self) -> Array:
        """[c | n | m] after the last step of a sequence, (B, 3H)."""
        return self.cell_state[-1] if len(self.cell) else np.concatenate(self.own.initial[1:], axis=-1)


def step(
    x: Array,
    states: tuple[Array, Array],
    weights: LayerWeights,
    cell: CellSpec,
    mask: Array | None,
    compute: Compute,
) -> Record:
    """Advance one step.

    Args:
        x: input, (B, D).
        states: h, (B, H), and [c | n | m], (B, 3H).
        weights: of the layer.
        cell: the cell.
        mask: factor of the hidden state that W_hh reads, (B, H); None for 1.
        compute: the arithmetic of products.
    """
    after = slstm.step(
        x,
        _state(*states),
        _weights(weights),
        forget_gate=_forget_gate(cell),
        dropout=mask,
        compute=compute,
    )
    return _record(after)


def forward(
    x: Array,
    states: tuple[Array, Array],
    weights: LayerWeights,
    cell: CellSpec,
    mask: Array | None,
    compute: Compute,
) -> Record:
    """Run a sequence; the arguments are those of `step`, of the sequence x, (T, B, D)."""
    _, record = slstm.forward(
        x,
        _weights(weights),
        _state(*states),
        forget_gate=_forget_gate(cell),
        dropout=mask,
        compute=compute,
    )
    return _record(record)


def backward(
    d: OutputGradients,
    record: Record,
    x: Array,
    weights: LayerWeights,
    cell: CellSpec,
    mask: Array | None,
    compute: Compute,
) -> Gradients:
    """Go back through `forward`; d is complete, and dc_n is (B, 3H)."""
    assert isinstance(record, SlstmRecord)
    assert d.dc_n is not None
    assert d.record is not None
    of_record, initial = d.record, record.own.initial
    dc_n, dn_n, dm_n = np.split(d.dc_n, 3, axis=-1)
    outputs = slstm.OutputGradients(
        d.dy,
        d.dh_n,
        dc_n,
        dn_n,
        dm_n,
        of_record.input_gate - of_record.forget_gate,
        of_record.candidate,
        of_record.output_gate,
        of_record.cell,
    )
    own = slstm.backward(
        outputs,
        record.own,
        x,
        _weights(weights),
        forget_gate=_forget_gate(cell),
        dropout=mask,
        compute=compute,
    )
    per_unit = np.divide(of_record.cell_initial, initial.n, out=np.zeros_like(initial.n), where=initial.n != 0)
    dc_0, dn_0 = own.dc_0 + per_unit, own.dn_0 - per_unit * record.cell_initial
    return Gradients(
        dx=own.dx,
        dh_0=own.dh_0 + of_record.hidden_initial,
        dc_0=np.concatenate([dc_0, dn_0, own.dm_0], axis=-1),
        dW_ih=own.dW_ih,
        dW_hh=own.dW_hh,
        db_ih=None if weights.b_ih is None else own.db,
        db_hh=None if weights.b_hh is None else own.db,
        dW_hr=None,
    )


def _forget_gate(cell: CellSpec) -> slstm.ForgetGate:
    return "exponential" if cell.forget_gate_activation == "exponential" else "sigmoid"


def _weights(weights: LayerWeights) -> slstm.Weights:
    biases = [b for b in (weights.b_ih, weights.b_hh) if b is not None]
    return slstm.Weights(weights.W_ih, weights.W_hh, sum(biases[1:], biases[0]) if biases else None)


def _state(h: Array, c: Array) -> slstm.State:
    return slstm.State(h, *np.split(c, 3, axis=-1))


def _record(own: slstm.Record) -> SlstmRecord:
    return SlstmRecord(
        own.share(),
        own.keep(),
        own.candidate,
        own.output_gate,
        own.state.average(),
        own.state.h,
        cell_initial=own.initial.average(),
        hidden_initial=own.initial.h,
        own=own,
    )
