"""The origin of a NaN or an infinity: the rows, the layer and the gate in which it first appears."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gatewright.equations import QUANTITIES
from gatewright.errors import NonFiniteError
from gatewright.tasks.base import Task


def error(task: Task, step: int, what: str, value: float, last_good: int) -> NonFiniteError:
    """Return the error that says where a non-finite loss or gradient of a step first appears.

    Args:
        task: what is learned; its model is as it was in the step.
        step: the step, counted from 0.
        what: what was not finite, such as "loss" or "gradient norm".
        value: what it was.
        last_good: step of the last checkpoint.
    """
    places = [f"{value}", *_weights(task.model), *_first(task, step), *_gradients(task.model)]
    return NonFiniteError(f"{what} at step {step + 1}", "a finite number", "; ".join([*places, _hint(last_good)]))


def elsewhere(step: int, value: float, last_good: int) -> NonFiniteError:
    """Return the error of a process whose own rows of a step are finite, while those of another one are not.

    Args:
        step: the step, counted from 0.
        value: the loss over all processes.
        last_good: step of the last checkpoint.
    """
    got = f"{value}, from another process, whose error says where; {_hint(last_good)}"
    return NonFiniteError(f"loss at step {step + 1}", "a finite number", got)


def _hint(last_good: int) -> str:
    return f"the last good checkpoint, of step {last_good}, is kept; a lower --lr or --clip may help"


def _weights(model: torch.nn.Module) -> list[str]:
    return [
        f"{_count(value)} values of {name} are not finite"
        for name, value in model.named_parameters()
        if not value.isfinite().all()
    ]


def _gradients(model: torch.nn.Module) -> list[str]:
    names = [
        name
        for name, value in model.named_parameters()
        if value.grad is not None and not value.grad.isfinite().all()
    ]
    return [f"the gradients of {', '.join(names)} are not finite"] if names else []


@torch.no_grad()
def _first(task: Task, step: int) -> list[str]:
    """Run the batch again with a record and name the first place in the order of computation."""
    inputs, state = task.inputs(step)
    if inputs.is_floating_point() and not inputs.isfinite().all():
        return [f"first in the input{_rows(task, step, inputs)}"]
    model, training = task.model, task.model.training
    model.eval()
    hidden, _, record = model.lstm(model.encoder(inputs), state, record=True)
    y = model.head(hidden)
    model.train(training)
    for index, layer in enumerate(record.layers):
        parts = {name: getattr(layer, name) for name in QUANTITIES}
        times = {name: _first_time(value) for name, value in parts.items()}
        earliest = min(times.values())
        if earliest < len(inputs):
            name = next(name for name in QUANTITIES if times[name] == earliest)
            place = (
                f"first in the {name.replace('_', ' ')} of layer {index}, at step {earliest + 1} of the sequence"
            )
            return [place + _rows(task, step, parts[name][: earliest + 1])]
    if not y.isfinite().all():
        return [f"first in the output of the head{_rows(task, step, y)}"]
    return ["not in the forward pass"]


def _first_time(values: Tensor) -> int:
    """Return the first step with a value that is not finite; the number of steps if all are finite."""
    bad = ~values.isfinite().flatten(1).all(dim=1)
    return int(bad.int().argmax()) if bad.any() else len(values)


def _rows(task: Task, step: int, values: Tensor) -> str:
    """Name the rows of the batch in which values (T, B, ...) are not finite."""
    bad = ~values.isfinite().transpose(0, 1).flatten(1).all(dim=1)
    rows = np.flatnonzero(bad.cpu().numpy())
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    numbers = ", ".join(str(row) for row in rows[:5])
    return f", in rows {numbers}{more} of the batch ({task.rows(step, rows)})"


def _count(values: Tensor) -> int:
    return int((~values.isfinite()).sum())
