"""Weights of layers in fewer bits, as a stream keeps them, and what makes float32 of them in an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.bfloat16 import to_bits
from gatewright.errors import GatewrightError
from gatewright.exchange.onnx.graph import Graph, Value
from gatewright.spec import ModelSpec

Array = NDArray[Any]

#: Formats whose products are of float32, which a graph has too.
FORMATS = ("float32", "bf16-float32", "int8-float32")


def require(weights: str, spec: ModelSpec) -> None:
    """Require a format that a graph of a model can have.

    Raises:
        GatewrightError: otherwise.
    """
    if weights in ("bf16", "int8"):
        sentence = (
            f"ONNX Runtime has no products as those of {weights!r}, which round each row of the input for itself"
        )
        sentence += f"; {weights}-float32 keeps the same weights"
        raise GatewrightError("weights", " or ".join(FORMATS), repr(weights), sentence=sentence)
    if weights not in FORMATS:
        raise GatewrightError("weights", " or ".join(FORMATS), repr(weights))
    if weights != "float32" and (spec.lstm.bidirectional or spec.lstm.cell.features()):
        one = "in both directions" if spec.lstm.bidirectional else "with another cell than the plain one"
        raise GatewrightError("weights", f"float32 for a model {one}", repr(weights))


def kept(g: Graph, W: Array, weights: str) -> Value:
    """Return a matrix of weights, whose rows are those of gates, from the format that keeps it."""
    if weights == "bf16-float32":
        return str(g("Cast", g.bits(to_bits(W)), to=1))
    if weights == "int8-float32":
        unit = np.abs(W).max(axis=1) / np.float32(127)
        numbers = np.rint(W / np.where(unit > 0, unit, 1)[:, None]).astype(np.int8)
        return str(g("DequantizeLinear", numbers, unit.astype(np.float32), axis=0))
    return W
