"""The arithmetic of int8 in NumPy: products of whole numbers, with exact sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.spec.cell import LayerWeights

Array = NDArray[Any]


def of_weights(W: Array) -> tuple[Array, Array]:
    """The whole numbers of a matrix, and what those of each row are counts of."""
    unit = np.abs(W).max(axis=1) / np.float32(127)
    return np.rint(W / np.where(unit > 0, unit, 1)[:, None]).astype(np.int64), unit


def of_operand(row: Array, most: Any = None) -> tuple[Array, Any]:
    """The same of x or h; ``most`` is the number that 127 stands for, the largest of the row if None."""
    most = np.abs(row).max() if most is None else np.float32(most)
    factor = np.float32(127) / most if most > 0 else np.float32(0)
    return np.rint(np.float32(row) * factor).astype(np.int64), most / np.float32(127)


def step(weights: LayerWeights, x: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """h, c and the gates (4H) after one step of one row."""
    sums = np.zeros(len(weights.W_hh)) if weights.b_ih is None else weights.b_ih.astype(float) + weights.b_hh
    for W, operand, most in ((weights.W_ih, x, None), (weights.W_hh, h, 1 if weights.W_hr is None else None)):
        counts, unit = of_weights(W)
        numbers, scale = of_operand(operand, most)
        sums += counts @ numbers * unit * scale
    i, f, g, o = (np.tanh(each) if k == 2 else 1 / (1 + np.exp(-each)) for k, each in enumerate(np.split(sums, 4)))
    c = f * c + i * g
    h = o * np.tanh(c)
    return h if weights.W_hr is None else weights.W_hr @ h, c, np.concatenate([i, f, g, o])
