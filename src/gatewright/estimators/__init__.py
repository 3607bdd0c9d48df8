"""Models to fit and predict with, by scikit-learn's conventions: a table or a text in, an answer out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewright.estimators.forecaster import Forecaster
    from gatewright.estimators.language_model import LanguageModel
    from gatewright.estimators.loading import load
    from gatewright.estimators.search import Tuned, tune
    from gatewright.estimators.sequence_classifier import SequenceClassifier
    from gatewright.estimators.sequence_tagger import SequenceTagger

#: Public names and their files; loaded when first used, so that tables as users have them need no torch.
_HOMES = {
    "Forecaster": "forecaster",
    "LanguageModel": "language_model",
    "SequenceClassifier": "sequence_classifier",
    "SequenceTagger": "sequence_tagger",
    "Tuned": "search",
    "load": "loading",
    "tune": "search",
}

__all__ = ["Forecaster", "LanguageModel", "SequenceClassifier", "SequenceTagger", "Tuned", "load", "tune"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
