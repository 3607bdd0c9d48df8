"""The difference between two recordings of one module."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, shorten
from gatewright.insight.recording import Recording

Array = NDArray[Any]


class ModuleDifference(NamedTuple):
    """The effect of a change: the changed recording minus its baseline.

    Attributes:
        predictions: the difference of each tensor in what the module returned, by its place: ``""`` for the
            result itself, ``"logits"`` for an entry of a dict or an attribute, ``"0"`` for an item.
        cell: for each name and layer that of the forward cell state (T, B, H).
        hidden: for each name and layer that of the forward hidden state (T, B, P).
    """

    predictions: dict[str, torch.Tensor]
    cell: dict[str, tuple[Array, ...]]
    hidden: dict[str, tuple[Array, ...]]

    @property
    def largest(self) -> float:
        """The largest absolute difference of a prediction."""
        return max((float(each.abs().max()) for each in self.predictions.values() if each.numel()), default=0.0)


def difference(changed: Any, baseline: Any) -> ModuleDifference:
    """Return the difference of two recordings of one module.

    Args:
        changed: the recording of the changed run.
        baseline: the other recording.

    Raises:
        GatewrightError: if their names or the shapes of what they hold differ.
    """
    after, before = (dict(tensors_of(each.predictions)) for each in (changed, baseline))
    _require_same("predictions", {k: v.shape for k, v in after.items()}, {k: v.shape for k, v in before.items()})
    _require_same("names", list(changed), list(baseline))
    for name in changed:
        _require_same(name, _shapes(changed[name]), _shapes(baseline[name]))

    def of_layers(quantity: str) -> dict[str, tuple[Array, ...]]:
        pairs = {name: zip(changed[name].layers, baseline[name].layers, strict=True) for name in changed}
        return {
            name: tuple(getattr(a.forward, quantity) - getattr(b.forward, quantity) for a, b in layers)
            for name, layers in pairs.items()
        }

    minus = {name: _minus(value, before[name]) for name, value in after.items()}
    return ModuleDifference(minus, of_layers("cell"), of_layers("hidden"))


def tensors_of(value: Any, place: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors in what a module returned, each with its place.

    Args:
        value: what it returned.
        place: the place of that.

    >>> [place for place, _ in tensors_of({"logits": torch.ones(2), "states": (torch.ones(1), torch.ones(1))})]
    ['logits', 'states.0', 'states.1']
    """
    if isinstance(value, torch.Tensor):
        yield place, value
        return
    pairs: Any = ()
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        pairs = [("data", value.data)]
    elif isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        pairs = zip(value._fields, value, strict=True)
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    elif dataclasses.is_dataclass(value):
        pairs = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
    for key, part in pairs:
        yield from tensors_of(part, f"{place}.{key}" if place else str(key))


def _minus(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a - b if a.is_floating_point() or a.is_complex() else a.long() - b.long()


def _shapes(recording: Recording) -> Any:
    return recording.inputs.shape[:2], [np.shape(layer.forward.cell) for layer in recording.layers]


def _require_same(name: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise GatewrightError("baseline", f"{name} as in the changed run: {shorten(ours)}", shorten(theirs))
