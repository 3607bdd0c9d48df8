"""Scores and probabilities of the classes of each step, by a trained tagger."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gatewright.data.sequences import Sequences
from gatewright.errors import SpecError
from gatewright.nn.model import Model
from gatewright.spec import FeatureEncoder, StepClassHead
from gatewright.tasks.classify.encoding import encode
from gatewright.tasks.classify.predict import outputs, softmax

Probabilities = NDArray[np.float64]


def require_tagger(model: Model) -> tuple[FeatureEncoder, StepClassHead]:
    """Return encoder and head of a tagger.

    Raises:
        SpecError: if the model is none.
    """
    if model.spec.tagger is None:
        expected = "a tagger, with one label a step"
        raise SpecError("model", expected, f"a model with a head of kind {model.spec.head.kind!r}")
    return model.spec.tagger


def predict_proba(model: Model, sequences: Sequences, fill: str = "") -> list[Probabilities]:
    """Return the probability of each class at each step, (T, classes) for each sequence.

    The result of a sequence does not depend on the others; that of a step not on later ones, unless the model is
    bidirectional.

    Args:
        model: a tagger; its classes are in the order of ``model.spec.head.classes``.
        sequences: with the columns that the model reads; `gatewright.data.sequences.sequences_of` makes them of
            arrays.  Labels are not read.
        fill: "mean" to read missing values as the mean also where the training part had none.

    Raises:
        SpecError: if the model is no tagger.
        DataError: if the sequences do not fit it.
    """
    encoder, _ = require_tagger(model)
    assert model.scaler is not None
    return [softmax(each) for each in step_scores(model, encode(sequences, encoder, model.scaler, fill))]


def step_scores(
    model: Model, encoded: Sequence[NDArray[np.float32]], progress: Callable[[int], None] = lambda _: None
) -> list[NDArray[np.float64]]:
    """Return the scores (logits) of the steps of encoded sequences, (T, classes) each; see `predict_proba`."""
    scores: list[NDArray[np.float64]] = [np.empty((0, 0))] * len(encoded)
    for numbers, y in outputs(model, encoded, progress):
        for place, number in enumerate(numbers):
            scores[number] = y[: len(encoded[number]), place].copy()
    return scores
