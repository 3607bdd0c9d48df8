"""Looking inside: recordings of what a model did, what its memory is made of, and what would have been."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewright.insight.diagnosis import Diagnosis as Diagnosis
    from gatewright.insight.diagnosis import diagnose as diagnose
    from gatewright.insight.intervention import intervene as intervene
    from gatewright.insight.ledger import Fate as Fate
    from gatewright.insight.ledger import Ledger as Ledger
    from gatewright.insight.recorder import look as look
    from gatewright.insight.recording import Difference as Difference
    from gatewright.insight.recording import Recording as Recording

#: Public names and where they are; loaded when first used, so that reading a recording loads no torch.
_HOMES = {
    "Diagnosis": "diagnosis",
    "Difference": "recording",
    "Fate": "ledger",
    "Ledger": "ledger",
    "Recording": "recording",
    "diagnose": "diagnosis",
    "intervene": "intervention",
    "look": "recorder",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gatewright.insight' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gatewright.insight.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
