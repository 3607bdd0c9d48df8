"""Fitted estimators from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatewright.errors import GatewrightError, path_of
from gatewright.estimators.base import Estimator
from gatewright.estimators.forecaster import Forecaster
from gatewright.estimators.isolation import plain_torch
from gatewright.estimators.language_model import LanguageModel
from gatewright.estimators.sequence_classifier import SequenceClassifier
from gatewright.estimators.sequence_tagger import SequenceTagger
from gatewright.nn.model import load as nn_load
from gatewright.runs.run import Run
from gatewright.tasks import registry

#: The estimator of each kind of model.
ESTIMATORS: dict[str, type[Estimator]] = {
    each._kind: each for each in (Forecaster, LanguageModel, SequenceClassifier, SequenceTagger)
}


def load(path: str | Path) -> Any:
    """Return the fitted estimator of a model file, or of the directory of a run.

    No random number is drawn, so that a training in the same process is not disturbed.

    Args:
        path: what ``save`` wrote, the ``model.safetensors`` of a run, or the directory of the run.

    Returns:
        A `Forecaster`, `LanguageModel`, `SequenceClassifier` or `SequenceTagger`; its ``model_`` is the
        `torch.nn.Module`.

    Raises:
        GatewrightError: if the file is missing, damaged, foreign or too new.
    """
    path = path_of(path, "path", "the path of a model file or of a run's directory").absolute()
    folder = path if path.is_dir() else path.parent
    of_run = path.is_dir() or (path.name == "model.safetensors" and (folder / "config.toml").exists())
    run = Run.open(folder) if of_run else None
    with plain_torch():
        model = run.best_model() if run else nn_load(path)
    kind = registry.kind_of(model.spec).name
    if kind not in ESTIMATORS:
        expected = f"a model of a kind out of {', '.join(ESTIMATORS)}; gatewright.nn.model.load returns its module"
        raise GatewrightError("path", expected, f"one of the kind {kind}")
    return ESTIMATORS[kind].of_model(model, run)
