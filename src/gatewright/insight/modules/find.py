"""The LSTMs of a caller's module, by name; those that cannot be recorded are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from gatewright.errors import GatewrightError
from gatewright.nn import LSTM

#: Layers that are recorded, their subclasses included.
KINDS = (LSTM, nn.LSTM, nn.LSTMCell)
_NAMES = ("LSTM", "LSTMCell")
#: Maximum depth of lists and dicts in an attribute that are searched.
_DEPTH = 4


def layers_of(module: nn.Module) -> dict[str, nn.Module]:
    """Return every LSTM and LSTM cell of a module, by the name that `named_modules` gives it.

    Args:
        module: the module.

    Raises:
        GatewrightError: if it has none, or one that cannot be recorded.

    >>> list(layers_of(nn.ModuleDict({"encoder": nn.LSTM(3, 4), "head": nn.Linear(4, 1)})))
    ['encoder']
    """
    found: dict[str, nn.Module] = {name: each for name, each in module.named_modules() if isinstance(each, KINDS)}
    for name, each in module.named_modules():
        _require_readable(name or type(module).__name__, each)
    for name, each in _unregistered(module):
        expected = "layers in torch.nn.ModuleList or torch.nn.ModuleDict, so that they have names and parameters"
        raise GatewrightError("module", expected, f"{name}, a {type(each).__name__} in a plain Python object")
    if not found:
        others = sorted({type(each).__name__ for each in module.modules()} - {type(module).__name__})
        parts = f" of {', '.join(others[:8])}" if others else ""
        expected = "a module that holds a gatewright.LSTM, torch.nn.LSTM or torch.nn.LSTMCell"
        raise GatewrightError("module", expected, f"a {type(module).__module__}.{type(module).__name__}{parts}")
    return found


def _require_readable(name: str, layer: nn.Module) -> None:
    """Require that a layer is no LSTM in a form that hides its steps.

    Raises:
        GatewrightError: names the layer, and what to do.
    """
    kind = type(layer)
    if isinstance(layer, torch.jit.ScriptModule):
        if layer.original_name in _NAMES:
            expected = "the Python module that was scripted or traced"
            raise GatewrightError("module", expected, f"{name}, a {layer.original_name} in TorchScript")
    elif kind.__module__.startswith("torch.ao.nn.") and kind.__name__ in _NAMES:
        expected = "the module before its quantization"
        raise GatewrightError("module", expected, f"{name}, a {kind.__module__}.{kind.__name__}")
    elif isinstance(layer, KINDS) and "forward" in vars(layer):
        expected = "a forward of the layer's class, such as that of a subclass"
        raise GatewrightError("module", expected, f"{name}, whose forward was replaced on the instance")


def _unregistered(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield LSTMs in lists, tuples, sets and dicts, which torch does not know."""
    known = set(module.modules())
    seen: set[int] = set()

    def inside(name: str, value: Any, depth: int) -> Iterator[tuple[str, nn.Module]]:
        if isinstance(value, nn.Module):
            if value not in known:
                yield from ((name, each) for each in value.modules() if isinstance(each, KINDS))
        elif isinstance(value, list | tuple | set | dict) and depth < _DEPTH and id(value) not in seen:
            seen.add(id(value))
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, each in pairs:
                yield from inside(f"{name}[{key!r}]", each, depth + 1)

    for owner, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute not in ("_modules", "_parameters", "_buffers"):
                yield from inside(f"{owner}.{attribute}".lstrip("."), value, 0)
