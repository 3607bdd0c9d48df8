"""Layers of unequal size and residual connections looked into, judged by a loop over each layer in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, CellSpec, look
from gatewright.equations import QUANTITIES
from gatewright.errors import GatewrightError
from gatewright.insight import Recording, diagnose, intervene
from gatewright.insight.memory_horizon import memory_horizon
from gatewright.inspector.payload import Payload
from gatewright.inspector.what_if import WhatIf
from tests.support.cell_loop import run, run_slstm

T, D = 9, 3
STACKS: list[dict[str, Any]] = [
    {"hidden_size": [6, 4]},
    {"hidden_size": [6, 4], "cell": CellSpec(layer_norm=True, coupled=True)},
    {"hidden_size": [6, 4], "cell": CellSpec(kind="slstm", heads=2)},
    {"hidden_size": 4, "num_layers": 3, "residual": True},
    {"hidden_size": 4, "num_layers": 3, "residual": True, "cell": CellSpec(kind="slstm")},
    {"hidden_size": [6, 4, 5], "proj_size": 3, "residual": True},
]


def label(options: dict[str, Any]) -> str:
    return "-".join([*options, *options.get("cell", CellSpec()).features()])


def stack_of(options: dict[str, Any], **more: Any) -> tuple[LSTM, torch.Tensor]:
    torch.manual_seed(1)
    lstm = LSTM(D, **options, **more, dtype=torch.float64).eval()
    return lstm, torch.randn(T, 2, D, dtype=torch.float64)


def judged(lstm: LSTM, x: Any, held: dict[int, list[Any]]) -> list[dict[str, Any]]:
    """Every quantity of one row in each layer."""
    below, layers = x, []
    for layer in range(lstm.num_layers):
        H = lstm.layer_weights(layer).hidden_size
        suffix, changes = f"_l{layer}", held.get(layer, [])
        if lstm.cell.is_slstm:
            steps = run_slstm(lstm, below, changes, suffix=suffix, H=H)
        else:
            steps = run(lstm, below, np.zeros(lstm.proj_size or H), np.zeros(H), changes, suffix=suffix)
        below = steps["hidden"] + below if lstm.residual and layer else steps["hidden"]
        layers.append(steps)
    return [*layers, {"y": below}]


@pytest.mark.parametrize("options", STACKS, ids=label)
def test_every_layer_is_recorded_split_and_changed(options: dict[str, Any], tmp_path: Path) -> None:
    lstm, x = stack_of(options)
    recording = look(lstm, x)
    recording.save(tmp_path / "r.safetensors")
    held = [("forget_gate", 3, 0.25, 2, 6), ("output_gate", 1, 0.0, 0, T)]
    clamp = {"forget_gate": (3, 0.25, slice(2, 6))}
    changed = intervene(lstm, x, clamp={1: clamp}, ablate={1: [1]})
    for found, changes in ((Recording.load(tmp_path / "r.safetensors"), {}), (changed, {1: held})):
        assert found.about.residual == lstm.residual
        for row in range(2):
            *layers, whole = judged(lstm, x[:, row].numpy(), changes)
            np.testing.assert_allclose(found.predictions[:, row], whole["y"], rtol=0, atol=1e-12)
            for number, steps in enumerate(layers):
                for name in QUANTITIES:
                    actual = getattr(found.record(number), name)[:, row]
                    np.testing.assert_allclose(actual, steps[name], rtol=0, atol=1e-12, err_msg=name)
                ledger = found.ledger(number, -1, row)
                np.testing.assert_allclose(ledger.total, steps["cell"][-1], rtol=0, atol=1e-12)
            if lstm.residual and not lstm.proj_size:  # the head reads the sum of all layers
                w = np.arange(1.0, 5.0)
                parts = [found.ledger(number, -1, row).readout(w) for number in range(len(layers))]
                total = sum(part.sum() + rest for part, rest in parts)
                assert total == pytest.approx(w @ whole["y"][-1], rel=1e-12, abs=1e-12)
    assert changed.about.note.startswith("layer 1, forget gate of unit 3 at 0.25 from step 2 to step 5; layer 1")
    sizes = [lstm.layer_weights(k).hidden_size for k in range(lstm.num_layers)]
    page = Payload(recording, "a").meta()
    assert [layer["hidden"] for layer in page["layers"]] == sizes
    assert page["residual"] == lstm.residual
    assert [len(layer.half_life) for layer in diagnose(recording).layers] == sizes
    assert (changed.difference(recording).cell[1][0, :, 3] == 0).all()


@pytest.mark.parametrize("options", STACKS, ids=label)
def test_windows_of_the_horizon_go_on_from_recorded_states(options: dict[str, Any]) -> None:
    lstm, x = stack_of(options)
    part = look(lstm, x).select(steps=slice(3, None))
    horizon = memory_horizon(part, lags=T - 3)
    _, state = lstm(x[:3])
    read = x[3:].clone().requires_grad_()
    h_n = lstm(read, state)[1][0]
    last = h_n[-1][-1] if isinstance(h_n, tuple) else h_n[-1]
    signs = torch.randint(0, 2, last.shape, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    (gradient,) = torch.autograd.grad((last * signs).sum(), read)
    norms = gradient.square().sum(dim=-1).mean(dim=-1).sqrt().flip(0)
    np.testing.assert_allclose(horizon.lstm, norms, rtol=1e-9)


def test_units_are_those_of_the_layer() -> None:
    lstm, x = stack_of({"hidden_size": [6, 4]}, bidirectional=True)
    state = tuple(
        tuple(torch.randn(2, 2, size, dtype=torch.float64) for size in sizes) for sizes in ((6, 4), (6, 4))
    )
    changed = intervene(lstm, x, state=state, edit_cell={0: (2, 5, 1.0), (1, "reverse"): (2, 3, 1.0)})
    record = changed.record(1, "reverse")
    np.testing.assert_array_equal(record.cell_initial, state[1][1][1])
    np.testing.assert_array_equal(
        changed.select(units=[-1]).record(1).cell[..., 0], changed.record(1).cell[..., 3]
    )
    ends = changed.select(units=[-1])
    assert [(edit.layer, edit.unit) for edit in ends.about.edits] == [(0, 0), (0, 0), (1, 0), (1, 0)]
    for layer, direction in ((0, "forward"), (1, "reverse")):
        ledger = ends.ledger(layer, 0 if direction == "reverse" else -1, 1, direction=direction)
        np.testing.assert_allclose(ledger.total, ledger.cell, rtol=0, atol=1e-12)
    with pytest.raises(GatewrightError, match=r"^ablate: expected a whole number from 0 to 3, got 4"):
        intervene(lstm, x, ablate={1: [4]})
    request = WhatIf(0, 1, "forward", (), (5,), ())
    with pytest.raises(GatewrightError, match=r"^what if.ablate: expected units from 0 to 3"):
        request.plan(lstm, [T, T])
