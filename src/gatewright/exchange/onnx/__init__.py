"""ONNX: models on their way out, and LSTM nodes of any graph on their way in."""

from __future__ import annotations

import importlib
from typing import Any

#: Public names and where they are; loaded when first used, since reading needs torch and writing more.
_HOMES = {
    "export": "gatewright.exchange.onnx.writing",
    "layers": "gatewright.exchange.onnx.reading",
    "lstm_nodes": "gatewright.exchange.onnx.reading",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gatewright.exchange.onnx' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
