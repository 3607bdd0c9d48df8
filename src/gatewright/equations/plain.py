"""One step of the plain cell, and below it its adjoint."""

from __future__ import annotations

import numpy as np

from gatewright.bfloat16 import chain, product
from gatewright.equations.arrays import Array, sigmoid
from gatewright.equations.record import Record
from gatewright.spec.cell import LayerWeights


def step(x: Array, h: Array, c: Array, weights: LayerWeights, *, bf16: bool = False) -> Record:
    """Advance one step; shapes as for `gatewright.equations.step`, which checks them.

    Equations: Greff et al. 2017, section II.A.
    """
    pre = _pre_activation(x, h, weights, bf16)
    i_pre, f_pre, g_pre, o_pre = np.split(pre, 4, axis=-1)

    i = sigmoid(i_pre)
    f = sigmoid(f_pre)
    g = np.tanh(g_pre)
    o = sigmoid(o_pre)
    c_next = f * c + i * g
    m = o * np.tanh(c_next)
    if weights.W_hr is None:
        h_next = m
    elif bf16:
        h_next = chain(np.zeros((), x.dtype), m, weights.W_hr)
    else:
        h_next = m @ weights.W_hr.T
    return Record(i, f, g, o, c_next, h_next, cell_initial=c, hidden_initial=h)


def _pre_activation(x: Array, h: Array, weights: LayerWeights, bf16: bool) -> Array:
    """Return i, f, g, o before activation, (B, 4H)."""
    biases = [b for b in (weights.b_ih, weights.b_hh) if b is not None]
    if bf16:
        pre: Array = chain(np.array(sum(biases), x.dtype), x, weights.W_ih)
        return chain(pre, h, weights.W_hh)
    pre = x @ weights.W_ih.T + h @ weights.W_hh.T
    for b in biases:
        pre = pre + b
    return pre


def step_adjoint(
    r: Record,
    dh_next: Array,
    dc_next: Array,
    d_gates: tuple[Array, Array, Array, Array],
    weights: LayerWeights,
    bf16: bool,
) -> tuple[Array, Array, Array]:
    """Go back through the `step` that gave the record r: its lines, from the last to the first.

    The d's that go in hold what reaches the next state and i, f, g, o from outside of the step.  Returns
    `d_pre`, `dh` and `dc`.  Equations: Greff et al. 2017, section II.B.
    """
    multiply = product if bf16 else np.matmul
    i, f, g, o = r.input_gate, r.forget_gate, r.candidate, r.output_gate
    di, df, dg, do = d_gates
    tanh_c = np.tanh(r.cell)

    dm = dh_next if weights.W_hr is None else multiply(dh_next, weights.W_hr)
    do = do + dm * tanh_c
    dc_next = dc_next + dm * o * (1 - tanh_c * tanh_c)
    di = di + dc_next * g
    df = df + dc_next * r.cell_initial
    dg = dg + dc_next * i
    dc = dc_next * f

    di_pre = di * i * (1 - i)
    df_pre = df * f * (1 - f)
    dg_pre = dg * (1 - g * g)
    do_pre = do * o * (1 - o)
    d_pre = np.concatenate([di_pre, df_pre, dg_pre, do_pre], axis=-1)
    dh = multiply(d_pre, weights.W_hh)
    return d_pre, dh, dc
