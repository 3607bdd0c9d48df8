"""A step and a sequence of any cell, checked, and the way back through a sequence."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from gatewright.bfloat16 import to_bf16
from gatewright.equations import plain, slstm_cell, variants
from gatewright.equations.arrays import Array, Compute, in_bf16, require, sum_outer, sum_rows
from gatewright.equations.masks import Masks, StepMasks
from gatewright.equations.record import FIELDS, QUANTITIES, Gradients, OutputGradients, Record, zero_record
from gatewright.equations.weights import require_weights
from gatewright.spec.cell import CellSpec, LayerWeights


def step(
    x: Array,
    h: Array,
    c: Array,
    weights: LayerWeights,
    *,
    compute: Compute = "full",
    cell: CellSpec | None = None,
    masks: StepMasks | None = None,
) -> Record:
    """Advance one step: from the state (h, c) and the input x to the next state, with every gate.

    The cell state of an sLSTM is [c | n | m], 3H wide; `Record.cell_state` has that after the step.

    Args:
        x: input, (B, D), or (D,) for one row alone.
        h: hidden state before the step, (B, P) or (P,).
        c: cell state before the step, (B, H) or (H,).
        weights: the weights of the layer.
        compute: the arithmetic of products.
        cell: which cell it is; None for the plain one.
        masks: the random choices of a training; None outside of training.

    Raises:
        GatewrightError: if a shape or a dtype does not fit.

    Equations: Greff et al. 2017, section II.A; of other cells, `gatewright.equations.variants`.

    >>> from gatewright.equations import Weights
    >>> weights = Weights(W_ih=np.array([[0.0], [9.0], [1.0], [0.0]]), W_hh=np.zeros((4, 1)))
    >>> after = step(np.array([1.0]), np.array([0.0]), np.array([2.0]), weights)
    >>> after.forget_gate.round(2), after.cell.round(2), after.hidden.round(2)
    (array([1.]), array([2.38]), array([0.49]))
    """
    D = weights.W_ih.shape[1]
    require("x", x, weights.W_ih.dtype, ("B", D), (D,))
    require("h", h, x.dtype, (*x.shape[:-1], weights.output_size))
    require("c", c, x.dtype, (*x.shape[:-1], _width(weights, cell)))
    bf16 = in_bf16(compute, weights.W_ih.dtype)
    if _is_plain(cell):
        return plain.step(x, h, c, weights, bf16=bf16)
    assert cell is not None
    require_weights(weights, cell)
    if cell.is_slstm:
        return slstm_cell.step(x, (h, c), weights, cell, None if masks is None else masks.hidden, compute)
    return variants.step(x, h, c, weights, cell, masks, bf16=bf16)


def forward(
    x: Array,
    weights: LayerWeights,
    h_0: Array | None = None,
    c_0: Array | None = None,
    *,
    compute: Compute = "full",
    cell: CellSpec | None = None,
    masks: Masks | None = None,
) -> tuple[Array, Record]:
    """Run a sequence: `step`, T times.

    Args:
        x: input, (T, B, D), or (T, D) for one row alone.
        weights: the weights of the layer.
        h_0: hidden state before the first step, (B, P) or (P,); None for zeros.
        c_0: cell state before the first step, (B, H) or (H,); None for zeros.
        compute: the arithmetic of products.
        cell: which cell it is; None for the plain one.
        masks: the random choices of a training; None outside of training.

    Returns:
        y, the hidden state after each step, (T, B, P); and the record, whose `hidden` is y.

    Raises:
        GatewrightError: if a shape or a dtype does not fit.

    Equations: Greff et al. 2017, section II.A.

    >>> from gatewright.equations import Weights
    >>> weights = Weights(W_ih=np.full((4, 1), 0.5), W_hh=np.full((4, 1), 0.5))
    >>> y, record = forward(np.array([[1.0], [0.0], [0.0]]), weights)
    >>> y.round(3).tolist(), record.c_n.round(3)
    ([[0.174], [0.101], [0.064]], array([0.126]))
    """
    if not _is_plain(cell):
        assert cell is not None
        require_weights(weights, cell)
    D = weights.W_ih.shape[1]
    require("x", x, weights.W_ih.dtype, ("T", "B", D), ("T", D))
    record = zero_record(x, weights.hidden_size, weights.output_size, x.dtype)
    h = record.hidden_initial if h_0 is None else h_0
    rows = x.shape[1:-1]
    c = np.zeros((*rows, _width(weights, cell)), x.dtype) if c_0 is None else c_0
    require("h_0", h, x.dtype, record.hidden_initial.shape)
    require("c_0", c, x.dtype, (*rows, _width(weights, cell)))
    if cell is not None and cell.is_slstm:
        record = slstm_cell.forward(x, (h, c), weights, cell, _hidden_mask(masks, cell, x, weights), compute)
        return record.hidden, record

    record = dataclasses.replace(record, hidden_initial=h, cell_initial=c)
    if cell is not None and (cell.cell_clip or cell.zoneout_cell):
        record = dataclasses.replace(record, kept=np.zeros_like(record.cell), written=np.zeros_like(record.cell))
    for t, chosen in enumerate(_masks_of(masks, cell, x, weights)):
        after = step(x[t], h, c, weights, compute=compute, cell=cell, masks=chosen)
        for name in (*QUANTITIES, "kept", "written"):
            if getattr(record, name) is not None:
                getattr(record, name)[t] = getattr(after, name)
        c, h = after.cell, after.hidden
    return record.hidden, record


def backward(
    d: OutputGradients,
    record: Record,
    x: Array,
    weights: LayerWeights,
    *,
    compute: Compute = "full",
    cell: CellSpec | None = None,
    masks: Masks | None = None,
) -> Gradients:
    """Go back through `forward` (backpropagation through time): its steps from the last to the first.

    Args:
        d: adjoint of what `forward` returned.
        record: the record that `forward` returned, or `Record.rounded` of it.
        x: the input that `forward` read.
        weights: the weights that `forward` read.
        compute: the arithmetic of products.
        cell: as `forward` had it, as are the masks.
        masks: the random choices of a training.

    Raises:
        GatewrightError: if a shape or a dtype does not fit.

    Equations: Greff et al. 2017, section II.B.

    >>> from gatewright.equations import Weights
    >>> weights = Weights(W_ih=np.full((4, 1), 0.5), W_hh=np.full((4, 1), 0.5))
    >>> x = np.array([[1.0], [0.0], [0.0]])
    >>> y, record = forward(x, weights)
    >>> backward(OutputGradients(np.ones_like(y)), record, x, weights).dx.round(3).tolist()
    [[0.394], [0.285], [0.16]]
    """
    D = weights.W_ih.shape[1]
    require("x", x, weights.W_ih.dtype, ("T", "B", D), ("T", D))
    zeros = zero_record(x, weights.hidden_size, weights.output_size, x.dtype)
    d_record = zeros if d.record is None else d.record
    dy = zeros.hidden if d.dy is None else d.dy
    dh = zeros.hidden_initial if d.dh_n is None else d.dh_n
    rows = x.shape[1:-1]
    dc = np.zeros((*rows, _width(weights, cell)), x.dtype) if d.dc_n is None else d.dc_n
    require("dy", dy, x.dtype, zeros.hidden.shape)
    require("dh_n", dh, x.dtype, zeros.hidden_initial.shape)
    require("dc_n", dc, x.dtype, (*rows, _width(weights, cell)))
    for name in FIELDS:
        shape = getattr(zeros, name).shape
        require(f"record.{name}", getattr(record, name), x.dtype, shape)
        require(f"d_record.{name}", getattr(d_record, name), x.dtype, shape)
    bf16 = in_bf16(compute, weights.W_ih.dtype)
    d_outputs = dataclasses.replace(d_record, hidden=d_record.hidden + dy)
    if _is_plain(cell):
        return _backward_plain(d_outputs, dh, dc, record, x, weights, bf16)
    assert cell is not None
    require_weights(weights, cell)
    if cell.is_slstm:
        outputs = OutputGradients(d_outputs.hidden, dh, dc, d_record)
        mask = _hidden_mask(masks, cell, x, weights)
        return slstm_cell.backward(outputs, record, x, weights, cell, mask, compute)
    chosen = _masks_of(masks, cell, x, weights)
    return _backward_variant(d_outputs, (dh, dc), record, x, weights, cell, chosen, bf16)


def _backward_plain(
    d_record: Record, dh: Array, dc: Array, record: Record, x: Array, weights: LayerWeights, bf16: bool
) -> Gradients:
    d_pre = np.empty((*x.shape[:-1], 4 * weights.hidden_size), x.dtype)
    d_hidden = np.empty_like(record.hidden)
    for t in reversed(range(len(x))):
        d, r = d_record.at(t), record.at(t)
        d_gates = d.input_gate, d.forget_gate, d.candidate, d.output_gate
        d_hidden[t] = dh + d.hidden
        d_pre[t], dh, dc = plain.step_adjoint(r, d_hidden[t], dc + d.cell, d_gates, weights, bf16)

    h_before = np.concatenate([record.hidden_initial[None], record.hidden])[:-1]
    m = record.output_gate * np.tanh(record.cell)
    return _gradients(
        d_pre, d_hidden, x, h_before, m, weights, bf16,
        dh_0=dh + d_record.hidden_initial,
        dc_0=dc + d_record.cell_initial,
    )  # fmt: skip


def _backward_variant(
    d_record: Record,
    d_states: tuple[Array, Array],
    record: Record,
    x: Array,
    weights: LayerWeights,
    cell: CellSpec,
    masks: list[StepMasks | None],
    bf16: bool,
) -> Gradients:
    (dh, dc), H, rows, dtype = d_states, weights.hidden_size, x.shape[:-1], x.dtype
    dz = np.empty((*rows, len(weights.W_ih)), dtype)
    d_hidden, h_read = np.empty_like(record.hidden), np.empty_like(record.hidden)
    m = np.empty((*rows, H), dtype)
    fields = {"db": weights.W_ih, "dw_ch": weights.w_ch, "dw_ln": weights.w_ln}
    fields |= {"dw_ln_cell": weights.w_ln_cell, "db_ln_cell": weights.b_ln_cell}
    shares = {name: np.empty((*rows, len(W)), dtype) for name, W in fields.items() if W is not None}
    for t in reversed(range(len(x))):
        d = d_record.at(t)
        d = dataclasses.replace(d, hidden=dh + d.hidden, cell=dc + d.cell)
        adjoint = variants.step_adjoint(record.at(t), x[t], d, weights, cell, masks[t], bf16=bf16)
        dz[t], d_hidden[t], m[t], h_read[t] = adjoint.dz, adjoint.dh_new, adjoint.m, adjoint.h_read
        dh, dc = adjoint.dh, adjoint.dc
        for name, share in adjoint.weights.items():
            shares[name][t] = share
    sums: dict[str, Any] = {name: sum_rows(each, dtype) for name, each in shares.items()}
    db = sums.pop("db")
    return _gradients(
        dz, d_hidden, x, h_read, m, weights, bf16,
        dh_0=dh + d_record.hidden_initial,
        dc_0=dc + d_record.cell_initial,
        db=db if cell.layer_norm else None,
        **sums,
    )  # fmt: skip


def _gradients(
    dz: Array,
    d_hidden: Array,
    x: Array,
    h: Array,
    m: Array,
    weights: LayerWeights,
    bf16: bool,
    db: Array | None = None,
    **others: Any,
) -> Gradients:
    """Return the adjoints of x, of the matrices and of the biases, next to the others.

    Args:
        dz: adjoint of the products of the gates, (T, B, GH).
        d_hidden: adjoint of the projected hidden state, (T, B, P).
        x: input.
        h: what W_hh read, (T, B, P).
        m: what W_hr read, (T, B, H).
        weights: of the layer.
        bf16: whether products are those of bf16 arithmetic.
        db: adjoint of each bias, where it is not the sum of dz.
        others: the other fields.
    """
    dtype, W_ih = x.dtype, weights.W_ih
    if bf16:
        operands = (dz, d_hidden, x, h, m, W_ih)
        dz, d_hidden, x, h, m, W_ih = (to_bf16(operand).astype(np.float64) for operand in operands)
    if db is None:
        db = sum_rows(dz, dtype)
    return Gradients(
        db_ih=None if weights.b_ih is None else db,
        db_hh=None if weights.b_hh is None else db,
        dx=(dz @ W_ih).astype(dtype, copy=False),
        dW_ih=sum_outer(dz, x, dtype),
        dW_hh=sum_outer(dz, h, dtype),
        dW_hr=None if weights.W_hr is None else sum_outer(d_hidden, m, dtype),
        **others,
    )


def _is_plain(cell: CellSpec | None) -> bool:
    """Whether a cell is computed as the plain one; dropout of weights is none of the cell's equations."""
    return cell is None or not (cell.rates() or set(cell.features()) - {"weight_drop"})


def _width(weights: LayerWeights, cell: CellSpec | None) -> int:
    """Return the width of the cell state."""
    return weights.hidden_size if cell is None else cell.cell_state_size(weights.hidden_size)


def _hidden_mask(masks: Masks | None, cell: CellSpec, x: Array, weights: LayerWeights) -> Array | None:
    """Return the factor of the hidden state that W_hh reads, the same at every step; None for 1."""
    chosen: list[StepMasks | None] = _masks_of(masks, cell, x, weights)
    return chosen[0].hidden if chosen and chosen[0] is not None else None


def _masks_of(masks: Masks | None, cell: CellSpec | None, x: Array, weights: LayerWeights) -> list[Any]:
    """Return the random choices of each step; None for each outside of training."""
    if masks is None or cell is None:
        return [None] * len(x)
    B = x.shape[1] if x.ndim == 3 else 1
    chosen = masks.of(cell, len(x), B, weights.hidden_size, weights.output_size, x.dtype)
    return chosen if x.ndim == 3 else [each.of_row(0) for each in chosen]
