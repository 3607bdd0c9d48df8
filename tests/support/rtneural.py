"""RTNeural's JSON run by the equations, and models with random weights to write as such."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.files.model_file import ModelFile
from gatewright.spec import ModelSpec, Scaler

Array = NDArray[Any]


def random_model(spec: ModelSpec, scaler: Scaler) -> ModelFile:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in spec.tensors().items()}
    return ModelFile(spec, weights, scaler=scaler)


def by_equations(content: dict[str, Any], x: Array) -> Array:
    """Return the outputs (T, out) of RTNeural's layers in float64, by Keras's conventions."""
    width = content["in_shape"][-1]
    assert x.shape[1] == width
    for layer in content["layers"]:
        size = layer["shape"][-1]
        arrays = [np.array(each, np.float64) for each in layer["weights"]]
        if layer["type"] == "lstm":
            kernel, recurrent, bias = arrays
            assert kernel.shape == (width, 4 * size)
            h, c, hidden = np.zeros(size), np.zeros(size), []
            for row in x:
                i, f, g, o = np.split(row @ kernel + h @ recurrent + bias, 4)
                c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
                h = np.tanh(c) / (1 + np.exp(-o))
                hidden.append(h)
            x = np.stack(hidden)
        else:
            assert layer["type"] == "dense"
            x = x @ arrays[0] + arrays[1]
        if layer["activation"] == "softmax":
            x = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
        width = size
    return x
