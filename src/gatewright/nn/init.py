"""Initial values of the gates' biases, in place, for layers of torch and of Gatewright."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gatewright.errors import GatewrightError
from gatewright.spec.cell import CellSpec

_Layer = TypeVar("_Layer", bound=nn.Module)


@torch.no_grad()
def forget_bias_(layer: _Layer, value: float) -> _Layer:
    """Set the bias of the forget gates, in all layers and directions, and return the layer.

    A forget gate is ``sigmoid(value)`` where its input is zero: 0.73 for 1, as Jozefowicz et al. 2015 advise
    (Proceedings of ICML, "An empirical exploration of recurrent network architectures").  The sum of the two
    biases counts; ``bias_ih`` becomes the value, ``bias_hh`` 0.

    Args:
        layer: a `gatewright.LSTM`, `gatewright.LSTMCell`, or one of torch's.
        value: the bias.

    Raises:
        GatewrightError: if ``layer`` is none of these, or has no biases or no forget gate, or ``value`` is no
            number.

    >>> lstm = forget_bias_(nn.LSTM(3, 2), 1.0)
    >>> lstm.bias_ih_l0[2:4]
    tensor([1., 1.], grad_fn=<SliceBackward0>)
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise GatewrightError("value", "a number", repr(value))
    for biases, rows in _biases(layer):
        _set(biases, rows["forget_gate"], torch.tensor(float(value)))
    return layer


@torch.no_grad()
def chrono_(layer: _Layer, max_steps: float, *, generator: torch.Generator | None = None) -> _Layer:
    """Set the biases of forget and input gates for dependencies of up to ``max_steps``, and return the layer.

    Chrono initialization of Tallec & Ollivier 2018, arXiv:1804.11188, section 2.2: for each unit
    ``b_f = log(u)`` with u uniform from 1 to ``max_steps - 1``, and ``b_i = -b_f``, so that a unit forgets within
    about u steps.  It is that of all layers and directions; other biases stay.  A coupled input gate follows its
    forget gate.

    Args:
        layer: as for `forget_bias_`.
        max_steps: the longest dependencies that are expected, 2 or more.
        generator: of the random numbers; torch's default one if None.

    Raises:
        GatewrightError: as for `forget_bias_`, or if ``max_steps`` is less than 2.

    >>> lstm = chrono_(nn.LSTM(3, 2), max_steps=1000)
    >>> bool((lstm.bias_ih_l0[:2] == -lstm.bias_ih_l0[2:4]).all())
    True
    """
    if not isinstance(max_steps, int | float) or not 2 <= max_steps < math.inf:
        raise GatewrightError("max_steps", "a number of steps of at least 2", repr(max_steps))
    for biases, rows in _biases(layer):
        forget = rows["forget_gate"]
        drawn = torch.empty(forget.stop - forget.start, device=biases[0].device)
        bias = drawn.uniform_(1, max_steps - 1, generator=generator).log()
        _set(biases, forget, bias)
        if "input_gate" in rows:
            _set(biases, rows["input_gate"], -bias)
    return layer


def _set(biases: tuple[Tensor, Tensor], rows: slice, value: Tensor) -> None:
    """Set the sum of two biases, in some rows."""
    biases[0][rows] = value.to(biases[0].dtype)
    biases[1][rows] = 0.0


def _biases(layer: Any) -> Iterator[tuple[tuple[Tensor, Tensor], dict[str, slice]]]:
    """Yield both biases of each layer and direction, and the rows of each gate that has some.

    Raises:
        GatewrightError: if they, or a forget gate, are not there.
    """
    if not (isinstance(layer, nn.RNNBase) and layer.mode == "LSTM") and not isinstance(layer, nn.LSTMCell):
        raise GatewrightError("layer", "an LSTM or an LSTMCell", type(layer).__name__)
    if not layer.bias:
        raise GatewrightError("layer", "one with biases", f"{type(layer).__name__} with bias=False")
    cell = getattr(layer, "cell", None)
    gates = (cell if isinstance(cell, CellSpec) else CellSpec()).gates()
    if "forget_gate" not in gates:
        raise GatewrightError("layer", "one with a forget gate", "a cell without")
    for name in [name for name, _ in layer.named_parameters(recurse=False) if name.startswith("bias_ih")]:
        bias = getattr(layer, name)
        H = len(bias) // len(gates)
        rows = {gate: slice(n * H, (n + 1) * H) for n, gate in enumerate(gates)}
        yield (bias, getattr(layer, name.replace("bias_ih", "bias_hh"))), rows
