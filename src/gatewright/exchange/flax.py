"""LSTM cells of Flax and their weights, both ways: Linen's by gate, NNX's in one array, one bias in either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewright.errors import GatewrightError, shorten
from gatewright.exchange.gate_weights import TORCH, GateWeights, cells_of, require_equations, stack_of, weights_of
from gatewright.nn.lstm import LSTM
from gatewright.spec.cell import CellSpec

_FEATURES = ("gate_activation", "candidate_activation", "output_activation")


def from_flax(cells: Any, *, module: Any = None, **options: Any) -> LSTM:
    """Return a layer, or a stack of them, with the weights of Flax's cells.

    Args:
        cells: the parameters of a ``flax.linen.LSTMCell`` or ``OptimizedLSTMCell``, with or without "params"
            around them, or a cell of ``flax.nnx``; or a sequence of layers, each a cell or a pair: forward and
            reverse.
        module: the Linen cell that parameters are of, which has its activations; None for sigmoid and tanh.
        options: further arguments of `gatewright.LSTM`, such as ``batch_first``.

    Raises:
        GatewrightError: if Flax is not installed, these are no such cells, or an activation is none of ours.

    >>> kernels = {f"i{gate}": {"kernel": np.zeros((3, 8))} for gate in "ifgo"}
    >>> kernels |= {f"h{gate}": {"kernel": np.zeros((8, 8)), "bias": np.zeros(8)} for gate in "ifgo"}
    >>> from_flax({"params": kernels})
    LSTM(3, 8)
    """
    layers = cells_of(cells, "cells")
    if module is not None:
        linen = _packages()[0].linen
        require_equations(module, [linen.LSTMCell, linen.OptimizedLSTMCell], "module")
    flat = [cell for directions in layers for cell in directions]
    specs = {_cell(module if isinstance(cell, Mapping) else cell) for cell in flat}
    if len(specs) > 1:
        raise GatewrightError("cells", "cells with the same activations", "several")
    weights = [[_linen(cell) if isinstance(cell, Mapping) else _nnx(cell) for cell in each] for each in layers]
    return stack_of(weights, specs.pop(), argument="cells", **options)


def _linen(parameters: Mapping[str, Any]) -> GateWeights:
    """Return the weights in the parameters of a Linen cell."""
    inner = parameters.get("params", parameters)
    names = [f"{side}{gate}" for side in "ih" for gate in TORCH]
    if not isinstance(inner, Mapping) or set(inner) != set(names):
        got = list(inner) if isinstance(inner, Mapping) else type(inner).__name__
        raise GatewrightError("cells", f"parameters of a Flax LSTM cell, {', '.join(names)}", shorten(got))
    W_ih, W_hh = (
        np.concatenate([np.asarray(inner[side + gate]["kernel"], np.float64) for gate in TORCH], axis=1).T
        for side in "ih"
    )
    biases = [inner[f"h{gate}"].get("bias") for gate in TORCH]
    present = all(bias is not None for bias in biases)
    return GateWeights(
        W_ih, W_hh, np.concatenate([np.asarray(b, np.float64) for b in biases]) if present else None
    )


def _nnx(cell: Any) -> GateWeights:
    """Return the weights of a cell of NNX."""
    nnx = _packages()[0].nnx
    if isinstance(cell, nnx.LSTMCell | nnx.OptimizedLSTMCell):
        require_equations(cell, [nnx.LSTMCell, nnx.OptimizedLSTMCell], "cells")
    if isinstance(cell, nnx.OptimizedLSTMCell):
        arrays = (cell.dense_i.kernel, cell.dense_h.kernel, cell.dense_h.bias)
        W_ih, W_hh, bias = (np.asarray(each[...], np.float64) for each in arrays)
        return GateWeights(W_ih.T, W_hh.T, bias)
    if not isinstance(cell, nnx.LSTMCell):
        expected = "parameters of a Flax LSTM cell, an nnx.LSTMCell or an nnx.OptimizedLSTMCell"
        raise GatewrightError("cells", expected, f"a value of type {type(cell).__name__}")
    inner = {}
    for name in (f"{side}{gate}" for side in "ih" for gate in TORCH):
        linear = getattr(cell, "if_" if name == "if" else name)
        inner[name] = {"kernel": linear.kernel[...]}
        if linear.bias is not None:
            inner[name]["bias"] = linear.bias[...]
    return _linen(inner)


def _cell(owner: Any) -> CellSpec:
    """Return the cell that the activations of a module describe."""
    if owner is None:
        return CellSpec()
    gates, states = _functions()
    names = []
    for argument, known in (("gate_fn", gates), ("activation_fn", states)):
        function = getattr(owner, argument, None)
        name = next((name for name, each in known.items() if each is function), None)
        if name is None:
            got = shorten(getattr(function, "__name__", type(function).__name__))
            raise GatewrightError(argument, f"one of {list(known)} of JAX", got)
        names.append(name)
    return CellSpec(gate_activation=names[0], candidate_activation=names[1], output_activation=names[1])


def _functions() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return JAX's functions of gates and of states by our names."""
    _, jax = _packages()
    return (
        {"sigmoid": jax.nn.sigmoid, "hard_sigmoid": jax.nn.hard_sigmoid},
        {"tanh": jax.numpy.tanh, "hard_tanh": jax.nn.hard_tanh, "identity": jax.nn.identity},
    )


