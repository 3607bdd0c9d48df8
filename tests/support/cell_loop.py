"""The plainest loop over any LSTM cell outside of training, row by row in float64, with gates held: a judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from gatewright import LSTM, CellSpec
from gatewright.errors import SpecError

Array = NDArray[Any]

ACTIVATIONS = {
    "sigmoid": lambda z: 0.5 * (1 + np.tanh(z / 2)),
    "hard_sigmoid": lambda z: np.minimum(np.maximum(z / 6 + 0.5, 0), 1),
    "tanh": np.tanh,
    "hard_tanh": lambda z: np.minimum(np.maximum(z, -1), 1),
    "identity": lambda z: z,
}


@st.composite
def cells(draw: st.DrawFn) -> CellSpec:
    """Any cell whose features have sense together, without what is there in training alone."""
    flag, rate = st.booleans(), st.sampled_from([0.0, 0.0, 0.3, 0.9])
    ends = st.sampled_from(["tanh", "tanh", "hard_tanh", "identity"])
    features: dict[str, Any] = {
        "peephole": draw(flag),
        "coupled": draw(flag),
        **{
            name: draw(st.sampled_from([True, True, True, False]))
            for name in ("input_gate", "forget_gate", "output_gate")
        },
        "gate_activation": draw(st.sampled_from(["sigmoid", "hard_sigmoid"])),
        "candidate_activation": draw(ends),
        "output_activation": draw(ends),
        "cell_clip": draw(st.sampled_from([0.0, 0.0, 0.3, 2.0])),
        "layer_norm": draw(flag),
        "zoneout_cell": draw(rate),
        "zoneout_hidden": draw(rate),
        "proj_size": draw(st.sampled_from([0, 0, 3])),
        "bias": draw(flag),
    }
    try:
        return CellSpec(**features)
    except SpecError:
        plain = {"input_gate": True, "forget_gate": True, "zoneout_hidden": 0.0}
        return CellSpec(**{**features, **plain})


def run(
    lstm: LSTM,
    x: Array,
    h: Array,
    c: Array,
    held: Sequence[tuple[str, int, float, int, int]] = (),
    edits: Sequence[tuple[int, int, float]] = (),
    suffix: str = "_l0",
) -> dict[str, Array]:
    """Run one row, (T, D), through a layer, and return every quantity by name, (T, H).

    Args:
        lstm: its weights.
        x: input, in the order of reading.
        h: hidden state before the first step.
        c: cell state before it.
        held: gate, unit, value, first step and end.
        edits: step before which the cell state of a unit has a value.
        suffix: of the names of the weights.
    """
    cell, H = lstm.cell, len(c)
    W = {name: lstm.get_parameter(name + suffix).detach().double().numpy() for name in cell.weights(1, 1)}
    bias = W["bias_ih"] + W["bias_hh"] if cell.bias else np.zeros(len(W["weight_ih"]))
    reading = [name for name in cell.gates() if name != "candidate"]
    act = ACTIVATIONS[cell.gate_activation]
    steps: dict[str, list[Array]] = {}
    for t in range(len(x)):
        for when, unit, value in edits:
            if when == t:
                c = np.where(np.arange(H) == unit, value, c)
        z = W["weight_ih"] @ x[t] + W["weight_hh"] @ h
        pre, peep = {}, {}
        for k, name in enumerate(cell.gates()):
            rows = slice(k * H, k * H + H)
            part = z[rows]
            if cell.layer_norm:
                part = W["weight_ln"][rows] * (part - part.mean()) / np.sqrt(part.var() + 1e-5)
            pre[name] = part + bias[rows]
        for k, name in enumerate(reading):
            peep[name] = W["weight_ch"][k * H : k * H + H] if cell.peephole else np.zeros(H)

        def gate(name: str, own: Array, t: int = t) -> Array:
            for which, unit, value, first, end in held:
                if which == name and first <= t < end:
                    own = np.where(np.arange(H) == unit, value, own)
            return own

        one = np.ones(H)
        f = gate("forget_gate", act(pre["forget_gate"] + peep["forget_gate"] * c) if "forget_gate" in pre else one)
        i = act(pre["input_gate"] + peep["input_gate"] * c) if "input_gate" in pre else one
        i = gate("input_gate", 1 - f if cell.coupled else i)
        g = gate("candidate", ACTIVATIONS[cell.candidate_activation](pre["candidate"]))
        new = f * c + i * g
        scale = one
        if cell.cell_clip:
            over = np.abs(new) > cell.cell_clip
            scale = np.where(over, cell.cell_clip / np.where(over, np.abs(new), 1), 1)
        zone = cell.zoneout_cell
        keep, write = zone + (1 - zone) * scale * f, (1 - zone) * scale * i * g
        c = zone * c + (1 - zone) * scale * new
        o = act(pre["output_gate"] + peep["output_gate"] * c) if "output_gate" in pre else one
        o = gate("output_gate", o)
        n = c
        if cell.layer_norm:
            n = W["weight_ln_cell"] * (c - c.mean()) / np.sqrt(c.var() + 1e-5) + W["bias_ln_cell"]
        m = o * ACTIVATIONS[cell.output_activation](n)
        new_h = W["weight_hr"] @ m if cell.proj_size else m
        before, h = (
            h,
            cell.zoneout_hidden * h + (1 - cell.zoneout_hidden) * new_h if cell.zoneout_hidden else new_h,
        )
        values = {
            "input_gate": i, "forget_gate": f, "candidate": g, "output_gate": o, "cell": c, "hidden": h,
            "keep": keep, "write": write, "normal": n, "shown": m, "before": before,
        }  # fmt: skip
        for name, value in values.items():
            steps.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in steps.items()}


def run_slstm(
    lstm: LSTM,
    x: Array,
    held: Sequence[tuple[str, int, float, int, int]] = (),
    edits: Sequence[tuple[int, int, float]] = (),
    suffix: str = "_l0",
    H: int = 0,
) -> dict[str, Array]:
    """Run one row through an sLSTM from zeros, without a stabiliser; arguments and result as for `run`.

    The cell is the average c / n, input and forget gate are its weights.  Holding one holds the other.
    """
    cell, H = lstm.cell, H or lstm.hidden_size
    W = {name: lstm.get_parameter(name + suffix).detach().double().numpy() for name in cell.weights(1, H)}
    d = H // cell.heads
    h, average, total = np.zeros(H), np.zeros(H), np.zeros(H)
    steps: dict[str, list[Array]] = {}
    for t in range(len(x)):
        for when, unit, value in edits:
            if when == t:
                average = np.where(np.arange(H) == unit, value, average)
        z = W["weight_ih"] @ x[t] + (W["bias_ih"] + W["bias_hh"] if cell.bias else 0)
        for row in range(4 * H):
            first = row % H // d * d
            z[row] += W["weight_hh"][row] @ h[first : first + d]
        i = np.exp(z[:H])
        f = np.exp(z[H : 2 * H])
        f = f if cell.forget_gate_activation == "exponential" else f / (1 + f)
        new_total = f * total + i
        gates = {
            "forget_gate": f * total / new_total, "input_gate": i / new_total,
            "candidate": np.tanh(z[2 * H : 3 * H]), "output_gate": 1 / (1 + np.exp(-z[3 * H :])),
        }  # fmt: skip
        other = {"forget_gate": "input_gate", "input_gate": "forget_gate"}
        for which, unit, value, first, end in held:
            if first <= t < end:
                gates[which][unit] = value
                if which in other:
                    gates[other[which]][unit] = 1 - value
        keep, write = gates["forget_gate"], gates["input_gate"] * gates["candidate"]
        average, total = keep * average + write, new_total
        h = gates["output_gate"] * average
        values = {**gates, "cell": average, "hidden": h, "keep": keep, "write": write, "total": total}
        for name, value in values.items():
            steps.setdefault(name, []).append(np.array(value))
    return {name: np.array(values) for name, values in steps.items()}
