"""The LSTM you can see through, at full speed: train it, look inside it, stream it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewright import equations as equations
    from gatewright import insight as insight
    from gatewright import nn as nn
    from gatewright.errors import GatewrightError as GatewrightError
    from gatewright.estimators import Forecaster as Forecaster
    from gatewright.estimators import LanguageModel as LanguageModel
    from gatewright.estimators import SequenceClassifier as SequenceClassifier
    from gatewright.estimators import SequenceTagger as SequenceTagger
    from gatewright.estimators import load as load
    from gatewright.estimators import tune as tune
    from gatewright.insight import look as look
    from gatewright.inspector.widget import view as view
    from gatewright.nn import LSTM as LSTM
    from gatewright.nn import LSTMCell as LSTMCell
    from gatewright.nn.carry import Carry as Carry
    from gatewright.nn.convert import convert as convert
    from gatewright.nn.model import Model as Model
    from gatewright.nn.tbptt import tbptt as tbptt
    from gatewright.runtime.stream import Stream as Stream
    from gatewright.scoring.scorer import Scorer as Scorer
    from gatewright.spec import CellSpec as CellSpec
    from gatewright.spec import ModelSpec as ModelSpec

#: Public names and where they are; loaded when first used, so that importing the package loads no torch.
_HOMES = {
    "Carry": "gatewright.nn.carry",
    "CellSpec": "gatewright.spec",
    "Forecaster": "gatewright.estimators",
    "GatewrightError": "gatewright.errors",
    "LSTM": "gatewright.nn",
    "LSTMCell": "gatewright.nn",
    "LanguageModel": "gatewright.estimators",
    "Model": "gatewright.nn.model",
    "ModelSpec": "gatewright.spec",
    "SequenceClassifier": "gatewright.estimators",
    "SequenceTagger": "gatewright.estimators",
    "Scorer": "gatewright.scoring.scorer",
    "Stream": "gatewright.runtime.stream",
    "convert": "gatewright.nn",
    "equations": "gatewright",
    "insight": "gatewright",
    "load": "gatewright.estimators",
    "look": "gatewright.insight",
    "nn": "gatewright",
    "tbptt": "gatewright.nn.tbptt",
    "tune": "gatewright.estimators",
    "view": "gatewright.inspector.widget",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("gatewright")
    if name not in _HOMES:
        raise AttributeError(f"module 'gatewright' has no attribute {name!r}")
    home = _HOMES[name]
    value = (
        importlib.import_module(f"{home}.{name}")
        if home == "gatewright"
        else getattr(importlib.import_module(home), name)
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
