"""Recordings of a model's gates and states, their analysis, and interventions ("what if")."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewright.insight.diagnosis import Diagnosis as Diagnosis
    from gatewright.insight.diagnosis import diagnose as diagnose
    from gatewright.insight.difference import Difference as Difference
    from gatewright.insight.intervention import intervene as intervene
    from gatewright.insight.ledger import Ledger as Ledger
    from gatewright.insight.ledger import Lifetime as Lifetime
    from gatewright.insight.modules.recording import ModuleRecording as ModuleRecording
    from gatewright.insight.recorder import look as look
    from gatewright.insight.recording import Recording as Recording

#: Module of each public name; imported on first use, so that reading a recording imports no torch.
_HOMES = {
    "Diagnosis": "diagnosis",
    "Difference": "difference",
    "Ledger": "ledger",
    "Lifetime": "ledger",
    "ModuleRecording": "modules.recording",
    "Recording": "recording",
    "diagnose": "diagnosis",
    "intervene": "intervention",
    "look": "recorder",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    name = {"Fate": "Lifetime"}.get(name, name)  # its former name
    if name not in _HOMES:
        raise AttributeError(f"module 'gatewright.insight' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gatewright.insight.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
