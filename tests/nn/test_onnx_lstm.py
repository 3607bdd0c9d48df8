"""Layers in modules that torch writes as ONNX: native LSTM nodes, judged by ONNX Runtime and ONNX itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import gatewright
from gatewright import GatewrightError
from tests.support.class_models import class_model
from tests.support.onnx_files import LAYERS, REFUSED, Caller, exported, largest_difference, nodes


def difference(module: Caller) -> float:
    """Of other sizes than those that were traced."""
    model = exported(module, module.example(T=5, B=3), module.axes(), dynamo=False)
    assert nodes(model).count("LSTM") == module.layer.num_layers * (2 if module.layer.bidirectional else 1)
    return largest_difference(model, module, [module.example(7, 2), module.example(1, 1), module.example(2, 4)])


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_native_nodes_by_tracing(name: str) -> None:
    assert difference(Caller(**LAYERS[name])) < 2e-6


@settings(max_examples=6)
@given(st.data())
def test_any_sizes_lengths_and_states(data: st.DataObject) -> None:
    size = st.integers(1, 4)
    H = data.draw(size) + 1
    module = Caller(
        lengths=data.draw(st.booleans()),
        state=data.draw(st.booleans()),
        input_size=data.draw(size),
        hidden_size=H,
        proj_size=data.draw(st.integers(0, H - 1)),
        num_layers=data.draw(st.integers(1, 2)),
        bidirectional=data.draw(st.booleans()),
        batch_first=data.draw(st.booleans()),
        bias=data.draw(st.booleans()),
    )
    assert difference(module) < 2e-6


def test_float64_is_that_of_the_evaluator_of_onnx() -> None:
    from onnx.reference import ReferenceEvaluator

    layer = gatewright.LSTM(3, 4, dtype=torch.float64).eval()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    model = exported(layer, (x,), [{}], dynamo=False)
    y, h, c = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x.numpy()})
    with torch.no_grad():
        expected, (h_n, c_n) = layer(x)
    for ours, theirs in ((expected, y), (h_n, h), (c_n, c)):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_node_can_say_is_refused_by_name(name: str) -> None:
    module = Caller(**REFUSED[name])
    with pytest.raises(GatewrightError, match=f"^{name}: an LSTM node of ONNX"):
        exported(module, module.example(4, 2), module.axes(), dynamo=False)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention", ""])
def test_models_by_tracing(pooling: str) -> None:
    model = WithLengths(class_model(pooling, bidirectional=True)).eval()
    arguments = torch.randn(6, 3, 4), torch.tensor([6, 2, 4])
    graph = exported(model, arguments, [{0: "steps", 1: "rows"}, {0: "rows"}], dynamo=False)
    others = torch.randn(5, 2, 4), torch.tensor([3, 5])
    assert largest_difference(graph, model, [arguments, others]) < 2e-6


class WithLengths(nn.Module):
    """A classifier or a tagger whose arguments go by place."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.model(x, lengths=lengths).y


class Calls(nn.Module):
    """A layer that is called with something that a node does not have."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer, self.how = gatewright.LSTM(3, 4), how

    def forward(self, x: Tensor) -> Tensor:
        flags = torch.ones(x.shape[:2], dtype=torch.bool)
        if self.how == "input":
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]))
            return self.layer(packed)[0].data
        if self.how == "record":
            return self.layer(x, record=True)[2].layers[0].forget_gate
        return self.layer(x, **{self.how: flags})[0]


@pytest.mark.parametrize("how", ["input", "record", "mask", "reset"])
def test_calls_that_no_node_can_say_are_refused_by_name(how: str) -> None:
    module = Calls(how)
    with pytest.raises(GatewrightError, match=f"^{how}: an LSTM node of ONNX"):
        exported(module, (torch.randn(5, 2, 3),), [{}], dynamo=False)


def test_the_operator_of_the_node_has_the_shapes_that_it_says() -> None:
    from gatewright.nn.onnx_lstm import onnx_lstm

    T, B, D, H = 4, 2, 3, 5
    shapes = ((T, B, D), (1, 4 * H, D), (1, 4 * H, H), (1, 8 * H))
    tensors = [torch.randn(shape) for shape in shapes]
    state = [torch.randn(1, B, H), torch.randn(1, B, H)]
    arguments = (*tensors, torch.tensor([4, 2], dtype=torch.int32), *state, None, 1, H, "reverse")
    expected = onnx_lstm(*(each.to("meta") if isinstance(each, Tensor) else each for each in arguments))
    assert [each.shape for each in onnx_lstm(*arguments)] == [each.shape for each in expected]