def to_flax(lstm: LSTM) -> list[Any]:
    """Return the parameters of Linen's cells with the weights of a layer.

    They fit ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell`` with their own activations: ``cell.apply({"params":
    parameters}, carry, x)``, where the carry is (c, h).

    Args:
        lstm: the layer, of plain cells.

    Returns:
        Of each layer the parameters of one cell, or a pair of them where it is bidirectional.

    Raises:
        GatewrightError: if JAX is not installed, or the layer has what Flax's cells do not.
    """
    _, jax = _packages()
    layers = []
    for directions in weights_of(lstm, "Flax's cells"):
        cells = tuple(_parameters(jax.numpy.asarray, weights) for weights in directions)
        layers.append(cells[0] if len(cells) == 1 else cells)
    return layers


def _parameters(array: Any, weights: GateWeights) -> dict[str, Any]:
    bias = np.zeros(len(weights.W_ih), weights.W_ih.dtype) if weights.bias is None else weights.bias
    parts = zip(TORCH, *(np.split(each, 4) for each in (weights.W_ih, weights.W_hh, bias)), strict=True)
    parameters = {}
    for gate, W_ih, W_hh, b in parts:
        parameters[f"i{gate}"] = {"kernel": array(W_ih.T)}
        parameters[f"h{gate}"] = {"kernel": array(W_hh.T), "bias": array(b)}
    return parameters


def to_nnx(lstm: LSTM) -> list[Any]:
    """Return cells of NNX with the weights of a layer.

    Args:
        lstm: the layer; its cell may have hard activations.

    Returns:
        Of each layer an ``nnx.OptimizedLSTMCell``, or a pair of them where it is bidirectional.

    Raises:
        GatewrightError: if Flax is not installed, or the layer has what its cells do not.
    """
    flax, jax = _packages()
    stack = weights_of(lstm, "Flax's cells", _FEATURES)
    cell = lstm.cell
    if cell.candidate_activation != cell.output_activation:
        expected = "that of the candidate, since Flax has one activation for both"
        raise GatewrightError("output_activation", expected, repr(cell.output_activation))
    gates, states = _functions()
    functions = {"gate_fn": gates[cell.gate_activation], "activation_fn": states[cell.candidate_activation]}
    layers = []
    for directions in stack:
        cells = []
        for weights in directions:
            D, H = weights.W_ih.shape[1], weights.W_hh.shape[1]
            made = flax.nnx.OptimizedLSTMCell(D, H, **functions, rngs=flax.nnx.Rngs(0))
            made.dense_i.kernel[...] = jax.numpy.asarray(weights.W_ih.T)
            made.dense_h.kernel[...] = jax.numpy.asarray(weights.W_hh.T)
            bias = np.zeros(4 * H) if weights.bias is None else weights.bias
            made.dense_h.bias[...] = jax.numpy.asarray(bias)
            cells.append(made)
        layers.append(cells[0] if len(cells) == 1 else tuple(cells))
    return layers


def _packages() -> tuple[Any, Any]:
    try:
        import flax
        import jax
        from flax import nnx  # noqa: F401  # which makes it an attribute
    except ImportError:
        raise GatewrightError("flax", "the package flax: pip install flax", "none") from None
    return flax, jax
