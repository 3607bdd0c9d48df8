"""Scores and probabilities of the classes of sequences, by a trained classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.data.sequences import Sequences
from gatewright.errors import SpecError
from gatewright.nn.model import Model
from gatewright.spec import ClassHead, FeatureEncoder
from gatewright.tasks.classify.batches import even_batches, padded
from gatewright.tasks.classify.encoding import encode


def require_classifier(model: Model) -> tuple[FeatureEncoder, ClassHead]:
    """Return encoder and head of a classifier.

    Raises:
        SpecError: if the model is none.
    """
    if model.spec.classifier is None:
        expected = "a classifier, with one label a sequence"
        raise SpecError("model", expected, f"a model with a head of kind {model.spec.head.kind!r}")
    return model.spec.classifier


def predict_proba(model: Model, sequences: Sequences, fill: str = "") -> NDArray[np.float64]:
    """Return the probability of each class for each sequence, (n, classes).

    The result of a sequence does not depend on the others.

    Args:
        model: a classifier; its classes are in the order of ``model.spec.head.classes``.
        sequences: with the columns that the model reads; `gatewright.data.sequences.sequences_of` makes them of
            arrays.  Labels are not read.
        fill: "mean" to read missing values as the mean also where the training part had none.

    Raises:
        SpecError: if the model is no classifier.
        DataError: if the sequences do not fit it.
    """
    encoder, _ = require_classifier(model)
    assert model.scaler is not None
    return softmax(scores(model, encode(sequences, encoder, model.scaler, fill)))


def scores(
    model: Model, encoded: Sequence[NDArray[np.float32]], progress: Callable[[int], None] = lambda _: None
) -> NDArray[np.float64]:
    """Return the scores (logits) of encoded sequences, (n, classes); see `predict_proba`."""
    found = np.empty((len(encoded), model.spec.output_size))
    for numbers, y in outputs(model, encoded, progress):
        found[numbers] = y[0]
    return found


def outputs(
    model: Model, encoded: Sequence[NDArray[np.float32]], progress: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield numbers of sequences (B,) and the output for them (steps, B, ...), in evaluation mode."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    width = model.spec.input_size + 3 * model.spec.lstm.output_size
    for numbers in even_batches(encoded, width):
        x, lengths = padded(encoded, numbers, device)
        with torch.no_grad():
            y = model(x, lengths=lengths).y
        yield numbers, y.double().cpu().numpy()
        progress(len(numbers))
    model.train(training)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities along the last axis.

    >>> softmax(np.array([0.0, 0.0]))
    array([0.5, 0.5])
    """
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)
