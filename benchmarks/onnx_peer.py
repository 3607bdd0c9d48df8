"""ONNX Runtime's LSTM, with the weights of a torch layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from benchmarks.timing import Call

#: ONNX stacks the gates i, o, f, c; torch i, f, g, o.
ORDER = (0, 3, 1, 2)

#: Sizes of inputs or outputs by name; a size that may change has a name.
_Shapes = dict[str, list[int | str | None]]


def model(layer: nn.RNNBase, *, carried: bool = False) -> onnx.ModelProto:
    """Return a graph of one LSTM node.

    Args:
        layer: one layer in one direction, with biases.
        carried: whether the graph takes (initial_h, initial_c), for a stream; it then leaves out Y, which of a
            single step is Y_h.
    """
    H = layer.hidden_size
    W, R, b_ih, b_hh = (_reordered(parameter) for parameter in layer.parameters())
    weights = {"W": W, "R": R, "B": np.concatenate([b_ih, b_hh], axis=1)}
    inputs: _Shapes = {"X": ["T", "B", layer.input_size]}
    states: _Shapes = {"initial_h": [1, "B", H], "initial_c": [1, "B", H]} if carried else {}
    outputs: _Shapes = {} if carried else {"Y": ["T", 1, "B", H]}
    outputs |= {"Y_h": [1, "B", H], "Y_c": [1, "B", H]}
    node = helper.make_node(
        "LSTM",
        ["X", *weights, *(["", *states] if carried else [])],
        [name if name in outputs else "" for name in ("Y", "Y_h", "Y_c")],
        hidden_size=H,
    )
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in {**inputs, **states}.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def session(layer: nn.RNNBase, threads: int, *, carried: bool = False) -> onnxruntime.InferenceSession:
    """Return a session of the graph; its threads spin between calls, as they do by default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model(layer, carried=carried).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def forward(layer: nn.RNNBase, x: Tensor, threads: int) -> Call:
    """Return a call that runs the graph: y (T, 1, B, H), h_n, c_n."""
    running, feed = session(layer, threads), {"X": x.numpy()}

    def call() -> Sequence[NDArray[np.float32]]:
        return running.run(None, feed)

    return call


def _reordered(parameter: Tensor) -> NDArray[np.float32]:
    """Return a parameter, stacked by gate, in ONNX's order and with its axis of directions in front."""
    gates = parameter.detach().unflatten(0, (4, -1))
    return np.ascontiguousarray(gates[list(ORDER)].flatten(0, 1)[None].numpy())
