"""ONNX Runtime's LSTM, with weights as torch has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.timing import Call

#: ONNX stacks the gates i, o, f, c; torch i, f, g, o.
ORDER = (0, 3, 1, 2)

#: W_ih, W_hh, b_ih, b_hh.
Weights = Sequence[NDArray[np.float32]]

#: Sizes of inputs or outputs by name; a size that may change has a name.
_Shapes = dict[str, list[int | str | None]]


def model(weights: Weights, *, carried: bool = False) -> onnx.ModelProto:
    """Return a graph of one LSTM node.

    Args:
        weights: of one layer in one direction: W_ih, W_hh, b_ih, b_hh as torch orders them.
        carried: whether the graph takes (initial_h, initial_c), for a stream; it then leaves out Y, which of a
            single step is Y_h.
    """
    W, R, b_ih, b_hh = map(_reordered, weights)
    H, D = R.shape[-1], W.shape[-1]
    constants = {"W": W, "R": R, "B": np.concatenate([b_ih, b_hh], axis=1)}
    inputs: _Shapes = {"X": ["T", "B", D]}
    states: _Shapes = {"initial_h": [1, "B", H], "initial_c": [1, "B", H]} if carried else {}
    outputs: _Shapes = {} if carried else {"Y": ["T", 1, "B", H]}
    outputs |= {"Y_h": [1, "B", H], "Y_c": [1, "B", H]}
    node = helper.make_node(
        "LSTM",
        ["X", *constants, *(["", *states] if carried else [])],
        [name if name in outputs else "" for name in ("Y", "Y_h", "Y_c")],
        hidden_size=H,
    )
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in {**inputs, **states}.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def session(weights: Weights, threads: int, *, carried: bool = False) -> Any:
    """Return a session of the graph; its threads spin between calls, as they do by default."""
    import onnxruntime  # type: ignore[import-untyped]  # OpenVINO reads the graph without it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model(weights, carried=carried).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def forward(weights: Weights, x: NDArray[np.float32], threads: int) -> Call:
    """Return a call that runs the graph: y (T, 1, B, H), h_n, c_n."""
    running, feed = session(weights, threads), {"X": x}

    def call() -> Sequence[NDArray[np.float32]]:
        return running.run(None, feed)

    return call


def _reordered(parameter: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a weight, stacked by gate, in ONNX's order and with its axis of directions in front."""
    gates = parameter.reshape(4, -1, *parameter.shape[1:])
    return np.ascontiguousarray(gates[list(ORDER)].reshape(1, *parameter.shape))
