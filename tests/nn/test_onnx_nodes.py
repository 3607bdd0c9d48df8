"""ONNX's own tests of its LSTM node, peepholes included, with their weights loaded by hand."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, CellSpec

pytest.importorskip("onnx")

from onnx.backend.test.case import node as onnx_nodes
from onnx.helper import get_attribute_value

importlib.import_module("onnx.backend.test.case.node.lstm")  # which collects the cases
CASES = [case for case in onnx_nodes._NodeTestCases if case.name.startswith("test_lstm")]


def test_there_are_such_cases() -> None:
    assert {"test_lstm_defaults", "test_lstm_with_initial_bias", "test_lstm_with_peepholes"} <= {
        case.name for case in CASES
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_onnx(case: Any) -> None:
    [operator] = case.model.graph.node
    attributes = {each.name: get_attribute_value(each) for each in operator.attribute}
    [(inputs, outputs)] = case.data_sets
    given = dict(zip([name for name in operator.input if name], map(np.array, inputs), strict=True))
    expected = dict(zip([name for name in operator.output if name], outputs, strict=True))
    names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
    value = {name: given.get(own) for name, own in zip(names, operator.input, strict=False)}
    H, batch_first = attributes["hidden_size"], attributes.get("layout", 0) == 1
    directions, _rows, D = value["W"].shape
    direction = attributes.get("direction", b"forward").decode()
    peephole = value.get("P") is not None
    lstm = LSTM(
        D, H, bidirectional=directions == 2, batch_first=batch_first, cell=CellSpec(peephole=peephole)
    ).requires_grad_(False)

    for k, suffix in enumerate(("_l0", "_l0_reverse")[:directions]):
        biases = np.zeros((directions, 8 * H), np.float32) if value.get("B") is None else value["B"]
        own = {
            "weight_ih": (value["W"][k], (0, 2, 3, 1)),  # ONNX has the order i o f g
            "weight_hh": (value["R"][k], (0, 2, 3, 1)),
            "bias_ih": (biases[k, : 4 * H], (0, 2, 3, 1)),
            "bias_hh": (biases[k, 4 * H :], (0, 2, 3, 1)),
        }
        if peephole:
            own["weight_ch"] = (value["P"][k], (0, 2, 1))
        for name, (array, order) in own.items():
            blocks = np.split(array, len(order))
            lstm.get_parameter(name + suffix).copy_(torch.from_numpy(np.concatenate([blocks[n] for n in order])))
    x = value["X"]
    if value.get("sequence_lens") is not None:
        assert (value["sequence_lens"] == x.shape[0]).all()
    if direction == "reverse":
        x = x[::-1].copy()
    hx = None
    if value.get("initial_h") is not None:
        hx = tuple(torch.from_numpy(value[name]) for name in ("initial_h", "initial_c"))
    y, (h_n, c_n) = lstm(torch.from_numpy(x), hx)
    got = {"Y_h": h_n, "Y_c": c_n}
    if "Y" in expected:  # (B, T, directions, H), or (T, directions, B, H)
        apart = y.unflatten(-1, (directions, H))
        got["Y"] = apart if batch_first else apart.transpose(1, 2)
    for name, array in expected.items():
        mine = got[name]
        if batch_first and name != "Y":
            mine = mine.transpose(0, 1)
        np.testing.assert_allclose(mine.numpy(), array, rtol=0, atol=3e-7, err_msg=name)
