"""The code of devices without kernels of our own, run on the CPU."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.nn import fast_path, precision, recompute


def run_as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers run as on another device: by torch's operator, with records from its hidden states."""

    def takes(x: Any, hx: Any, stack: Any) -> bool:
        return not fast_path.looked_into(getattr(x, "data", x), hx, [W for layer in stack for W in layer])

    monkeypatch.setattr(precision, "arithmetic", lambda *_, **__: None)
    monkeypatch.setattr(recompute, "takes", takes)
    monkeypatch.setattr(fast_path, "takes", lambda *_: False)
