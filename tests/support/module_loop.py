"""A judge of recordings of modules: the equations, one step after another, from what was recorded as read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gatewright import equations
from gatewright.insight import Recording


def weights_of(layer: Any, number: int, reverse: bool) -> equations.Weights:
    """The weights of an LSTM or a cell, of torch or of Gatewright."""
    cell = isinstance(layer, torch.nn.LSTMCell)
    suffix = "" if cell else f"_l{number}{'_reverse' * reverse}"
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    found = (getattr(layer, name + suffix, None) for name in names)
    return equations.Weights(*(None if each is None else each.detach().double().numpy() for each in found))


def largest_difference(layer: Any, recording: Recording) -> float:
    """The largest difference of a recorded gate or state, or of what the layers gave, from the equations'."""
    x, largest = recording.inputs.astype(float), 0.0
    for number, recorded in enumerate(recording.layers):
        outputs = []
        for reverse, record in enumerate(recorded):
            if record is None:
                continue
            weights, y = weights_of(layer, number, bool(reverse)), np.zeros(record.hidden.shape)
            for row, length in enumerate(recording.lengths):
                h, c = record.hidden_initial[row].astype(float), record.cell_initial[row].astype(float)
                for t in range(length - 1, -1, -1) if reverse else range(length):
                    if record.kept is not None and not record.kept[t, row].any():  # a reset
                        h, c = np.zeros_like(h), np.zeros_like(c)
                    step = equations.step(x[t, row], h, c, weights)
                    h, c = step.hidden, step.cell
                    y[t, row] = h
                    for name in equations.QUANTITIES:
                        largest = max(
                            largest, float(abs(getattr(step, name) - getattr(record, name)[t, row]).max())
                        )
            outputs.append(y)
        x = np.concatenate(outputs, -1)
    return max(largest, float(abs(x - recording.predictions).max()))


def patched_run(
    layer: Any, number: int, reverse: bool, x: Any, h: Any, c: Any, patches: dict[Any, tuple[Any, Any]]
) -> dict[str, Any]:
    """Run one row, (T, D), by the plainest loop, with values put in the place of gates and states.

    Args:
        layer: an LSTM or a cell.
        number: number of the layer.
        reverse: whether it reads from the end.
        x: the input.
        h: hidden state before the first step.
        c: cell state before it.
        patches: units and values by step and quantity.
    """
    W, steps = weights_of(layer, number, reverse), {}
    H = W.hidden_size
    for t in range(len(x) - 1, -1, -1) if reverse else range(len(x)):

        def put(quantity: str, own: Any, t: int = t) -> Any:
            if (t, quantity) in patches:
                units, values = patches[t, quantity]
                own = own.copy()
                own[units] = values
            return own

        z = W.W_ih @ x[t] + W.W_hh @ h
        for bias in (W.b_ih, W.b_hh):
            z = z if bias is None else z + bias
        i, f, o = (1 / (1 + np.exp(-z[k * H : k * H + H])) for k in (0, 1, 3))
        i, f, o = put("input_gate", i), put("forget_gate", f), put("output_gate", o)
        g = put("candidate", np.tanh(z[2 * H : 3 * H]))
        c = put("cell", f * c + i * g)
        m = o * np.tanh(c)
        h = put("hidden", m if W.W_hr is None else W.W_hr @ m)
        steps[t] = dict(zip(equations.QUANTITIES, (i, f, g, o, c, h), strict=True))
    return {name: np.array([steps[t][name] for t in range(len(x))]) for name in equations.QUANTITIES}


def ledger_error(recording: Recording) -> float:
    """The largest difference of a ledger's sum from the cell state, over all units, steps and rows."""
    largest = 0.0
    for number, layer in enumerate(recording.layers):
        for direction, record in zip(("forward", "reverse"), layer, strict=True):
            for row, length in enumerate(recording.lengths if record is not None else ()):
                for t in range(length):
                    ledger = recording.ledger(number, t, row, direction=direction)
                    largest = max(largest, float(abs(ledger.total - ledger.cell).max()))
    return largest


def tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of what a module returned, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if not isinstance(value, tuple):
        value = tuple((value if isinstance(value, dict) else vars(value)).values())
    return [each for part in value for each in tensors(part)]
