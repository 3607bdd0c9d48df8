"""OpenVINO's LSTM, from the same ONNX graph as ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from benchmarks import onnx_peer
from benchmarks.timing import Call


def request(
    weights: Sequence[NDArray[np.float32]], x: NDArray[np.float32], threads: int, *, bf16: bool
) -> openvino.InferRequest:
    """Return a request for this input, compiled for its very shape and for the shortest time of one call.

    Args:
        weights: W_ih, W_hh, b_ih, b_hh as torch orders them.
        x: (T, B, D).
        threads: how many threads to use.
        bf16: whether to compute in bfloat16; input and outputs are float32 all the same.
    """
    core = openvino.Core()
    model = core.read_model(onnx_peer.model(weights).SerializeToString())
    model.reshape({"X": list(x.shape)})
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        },
    )
    running = compiled.create_infer_request()
    running.set_input_tensor(openvino.Tensor(x))  # a copy, made once: a view would not keep x
    return running


def forward(running: openvino.InferRequest) -> Call:
    """Return a call that runs the request: y (T, 1, B, H), h_n, c_n, in memory that the next call writes again."""

    def call() -> Sequence[Any]:
        running.infer()
        return [running.get_output_tensor(number).data for number in range(3)]

    return call


def implementation(running: openvino.InferRequest) -> str:
    """Return the precision and the number of threads that OpenVINO has chosen."""
    compiled = running.get_compiled_model()
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return f"{precision}, {compiled.get_property('INFERENCE_NUM_THREADS')} thread(s)"
