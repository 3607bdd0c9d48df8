"""RTNeural's JSON: layers, and models whose head is plain, for real-time audio and the like in C++.

RTNeural (https://github.com/jatinchowdhury18/RTNeural) reads Keras's weights: gates i, f, c, o in columns, and one
bias.  What standardises columns goes into the first layer and the last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, SpecError
from gatewright.exchange.written import written
from gatewright.files.model_file import ModelFile
from gatewright.spec import ClassHead
from gatewright.spec.cell import require_plain

if TYPE_CHECKING:
    from gatewright.nn.lstm import LSTM

Array = NDArray[Any]

FILE = "model.json"


def layers_json(lstm: LSTM, head: Any = None) -> dict[str, Any]:
    """Return layers, and a linear layer on them, as RTNeural's JSON; `json.dump` writes it.

    Args:
        lstm: plain layers, of one direction.
        head: a ``torch.nn.Linear`` on their output; None for none.

    Raises:
        GatewrightError: if the layers have what RTNeural's do not, or the head does not fit.

    >>> import torch
    >>> from gatewright import LSTM
    >>> content = layers_json(LSTM(1, 8), torch.nn.Linear(8, 1))
    >>> [(layer["type"], layer["shape"]) for layer in content["layers"]]
    [('lstm', [None, None, 8]), ('dense', [None, None, 1])]
    """
    from torch import nn

    from gatewright.exchange.gate_weights import weights_of
    from gatewright.nn.reverse import ReverseLSTM

    stack = weights_of(lstm, "RTNeural")
    if lstm.bidirectional or isinstance(lstm, ReverseLSTM):
        raise GatewrightError("lstm", "layers that go forward, for RTNeural", "others")
    layers = [_Layer(each.W_ih, each.W_hh, each.bias) for [each] in stack]
    if head is None:
        return _content(layers)
    linear = isinstance(head, nn.Linear)
    if not linear or head.in_features != layers[-1].W_hh.shape[1]:
        expected = f"a torch.nn.Linear of {layers[-1].W_hh.shape[1]} inputs"
        raise GatewrightError("head", expected, f"{head.in_features}" if linear else type(head).__name__)
    W, b = head.weight, head.bias
    bias = np.zeros(len(W)) if b is None else b.detach().numpy()
    return _content(layers, _Dense(W.detach().numpy(), bias))


def to_rtneural(file: ModelFile, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a model as ``model.json``; inputs and outputs are in the units of the table.

    A tagger, or a classifier of the last step, reads its columns and gives the probabilities of its classes.  A
    forecaster that reads no past targets (``--reads nothing``) reads its inputs - past, static, and each known one
    at t+1 to t+horizon - and gives the values of each step ahead and target.

    Args:
        file: the model.
        folder: where; made if need be.
        overwrite: whether a file of this name may be replaced.

    Raises:
        GatewrightError: if RTNeural has no layers for a part of the model, which is named; or the file is there
            and may not be replaced, or cannot be written.
    """
    _require_layers(file)
    parts = _labels(file) if file.spec.labeller is not None else _series(file)
    layers, dense = _layers(file), _Dense(file.tensors["head.weight"], file.tensors["head.bias"])
    content = _content(_reading(layers, parts), _giving(dense, parts), activation=parts.activation)
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return written(folder, {FILE: text + "\n"}, overwrite=overwrite)


class _Layer(NamedTuple):
    """An LSTM layer: W_ih (4H, D), W_hh (4H, H) and one bias (4H,), or None."""

    W_ih: Array
    W_hh: Array
    bias: Array | None


class _Dense(NamedTuple):
    """A linear layer: W (out, in) and b (out,)."""

    W: Array
    b: Array


class _Units(NamedTuple):
    """Units of a model's columns and of its outputs.

    Attributes:
        mean: of the columns.
        scale: of the columns.
        output_mean: of the outputs.
        output_scale: of the outputs.
        activation: after the last layer; "" for none.
    """

    mean: Array
    scale: Array
    output_mean: Array
    output_scale: Array
    activation: str


def _require_layers(file: ModelFile) -> None:
    """Require plain layers that go forward."""
    stack = file.spec.lstm
    require_plain("RTNeural", stack.cell)
    found = {"proj_size": stack.proj_size, "bidirectional": stack.bidirectional, "residual": stack.residual}
    for name, value in found.items():
        if value:
            raise SpecError(name, "none, for RTNeural", str(value))
    if file.vocabulary is not None:
        raise SpecError("model", "one that reads numbers, for RTNeural", "a language model")


