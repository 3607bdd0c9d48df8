"""ONNX models of one LSTM node, and what ONNX Runtime and an imported layer give for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gatewright.exchange.onnx.reading import LSTMNode

Array = NDArray[Any]

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
OUTPUTS = ("Y", "Y_h", "Y_c")


def lstm_model(
    constants: Mapping[str, Array], given: Mapping[str, Array] | None = None, name: str = "lstm", **attributes: Any
) -> onnx.ModelProto:
    """Return a model of one node: some inputs are constants, X and others are given at run time."""
    given = given or {}
    names = [each if each in constants or each in given or each == "X" else "" for each in INPUTS]
    node = helper.make_node("LSTM", names, list(OUTPUTS), name=name, **attributes)
    inputs = [values("X")] + [values(each, kind(array)) for each, array in given.items() if each != "X"]
    tensors = [numpy_helper.from_array(array, each) for each, array in constants.items()]
    graph = helper.make_graph([node], "graph", inputs, [values(each) for each in OUTPUTS], tensors)
    return model_of(graph)


def values(name: str, kind: int = onnx.TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None)


def kind(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def model_of(graph: onnx.GraphProto, functions: Any = ()) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)


def random_weights(rng: np.random.Generator, count: int, D: int, H: int) -> dict[str, Array]:
    shapes = {"W": (count, 4 * H, D), "R": (count, 4 * H, H), "B": (count, 8 * H)}
    return {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def by_runtime(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return what ONNX Runtime gives, by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


@torch.no_grad()
def by_layer(node: LSTMNode, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return what the layer of a node gives, by ONNX's names and in its shapes."""
    swapped = node.layer.batch_first
    tensors = {name: torch.tensor(array) for name, array in feeds.items()}
    hx = None
    if "initial_h" in tensors:
        states = (tensors["initial_h"], tensors["initial_c"])
        hx = tuple(state.transpose(0, 1) if swapped else state for state in states)
    lengths = tensors.get("sequence_lens")
    if node.lengths is not None:
        lengths = torch.tensor(node.lengths)
    y, (h_n, c_n) = node.layer(tensors["X"], hx, lengths=lengths)
    y = y.unflatten(-1, (2 if node.direction == "bidirectional" else 1, -1))
    y = y if swapped else y.transpose(1, 2)
    h_n, c_n = (state.transpose(0, 1) if swapped else state for state in (h_n, c_n))
    return {name: state.numpy() for name, state in zip(OUTPUTS, (y, h_n, c_n), strict=True)}
