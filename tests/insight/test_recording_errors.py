"""What cannot be looked at, and recordings that cannot be."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import look
from gatewright.errors import GatewrightError, RunError
from gatewright.insight.layers import Layer
from tests.support.layer_recordings import D, H, T, made
from tests.support.recordings import record, recording
from tests.support.small_models import language_model

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": torch.zeros(3, 1, D + 1)}, r"data: expected numbers of shape \(T, B, 4\), got \(3, 1, 5\)"),
        ({"data": torch.zeros(D)}, r"data: expected numbers of shape \(T, B, 4\), got \(4,\)"),
        ({"data": torch.zeros(0, 1, D)}, "data: expected at least one step in every row, got none"),
        ({"data": torch.zeros(3, 0, D)}, "data: expected at least one step in every row"),
        (
            {"start": 7},
            "start: expected a whole number from 0 to 6: the shortest row has 7 steps to start from, got 7",
        ),
        ({"start": -1}, "start: expected a whole number of at least 0, got -1"),
        ({"steps": 0}, "steps: expected a whole number of at least 1, got 0"),
        ({"steps": 2.0}, "steps: expected a whole number of at least 1, got 2.0"),
        ({"model": torch.nn.GRU(D, H)}, "module: expected a module that holds .*torch.nn.modules.rnn.GRU"),
        ({"model": 3}, "model: expected a run, a gatewright.Model or a gatewright.LSTM, got a builtins.int"),
    ],
)
def test_what_cannot_be_looked_at(change: dict[str, Any], message: str) -> None:
    lstm, x, _ = made(torch.float32)
    with pytest.raises(GatewrightError, match=r"^" + message):
        look(**{"model": lstm, "data": x, **change})


def test_no_run_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run: expected the directory of a run"):
        look(tmp_path / "nothing")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_number_in_the_data_is_named(value: float) -> None:
    lstm, x, _ = made()
    x[3, 1, 2] = value
    with pytest.raises(
        GatewrightError, match=f"data: expected finite numbers, got {value} at step 3, row 1, column 2"
    ):
        look(lstm, x)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("gate", ["input_gate", "forget_gate", "candidate", "output_gate"])
def test_a_nan_in_the_weights_is_named_by_layer_gate_and_step(gate: str, layer: int, reverse: bool) -> None:
    order = ["input_gate", "forget_gate", "candidate", "output_gate"]
    lstm, x, _ = made(num_layers=2, bidirectional=reverse)
    with torch.no_grad():
        parameter = getattr(lstm, f"weight_hh_l{layer}" + ("_reverse" if reverse else ""))
        parameter[order.index(gate) * H + 3, 2] = math.nan
    first = T - 1 if reverse else 0
    where = f"layer {layer} {'reverse' if reverse else 'forward'}, {gate.replace('_', ' ')}"
    message = f"^{where}: expected finite numbers, got nan at step {first}, row 0, unit 3$"
    with pytest.raises(GatewrightError, match=message):
        look(lstm, x)


def test_a_nan_in_the_head_is_named() -> None:
    model = language_model()
    with torch.no_grad():
        model.head.bias[1] = math.nan
    with pytest.raises(GatewrightError, match=r"tensor 'head.bias': expected finite weights"):
        look(model, "abc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"lengths": np.array([7, 7])}, r"lengths: expected whole numbers of shape \(1\), got int64 of"),
        (lambda _: {"lengths": np.array([8])}, "lengths: expected at most the 7 steps of the data, got 8"),
        (
            lambda _: {"lengths": np.array([0])},
            r"data: expected at least one step in every row, got lengths \[0\]",
        ),
        (
            lambda r: {"inputs": r.inputs[:, 0]},
            r"inputs: expected floats of shape \(any, any, any\), got float64 of",
        ),
        (lambda r: {"inputs": r.inputs[:6]}, "expected at most the 6 steps"),
        (lambda r: {"predictions": r.predictions[:6]}, r"predictions: expected floats of shape \(7, 1, any\)"),
        (lambda _: {"layers": ()}, "layers: expected at least one layer, got none"),
        (lambda r: {"times": r.inputs[..., 0]}, r"times: expected timestamps of shape \(7, 1\), got float64"),
        (
            lambda _: {"readout_bias": np.ones(1)},
            r"readout_weight: expected floats of shape \(0, 2\), got NoneType",
        ),
    ],
)
def test_parts_that_do_not_fit_each_other(change: Any, message: str) -> None:
    whole = recording(record(np.full((7, 1, 2), 0.5)))
    with pytest.raises(GatewrightError, match=message):
        dataclasses.replace(whole, **change(whole))


def test_a_gate_of_another_size_is_named() -> None:
    whole = recording(record(np.full((7, 1, 2), 0.5)))
    made_ = dataclasses.replace(whole.layers[0].forward, output_gate=np.ones((7, 1, 3)))
    with pytest.raises(
        GatewrightError, match=r"layer 0 forward output_gate: expected floats of shape \(7, 1, 2\)"
    ):
        dataclasses.replace(whole, layers=(Layer(made_),))
