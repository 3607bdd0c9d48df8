"""Cells of every kind on a page, and what the page has to say of them: by the equations, in float64."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch

from gatewright import LSTM, equations
from gatewright.insight.recorder import prepare
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Subject
from gatewright.spec.cell import CellSpec, LayerWeights
from tests.support.browser import Tab, double, reads_as

T, D, H = 12, 3, 6

CELLS = {
    "peephole and norm": CellSpec(peephole=True, layer_norm=True, bias=False),
    "coupled": CellSpec(coupled=True, peephole=True, gate_activation="hard_sigmoid"),
    "no forget gate": CellSpec(forget_gate=False, output_activation="hard_tanh"),
    "no input gate": CellSpec(input_gate=False, candidate_activation="identity"),
    "no output gate": CellSpec(output_gate=False, layer_norm=True, zoneout_hidden=0.25),
    "no gates": CellSpec(
        input_gate=False, forget_gate=False, output_gate=False, output_activation="identity", cell_clip=0.5
    ),
    "clip and zoneout": CellSpec(cell_clip=0.3, zoneout_cell=0.1, zoneout_hidden=0.05),
    "all that fits": CellSpec(
        peephole=True, layer_norm=True, cell_clip=0.3, zoneout_cell=0.25, candidate_activation="hard_tanh",
        gate_activation="hard_sigmoid", output_activation="hard_tanh", proj_size=2,
    ),
    "slstm": CellSpec(kind="slstm", heads=2),
    "slstm, exponential": CellSpec(kind="slstm", forget_gate_activation="exponential", bias=False),
}  # fmt: skip


def drawn_input() -> torch.Tensor:
    return torch.randn(T, 1, D, generator=torch.Generator().manual_seed(4))


def made(name: str) -> LSTM:
    """One layer with the cell of this name."""
    torch.manual_seed(6)
    cell = CELLS[name]
    lstm = LSTM(D, H, cell=cell, bias=cell.bias, proj_size=cell.proj_size)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter *= 2
    return lstm


def weights_of(lstm: LSTM) -> LayerWeights:
    found = lstm.layer_weights(0)
    return LayerWeights(*(each if each is None else double(each) for each in found))


def subject(name: str) -> Subject:
    return Subject(*prepare(made(name), drawn_input()))


class CellJudge:
    """All numbers of a cell on the page, by its name; computed line by line from its gates."""

    def __init__(self, name: str, recording: Recording) -> None:
        self.cell = CELLS[name]
        weights = weights_of(made(name))
        _, record = equations.forward(double(recording.inputs), weights, cell=self.cell)
        self.gain, self.shift = weights.w_ln_cell, weights.b_ln_cell
        names = [field.name for field in fields(equations.Record) if getattr(record, field.name) is not None]
        self.record = {each: double(getattr(record, each)) for each in names}

    def at(self, t: int, unit: int) -> dict[str, float]:
        """Every number of a unit at a step, under the name of its part; NaN where there is none."""
        cell, r = self.cell, self.record

        def of(name: str) -> float:
            return float(r[name][t, 0, unit]) if unit < r[name].shape[-1] else np.nan

        def before(name: str) -> float:
            state = r[name][t - 1, 0] if t else r[f"{name}_initial"][0]
            return float(state[unit]) if unit < len(state) else np.nan

        f, i, g, o, c = (of(name) for name in ("forget_gate", "input_gate", "candidate", "output_gate", "cell"))
        kept, written = f * before("cell"), i * g
        summed = kept + written
        clipped = float(np.clip(summed, -cell.cell_clip, cell.cell_clip)) if cell.cell_clip else summed
        normal = c
        if self.gain is not None:
            state = torch.as_tensor(r["cell"][t, 0])
            gain, shift = torch.as_tensor(self.gain), torch.as_tensor(self.shift)
            normal = float(torch.nn.functional.layer_norm(state, (H,), gain, shift)[unit])
        activation = "identity" if cell.is_slstm else cell.output_activation
        bent = {"tanh": np.tanh, "hard_tanh": lambda n: np.clip(n, -1, 1), "identity": float}[activation](normal)
        return {
            "hidden_before": before("hidden"), "cell_before": before("cell"), "forget_gate": f, "input_gate": i,
            "candidate": g, "output_gate": o, "kept": kept, "written": written, "summed": summed,
            "clipped": clipped, "cell": c, "normal": normal, "bent": float(bent), "shown": o * float(bent),
            "hidden": of("hidden"),
        }  # fmt: skip

    def operations(self) -> dict[str, Any]:
        """The lines of the arithmetic, each with what it does to its operands; None where others units count."""
        cell = self.cell
        clip, z, zh = cell.cell_clip, cell.zoneout_cell, cell.zoneout_hidden
        bounded = lambda a: np.clip(a, -clip, clip)  # noqa: E731
        add, mean = (lambda a, b: a + b), (lambda z: lambda a, b: z * a + (1 - z) * b)
        activation = "identity" if cell.is_slstm else cell.output_activation
        lines: list[tuple[str, bool, Any]] = [
            ("input_gate", cell.coupled, lambda a: 1 - a),
            ("kept", cell.forget_gate, np.multiply),
            ("written", cell.input_gate, np.multiply),
            ("summed", bool(clip or z), add),
            ("clipped", bool(clip and z), bounded),
            ("cell", True, mean(z) if z else bounded if clip else add),
            ("normal", cell.layer_norm, None),
            ("bent", activation != "identity", np.tanh if activation == "tanh" else lambda a: np.clip(a, -1, 1)),
            ("shown", cell.output_gate, np.multiply),
            ("hidden", zh > 0, mean(zh)),
        ]
        return {name: operation for name, there, operation in lines if there}

    def drawn(self) -> set[str]:
        """The parts with numbers in the drawing."""
        cell, lines = self.cell, self.operations()
        gates = {*cell.gates(), "candidate"} | ({"input_gate"} if cell.coupled else set())
        further = {"shown"} if cell.output_gate and (cell.proj_size or cell.zoneout_hidden) else set()
        always = {"hidden_before", "cell_before", "cell", "hidden"}
        return always | gates | further | (lines.keys() & {"kept", "written", "normal", "bent"})


def numbers(tab: Tab, selector: str) -> dict[tuple[str, int], float]:
    """Values by part and unit; each is written as it is."""
    found: dict[tuple[str, int], float] = {}
    for one in tab.all(selector):
        if "value" not in one:  # nothing is known of it
            assert one["text"] == "–"
            continue
        value = float(one["value"])
        assert reads_as(one["text"], value), one
        key = (one["part"], int(one["unit"]))
        assert key not in found or found[key] == value
        found[key] = value
    return found


_LINES = """rows => rows.map(row => ({
  line: row.dataset.line,
  terms: [...row.querySelectorAll("td:has([data-part])")].map(
    td => [...td.children].map(one => ({...one.dataset}))
  ),
}))"""


def lines(tab: Tab) -> list[dict[str, Any]]:
    """The lines of the arithmetic: their parts, and the terms from left to right."""
    found: list[dict[str, Any]] = tab.page.eval_on_selector_all(".gw-arithmetic tr[data-line]", _LINES)
    return found
