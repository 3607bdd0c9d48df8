"""One layer whose cell no LSTM node has, as a Scan over its steps; each is spelled out in plain nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.exchange.onnx.graph import Graph
from gatewright.spec.cell import LAYER_NORM_EPSILON, CellSpec, LayerWeights

ONE, NONE = np.float32(1), np.float32(0)


def layer(
    g: Graph,
    cell: CellSpec,
    weights: LayerWeights,
    x: str,
    before: tuple[str, str],
    steps: Any,
    *,
    reverse: bool,
) -> tuple[str, str, str]:
    """Add one layer in one direction; arguments and results are those of an LSTM node in `stack`."""
    step, H, P = g.within("step"), weights.hidden_size, weights.output_size
    of_state = (("h", P), ("c", cell.cell_state_size(H)))
    h, c = (step.input(step.local(name), np.float32, "rows", width) for name, width in of_state)
    read = step.input(step.local("read"), np.float32, "rows", len(weights.W_ih))
    within = step.input(step.local("within"), np.bool_, "rows", 1)
    one_step = _slstm_step if cell.is_slstm else _step
    z = step("Add", read, _recurrent(step, cell, weights, h))
    after = one_step(step, cell, weights, z, (h, c))
    for (name, width), new, old in zip(of_state, after, (h, c), strict=True):
        step.output(step.local(f"{name}_next"), step("Where", within, new, old), np.float32, "rows", width)
    step.output(step.local("y"), step("Where", within, after[0], NONE), np.float32, "rows", P)
    of_x = g("MatMul", x, weights.W_ih.T)
    if not cell.layer_norm and weights.b_ih is not None:
        of_x = g("Add", of_x, weights.b_ih + weights.b_hh)
    h_n, c_n, y = g(
        "Scan",
        *before,
        of_x,
        steps.within,
        outputs=3,
        body=step.proto(),
        num_scan_inputs=2,
        scan_input_directions=[int(reverse)] * 2,
        scan_output_directions=[int(reverse)],
    )
    return y, h_n, c_n


def _recurrent(g: Graph, cell: CellSpec, weights: LayerWeights, h: str) -> str:
    """Return W_hh h, (rows, gates); of an sLSTM head by head."""
    if not cell.is_slstm or cell.heads == 1:
        return str(g("MatMul", h, weights.W_hh.T))
    H = weights.hidden_size
    of_heads = weights.W_hh.reshape(4, cell.heads, H // cell.heads, H // cell.heads)
    whole_matrix = np.zeros((4, H, H), np.float32)
    for head in range(cell.heads):
        place = slice(head * (H // cell.heads), (head + 1) * (H // cell.heads))
        whole_matrix[:, place, place] = of_heads[:, head]
    return str(g("MatMul", h, whole_matrix.reshape(4 * H, H).T))


def _step(g: Graph, cell: CellSpec, weights: LayerWeights, z: str, before: tuple[str, str]) -> tuple[str, str]:
    """Add a step of the general cell after training: the equations of `gatewright.equations.variants`."""
    h, c = before
    names = cell.gates()
    gate = _gates(g, cell, weights, z)
    reading = [name for name in names if name != "candidate"]
    peephole = (
        {} if weights.w_ch is None else dict(zip(reading, np.split(weights.w_ch, len(reading)), strict=True))
    )

    def activated(name: str, state: str) -> Any:
        if name not in gate:
            return ONE
        pre = g("Add", gate[name], g("Mul", state, peephole[name])) if name in peephole else gate[name]
        return _activation(g, cell.gate_activation, pre)

    f = activated("forget_gate", c)
    i = g("Sub", ONE, f) if cell.coupled else activated("input_gate", c)
    c_next = g("Add", g("Mul", f, c), g("Mul", i, _activation(g, cell.candidate_activation, gate["candidate"])))
    if cell.cell_clip:
        bound = np.float32(cell.cell_clip)
        c_next = g("Clip", c_next, -bound, bound)
    c_next = _zoned(g, cell.zoneout_cell, c, c_next)
    shown = c_next
    if cell.layer_norm:
        shown = g("Add", _normalised(g, c_next, weights.w_ln_cell), weights.b_ln_cell)
    o = activated("output_gate", c_next)
    h_next = g("Mul", o, _activation(g, cell.output_activation, shown))
    h_next = _zoned(g, cell.zoneout_hidden, h, h_next)
    if weights.W_hr is not None:
        h_next = g("MatMul", h_next, weights.W_hr.T)
    return h_next, c_next


def _slstm_step(
    g: Graph, cell: CellSpec, weights: LayerWeights, z: str, before: tuple[str, str]
) -> tuple[str, str]:
    """Add a step of the sLSTM: the equations of `gatewright.equations.slstm`."""
    c, n, m = g("Split", before[1], axis=-1, num_outputs=3, outputs=3)
    gate = _gates(g, cell, weights, z)
    log_i, log_f = gate["input_gate"], gate["forget_gate"]
    if cell.forget_gate_activation == "sigmoid":
        log_f = g("Neg", g("Softplus", g("Neg", log_f)))
    kept = g("Add", log_f, m)
    new = g("Equal", n, NONE)  # nothing was read yet
    m_next = g("Where", new, log_i, g("Max", kept, log_i))
    f = g("Where", new, NONE, g("Exp", g("Sub", kept, m_next)))
    i = g("Exp", g("Sub", log_i, m_next))
    c_next = g("Add", g("Mul", f, c), g("Mul", i, g("Tanh", gate["candidate"])))
    n_next = g("Add", g("Mul", f, n), i)
    h_next = g("Mul", g("Sigmoid", gate["output_gate"]), g("Div", c_next, n_next))
    return h_next, g("Concat", c_next, n_next, m_next, axis=-1)


def _gates(g: Graph, cell: CellSpec, weights: LayerWeights, z: str) -> dict[str, Any]:
    """Return the gates before peepholes and activation, by name: normalised, with biases."""
    names = cell.gates()
    parts = [g("Split", z, axis=-1, num_outputs=len(names), outputs=len(names))]
    gate = dict(zip(names, parts[0] if len(names) > 1 else parts, strict=True))
    if not cell.layer_norm:
        return gate
    for k, name in enumerate(names):
        rows = slice(k * weights.hidden_size, (k + 1) * weights.hidden_size)
        gate[name] = _normalised(g, gate[name], weights.w_ln[rows])
        if weights.b_ih is not None:
            gate[name] = g("Add", gate[name], (weights.b_ih + weights.b_hh)[rows])
    return gate


def _normalised(g: Graph, z: str, gain: Any) -> Any:
    none = np.zeros(len(gain), np.float32)
    return g("LayerNormalization", z, gain, none, axis=-1, epsilon=LAYER_NORM_EPSILON)


def _zoned(g: Graph, rate: float, before: str, after: str) -> str:
    """Return a state after zoneout, in expectation."""
    if not rate:
        return after
    return str(g("Add", g("Mul", before, np.float32(rate)), g("Mul", after, np.float32(1 - rate))))


def _activation(g: Graph, name: str, z: Any) -> Any:
    if name == "identity":
        return z
    if name == "hard_tanh":
        return g("Clip", z, -ONE, ONE)
    if name == "hard_sigmoid":
        return g("HardSigmoid", z, alpha=1 / 6, beta=0.5)
    return g("Sigmoid" if name == "sigmoid" else "Tanh", z)
