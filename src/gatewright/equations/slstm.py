"""The sLSTM cell in NumPy, one layer: its equations, their adjoint, and its ledger.

    log i = W_i x + R_i h + b_i                    m' = max(log f + m, log i)
    log f = log σ(W_f x + R_f h + b_f)             c' = exp(log f + m - m') ⊙ c + exp(log i - m') ⊙ z
    z = tanh(W_z x + R_z h + b_z)                  n' = exp(log f + m - m') ⊙ n + exp(log i - m')
    o = σ(W_o x + R_o h + b_o)                     h' = o ⊙ c' / n'

The input gate is exponential; the forget gate is sigmoid, as above, or exponential: log f = W_f x + R_f h + b_f.
R is block diagonal: a head reads its own hidden units alone.  The stabiliser m keeps the exponentials in range and
cancels in c / n.  Where n is 0 nothing was read yet, and m and c are not read: m' = log i, as if m were -inf.  So
a state of zeros is the start of a sequence, row by row and unit by unit.

`gatewright.equations.forward(..., cell=CellSpec(kind="slstm"))` runs the same, with [c | n | m] as the cell state.

Source: Beck et al. 2024, xLSTM: Extended Long Short-Term Memory, arXiv:2405.04517, section 2.2.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from gatewright.bfloat16 import chain, product, to_bf16
from gatewright.equations.arrays import Array, Compute, described, in_bf16, require, sigmoid, sum_outer, sum_rows
from gatewright.equations.slstm_record import (
    Gradients,
    OutputGradients,
    Record,
    State,
    Weights,
    scaled_forget_gate,
)
from gatewright.errors import GatewrightError

#: How the forget gate is activated.
ForgetGate: TypeAlias = Literal["sigmoid", "exponential"]

__all__ = [
    "ForgetGate",
    "Gradients",
    "OutputGradients",
    "Record",
    "State",
    "Weights",
    "backward",
    "forward",
    "step",
]


def step(
    x: Array,
    state: State,
    weights: Weights,
    *,
    forget_gate: ForgetGate = "sigmoid",
    dropout: Array | None = None,
    compute: Compute = "full",
) -> Record:
    """Advance one step.

    Args:
        x: input, (B, D), or (D,) for one row alone.
        state: before the step.
        weights: of the layer.
        forget_gate: its activation.
        dropout: factor of the hidden state that W_hh reads, (B, H); None for 1.
        compute: the arithmetic of products.

    Raises:
        GatewrightError: if a shape or a type does not fit.

    >>> weights = Weights(W_ih=np.zeros((4, 1)), W_hh=np.zeros((4, 1)), b=np.array([0.0, 0.0, 9.0, 9.0]))
    >>> step(np.ones(1), State.start(1), weights).state.h.round(3)
    array([1.])
    """
    H = _require(x, weights, forget_gate)
    for name, each in zip(State._fields, state, strict=True):
        require(name, each, x.dtype, (*x.shape[:-1], H))
    pre = _pre_activation(x, state.h if dropout is None else state.h * dropout, weights, compute)
    log_i, f_pre, z_pre, o_pre = np.split(pre, 4, axis=-1)
    log_f = f_pre if forget_gate == "exponential" else -np.logaddexp(0, -f_pre)
    z, o = np.tanh(z_pre), sigmoid(o_pre)

    m = np.where(state.n == 0, log_i, np.maximum(log_f + state.m, log_i))
    f, i = scaled_forget_gate(log_f, state, m), np.exp(log_i - m)
    c = f * state.c + i * z
    n = f * state.n + i
    h = o * (c / n)
    return Record(log_i, log_f, z, o, State(h, c, n, m), state)


def forward(
    x: Array,
    weights: Weights,
    state: State | None = None,
    *,
    forget_gate: ForgetGate = "sigmoid",
    dropout: Array | None = None,
    compute: Compute = "full",
) -> tuple[Array, Record]:
    """Run a sequence: `step`, T times.

    Args:
        x: input, (T, B, D), or (T, D) for one row alone.
        weights: of the layer.
        state: before the first step; `State.start` if None.
        forget_gate: its activation.
        dropout: factor of the hidden state that W_hh reads, (B, H), at every step; None for 1.
        compute: the arithmetic of products.

    Returns:
        y, the hidden state after each step, (T, B, H); and the record.

    Raises:
        GatewrightError: if a shape or a type does not fit.

    >>> random = np.random.default_rng(0)
    >>> weights = Weights(random.normal(size=(16, 3)), random.normal(size=(16, 2)))  # two heads of two units
    >>> y, record = forward(random.normal(size=(6, 1, 3)), weights)
    >>> w, _ = record.ledger(5)
    >>> bool((w >= 0).all()), w.sum(axis=0).round(12)
    (True, array([[1., 1., 1., 1.]]))
    >>> bool(np.allclose(record.output_gate[5] * (w * record.candidate).sum(axis=0), y[5]))
    True
    """
    H = _require(x, weights, forget_gate)
    initial = State.start(*x.shape[1:-1], H, dtype=x.dtype) if state is None else state
    log_i, log_f, z, o, h, c, n, m = arrays = [np.zeros((*x.shape[:-1], H), x.dtype) for _ in range(8)]
    record = Record(log_i, log_f, z, o, State(h, c, n, m), initial)
    before = initial
    for t in range(len(x)):
        after = step(x[t], before, weights, forget_gate=forget_gate, dropout=dropout, compute=compute)
        values = (after.log_input_gate, after.log_forget_gate, after.candidate, after.output_gate, *after.state)
        for whole, value in zip(arrays, values, strict=True):
            whole[t] = value
        before = after.state
    return record.state.h, record


def backward(
    d: OutputGradients,
    record: Record,
    x: Array,
    weights: Weights,
    *,
    forget_gate: ForgetGate = "sigmoid",
    dropout: Array | None = None,
    compute: Compute = "full",
) -> Gradients:
    """Go back through `forward`, from the last step to the first.

    Adjoints of c and n are those at a fixed m, and m has a residual δ = dm - dc ⊙ c - dn ⊙ n: the true states are
    e^m c and e^m n, so that δ is 0 for a loss of these.  It flows to the branch of the maximum that m took: to
    log i, or to log f and to the m before it, where it is δ again.

    Args:
        d: the adjoint of what `forward` gave.
        record: the record that `forward` returned.
        x: the input that `forward` read, as are the weights, the forget gate, the dropout and the arithmetic.
        weights: of the layer.
        forget_gate: its activation.
        dropout: factor of the hidden state that W_hh reads, (B, H).
        compute: the arithmetic of products.

    Raises:
        GatewrightError: if a shape or a type does not fit.
    """
    H = _require(x, weights, forget_gate)
    shape, dtype = (*x.shape[:-1], H), x.dtype
    named = {name: each for name, each in zip(d._fields, d, strict=True) if each is not None}
    for name, each in named.items():
        require(name, each, dtype, shape[1:] if name.endswith("_n") else shape)
    dh: Array
    dc: Array
    dn: Array
    dh, dc, dn, dm = (named.get(name, np.zeros(shape[1:], dtype)) for name in ("dh_n", "dc_n", "dn_n", "dm_n"))
    zeros: Array = np.zeros(shape, dtype)
    of_steps = [named.get(name, zeros) for name in ("dy", "dshare", "dcandidate", "doutput_gate", "daverage")]
    last = State(*(a[-1] for a in record.state)) if len(x) else record.initial
    residual: Array = dm - dc * last.c - dn * last.n
    before = record.before()
    d_pre: Array = np.empty((*x.shape[:-1], 4 * H), dtype)
    for t in reversed(range(len(x))):
        dy, *d_gates = (each[t] for each in of_steps)
        adjoint = _StepAdjoint(record.at(t), forget_gate)
        d_pre[t] = adjoint.of_gates(dh + dy, dc, dn, residual, d_gates)
        dc, dn, residual = adjoint.before
        dh = _by_heads_adjoint(d_pre[t], weights, in_bf16(compute, dtype))
        dh = dh if dropout is None else dh * dropout
    initial = record.initial
    read = initial.n != 0
    dm_0 = np.where(read, dc * initial.c + dn * initial.n + residual, 0)
    operands = [d_pre, x, before.h if dropout is None else before.h * dropout, weights.W_ih]
    if in_bf16(compute, dtype):
        operands = [to_bf16(each).astype(np.float64) for each in operands]
    of_products, x, h_read, W_ih = operands
    return Gradients(
        dx=(of_products @ W_ih).astype(dtype, copy=False),
        dh_0=dh,
        dc_0=dc,
        dn_0=dn,
        dm_0=dm_0,
        dW_ih=sum_outer(of_products, x, dtype),
        dW_hh=_sum_outer_by_heads(of_products, h_read, weights),
        db=None if weights.b is None else sum_rows(d_pre, dtype),
    )


class _StepAdjoint:
    """The way back through one step: its lines, from the last to the first.

    Attributes:
        before: adjoints of c and n before the step, and the residual there; after `of_gates`.
    """

    before: tuple[Array, Array, Array]

    def __init__(self, r: Record, forget_gate: str) -> None:
        self.r, self.forget_gate = r, forget_gate

    def of_gates(self, dh: Array, dc: Array, dn: Array, residual: Array, d_gates: list[Array]) -> Array:
        """Return the adjoint of the gates before activation, (B, 4H).

        Args:
            dh: adjoint of h after the step.
            dc: of c, from later steps.
            dn: of n, likewise.
            residual: of m, likewise.
            d_gates: of share, z, o and the average from outside.
        """
        r, (dshare, dz, do, d_average) = self.r, d_gates
        z, o, (_, c, n, m) = r.candidate, r.output_gate, r.state
        f, i = scaled_forget_gate(r.log_forget_gate, r.initial, m), np.exp(r.log_input_gate - m)
        average, share = c / n, i / n

        do = do + dh * average
        d_average = d_average + dh * o
        dc = dc + d_average / n
        dn = dn - d_average * average / n - dshare * share / n
        di = dc * z + dn + dshare / n
        df = dc * r.initial.c + dn * r.initial.n
        dz = dz + dc * i
        kept = (r.initial.n != 0) & (r.log_forget_gate + r.initial.m > r.log_input_gate)
        d_log_f, d_log_i = df * f + np.where(kept, residual, 0), di * i + np.where(kept, 0, residual)
        self.before = dc * f, dn * f, np.where(kept, residual, 0)

        slope = 1 if self.forget_gate == "exponential" else -np.expm1(r.log_forget_gate)
        d_pre = [d_log_i, d_log_f * slope, dz * (1 - z * z), do * o * (1 - o)]
        return np.concatenate(d_pre, axis=-1)


def _pre_activation(x: Array, h: Array, weights: Weights, compute: Compute) -> Array:
    """Return W x + R h + b, (B, 4H)."""
    if in_bf16(compute, weights.W_ih.dtype):
        bias = np.zeros(len(weights.W_ih), x.dtype) if weights.b is None else weights.b
        parts = np.split(chain(bias, x, weights.W_ih), 4 * weights.heads, axis=-1)
        blocks, of_heads = np.split(weights.W_hh, len(parts)), np.split(h, weights.heads, axis=-1)
        read = of_heads * 4
        return np.concatenate([chain(*each) for each in zip(parts, read, blocks, strict=True)], axis=-1)
    pre: Array = x @ weights.W_ih.T + _by_heads(h, weights)
    return pre if weights.b is None else pre + weights.b


def _by_heads(h: Array, weights: Weights) -> Array:
    """Return R h, (B, 4H): each block of rows reads the hidden units of its head."""
    heads, d = weights.heads, weights.W_hh.shape[1]
    R = weights.W_hh.reshape(4, heads, d, d)
    product = np.einsum("gkij,...kj->...gki", R, h.reshape(*h.shape[:-1], heads, d))
    return product.reshape(*h.shape[:-1], -1)


def _by_heads_adjoint(d_pre: Array, weights: Weights, bf16: bool) -> Array:
    """Return the adjoint of h for that of R h."""
    heads, d = weights.heads, weights.W_hh.shape[1]
    R = weights.W_hh.reshape(4, heads, d, d)
    by_head = d_pre.reshape(*d_pre.shape[:-1], 4, heads, d)
    if bf16:
        rows = [by_head[..., k, :].reshape(*d_pre.shape[:-1], 4 * d) for k in range(heads)]
        parts = [product(row, R[:, k].reshape(4 * d, d)) for k, row in enumerate(rows)]
        return np.concatenate(parts, axis=-1)
    adjoint = np.einsum("gkij,...gki->...kj", R, by_head)
    return adjoint.reshape(*d_pre.shape[:-1], -1)


def _sum_outer_by_heads(d_pre: Array, h: Array, weights: Weights) -> Array:
    """Return the adjoint of R, (4H, H / heads)."""
    heads, d = weights.heads, weights.W_hh.shape[1]
    of_rows, of_columns = d_pre.reshape(-1, 4, heads, d), h.reshape(-1, heads, d)
    adjoint: Array = np.einsum("ngki,nkj->gkij", of_rows, of_columns).reshape(weights.W_hh.shape)
    return adjoint.astype(weights.W_hh.dtype, copy=False)


def _require(x: Array, weights: Weights, forget_gate: str) -> int:
    """Require that input and weights fit, and return H."""
    if forget_gate not in ("sigmoid", "exponential"):
        raise GatewrightError("forget_gate", '"sigmoid" or "exponential"', repr(forget_gate))
    W_ih, W_hh = weights.W_ih, weights.W_hh
    is_float = isinstance(W_ih, np.ndarray) and np.issubdtype(W_ih.dtype, np.floating)
    if not is_float or W_ih.ndim != 2 or W_ih.shape[0] == 0 or W_ih.shape[0] % 4:
        raise GatewrightError("W_ih", "a float array of shape (4H, D), H at least 1", described(W_ih))
    H, D = len(W_ih) // 4, W_ih.shape[1]
    require("W_hh", W_hh, W_ih.dtype, (4 * H, "H / heads"))
    if W_hh.shape[1] == 0 or H % W_hh.shape[1]:
        raise GatewrightError("W_hh", f"a number of columns that divides H = {H}", described(W_hh))
    if weights.b is not None:
        require("b", weights.b, W_ih.dtype, (4 * H,))
    shapes = [("T", "B", D), ("T", D), (D,)]
    require("x", x, W_ih.dtype, *[shape for shape in shapes if x.ndim == len(shape)] or shapes)
    return H
