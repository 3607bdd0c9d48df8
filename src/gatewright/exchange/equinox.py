"""LSTM cells of Equinox and their weights, both ways: gates i, f, g, o in rows, and one bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.errors import GatewrightError
from gatewright.exchange.gate_weights import GateWeights, cells_of, require_equations, stack_of, weights_of
from gatewright.nn.lstm import LSTM
from gatewright.spec.cell import CellSpec


def from_equinox(cells: Any, **options: Any) -> LSTM:
    """Return a layer, or a stack of them, with the weights of Equinox's cells.

    Args:
        cells: an ``equinox.nn.LSTMCell``, or a sequence of layers, each a cell or a pair: forward and reverse.
        options: further arguments of `gatewright.LSTM`, such as ``batch_first``.

    Raises:
        GatewrightError: if Equinox is not installed, or these are other cells or do not fit each other.

    >>> import equinox, jax  # doctest: +SKIP
    >>> from_equinox(equinox.nn.LSTMCell(3, 8, key=jax.random.key(0)))  # doctest: +SKIP
    LSTM(3, 8)
    """
    equinox, _ = _packages()
    layers = cells_of(cells, "cells")
    for cell in (cell for directions in layers for cell in directions):
        if not isinstance(cell, equinox.nn.LSTMCell):
            raise GatewrightError(
                "cells", "an equinox.nn.LSTMCell, or several", f"a value of type {type(cell).__name__}"
            )
        require_equations(cell, [equinox.nn.LSTMCell], "cells")
    weights = [[_weights(cell) for cell in directions] for directions in layers]
    return stack_of(weights, CellSpec(), argument="cells", **options)


def _weights(cell: Any) -> GateWeights:
    arrays = (cell.weight_ih, cell.weight_hh, cell.bias)
    return GateWeights(*(None if each is None else np.asarray(each, np.float64) for each in arrays))  # type: ignore[arg-type]


def to_equinox(lstm: LSTM) -> list[Any]:
    """Return cells of Equinox with the weights of a layer, in JAX's type for them.

    Args:
        lstm: the layer, of plain cells.

    Returns:
        One ``equinox.nn.LSTMCell`` for each layer, or a pair of them where it is bidirectional.

    Raises:
        GatewrightError: if Equinox is not installed, or the layer has what its cells do not.
    """
    equinox, jax = _packages()
    stack = weights_of(lstm, "Equinox")
    return [each[0] if len(each) == 1 else tuple(each) for each in _cells(equinox, jax, stack)]


def _cells(equinox: Any, jax: Any, stack: list[list[GateWeights]]) -> list[list[Any]]:
    layers = []
    for directions in stack:
        cells = []
        for weights in directions:
            D, H, bias = weights.W_ih.shape[1], weights.W_hh.shape[1], weights.bias
            empty = equinox.nn.LSTMCell(D, H, use_bias=bias is not None, key=jax.random.key(0))
            arrays = [jax.numpy.asarray(each) for each in (weights.W_ih, weights.W_hh, bias) if each is not None]
            names = ("weight_ih", "weight_hh", "bias")[: len(arrays)]
            cells.append(equinox.tree_at(lambda cell, n=names: [getattr(cell, each) for each in n], empty, arrays))
        layers.append(cells)
    return layers


def _packages() -> tuple[Any, Any]:
    try:
        import equinox
        import jax
    except ImportError:
        raise GatewrightError("equinox", "the package equinox: pip install equinox", "none") from None
    return equinox, jax