def _labels(file: ModelFile) -> _Units:
    assert file.spec.labeller is not None
    assert file.scaler is not None
    encoder, head = file.spec.labeller
    for name, values in (("missing", encoder.missing), ("categories", encoder.categories)):
        if values:
            raise SpecError(
                name, "columns that are all numbers and never missing, for RTNeural", f"{len(values)} others"
            )
    if isinstance(head, ClassHead) and head.pooling != "last":
        raise SpecError("pooling", "'last', for RTNeural", repr(head.pooling))
    zeros, ones = np.zeros(len(head.classes)), np.ones(len(head.classes))
    return _Units(np.array(file.scaler.mean), np.array(file.scaler.scale), zeros, ones, "softmax")


def _series(file: ModelFile) -> _Units:
    assert file.spec.forecaster is not None
    assert file.scaler is not None
    encoder, head = file.spec.forecaster
    if encoder.reads_targets:
        remedy = "'nothing', for RTNeural, which remembers no last value (train --reads nothing)"
        raise SpecError("reads", remedy, repr(encoder.reads))
    unfit = {
        "quantiles": head.quantiles if len(head.quantiles) > 1 else (),  # which would have to be sorted
        **{name: getattr(head, name) for name in ("minimum", "maximum", "distribution")},
        **{name: getattr(encoder, name) for name in ("calendar", "holidays", "categories", "transform")},
    }
    for name, value in unfit.items():
        if value:
            expected = "one, for RTNeural (train --quantiles 0.5)" if name == "quantiles" else "none, for RTNeural"
            raise SpecError(name, expected, str(value)[:80])
    number = {name: k for k, name in enumerate(file.scaler.columns)}
    read = [number[name] for name in encoder.past + encoder.static]
    read += [number[name] for name in encoder.known for _ in range(head.horizon)]
    mean, scale = np.array(file.scaler.mean), np.array(file.scaler.scale)
    K = len(encoder.targets)
    output_mean, output_scale = (np.tile(each[:K], head.horizon) for each in (mean, scale))
    return _Units(mean[read], scale[read], output_mean, output_scale, "")


def _layers(file: ModelFile) -> list[_Layer]:
    def layer(n: int) -> _Layer:
        W_ih, W_hh, b_ih, b_hh = (
            file.tensors[f"lstm.{name}_l{n}"].astype(np.float64)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        return _Layer(W_ih, W_hh, b_ih + b_hh)

    return [layer(n) for n in range(file.spec.lstm.num_layers)]


def _reading(layers: list[_Layer], units: _Units) -> list[_Layer]:
    """Return layers that read columns as they are: W (x - mean) / scale + b."""
    first = layers[0]
    W_ih = first.W_ih / units.scale
    bias = -(W_ih @ units.mean) + (0 if first.bias is None else first.bias)
    return [_Layer(W_ih, first.W_hh, bias), *layers[1:]]


def _giving(dense: _Dense, units: _Units) -> _Dense:
    """Return a last layer that gives outputs in their own units."""
    W, b = dense.W.astype(np.float64), dense.b.astype(np.float64)
    return _Dense(W * units.output_scale[:, None], b * units.output_scale + units.output_mean)


def _content(layers: Sequence[_Layer], dense: _Dense | None = None, *, activation: str = "") -> dict[str, Any]:
    """Return RTNeural's JSON of layers."""
    parts: list[Mapping[str, Any]] = []
    for layer in layers:
        H = layer.W_hh.shape[1]
        bias = np.zeros(4 * H) if layer.bias is None else layer.bias
        parts.append(_part("lstm", H, "", (layer.W_ih.T, layer.W_hh.T, bias)))
    if dense is not None:
        parts.append(_part("dense", len(dense.b), activation, (dense.W.T, dense.b)))
    return {"in_shape": [None, None, layers[0].W_ih.shape[1]], "layers": parts}


def _part(kind: str, size: int, activation: str, arrays: Sequence[Array]) -> dict[str, Any]:
    """Return one layer, its numbers as short as those of float32 can be."""
    weights = [
        np.vectorize(lambda value: float(f"{value:.9g}"), otypes=[float])(array).tolist() for array in arrays
    ]
    return {"type": kind, "activation": activation, "shape": [None, None, size], "weights": weights}
