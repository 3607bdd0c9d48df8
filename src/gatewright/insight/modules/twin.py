"""Layers of torch as Gatewright's, with the weights that they have at a call."""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor, nn

from gatewright.errors import GatewrightError
from gatewright.nn import LSTM


class Twins:
    """For each layer of torch one of Gatewright's, made again where the weights have changed."""

    def __init__(self) -> None:
        # With the places of the weights in memory, which stay taken: `.data` may be replaced.
        self._made: dict[nn.Module, tuple[list[Tensor], list[int], LSTM]] = {}

    def of(self, name: str, layer: nn.Module) -> LSTM:
        """Return the layer itself if it is Gatewright's, else its twin; of a cell, one that runs sequences.

        Args:
            name: name of the layer, for errors.
            layer: an LSTM, or an LSTM cell.

        Raises:
            GatewrightError: if it would draw a dropout of its own.
        """
        if isinstance(layer, LSTM):
            return layer
        names = _names(layer)
        weights = [getattr(layer, each) for each in names]
        places = [weight.data_ptr() for weight in weights]
        earlier, before, twin = self._made.get(layer, ([], [], None))
        if twin is not None and places == before and all(map(operator.is_, earlier, weights)):
            return twin
        twin = _twin(name, layer, names, weights)
        self._made[layer] = weights, places, twin
        return twin


def _names(layer: Any) -> list[str]:
    if not isinstance(layer, nn.LSTMCell):
        names: list[str] = list(layer._flat_weights_names)
        return names
    return ["weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.bias else ())]


def _twin(name: str, layer: Any, names: list[str], weights: list[Tensor]) -> LSTM:
    if isinstance(layer, nn.LSTMCell):
        twin = LSTM(layer.input_size, layer.hidden_size, bias=bool(layer.bias), device="meta")
        names = [f"{each}_l0" for each in names]
    else:
        if layer.training and layer.dropout and layer.num_layers > 1:
            expected = "an LSTM that draws no dropout in evaluation mode, since its numbers are torch's own"
            raise GatewrightError("module", expected, f"{name}, which stays in training mode")
        sizes = (layer.input_size, layer.hidden_size, layer.num_layers, layer.bias, layer.batch_first)
        directions = {"bidirectional": layer.bidirectional, "proj_size": layer.proj_size}
        twin = LSTM(*sizes, **directions, device="meta")
    for each, weight in zip(names, weights, strict=True):
        setattr(twin, each, nn.Parameter(weight.detach(), requires_grad=False))
    twin.eval()
    return twin
