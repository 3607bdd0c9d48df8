"""An evaluation of a classifier on the test part, next to the majority class and the nearest neighbour."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.nn.model import Model
from gatewright.progress import Waits
from gatewright.tasks.classify.dataset import ClassData
from gatewright.tasks.classify.encoding import encode
from gatewright.tasks.classify.metrics import confusion, f1_by_class, measure
from gatewright.tasks.classify.neighbours import comparable, nearest
from gatewright.tasks.classify.predict import require_classifier, scores, softmax


class Outcome(NamedTuple):
    """True classes of a test part, and their probabilities under a model, for the plot."""

    truth: NDArray[np.int64]
    probability: NDArray[np.float64]


def evaluate_classes(model: Model, data: ClassData, waits: Waits) -> tuple[dict[str, Any], Outcome]:
    """Score the test part, and return the figures of ``evaluation.json`` and what the plot shows.

    The nearest neighbour looks at the training part; the majority class has the shares of the training part as its
    probabilities.

    Raises:
        DataError: if there is no test part, or it does not fit the model.
    """
    encoder, head = require_classifier(model)
    assert model.scaler is not None
    test, K = data.require_test(), len(head.classes)
    truth, fill = data.numbers(test), data.settings.fill
    train_labels = data.numbers(data.train)
    train, asked = (encode(part, encoder, model.scaler, fill) for part in (data.train, test))
    with waits.counting("evaluating", len(test), "sequences") as advance:
        probability = softmax(scores(model, asked, advance))
    guess = probability.argmax(axis=1)
    with waits.counting("comparing with the training part", len(test), "sequences") as advance:
        neighbours = nearest(comparable(train, encoder), comparable(asked, encoder), advance)
    shares = np.bincount(train_labels, minlength=K) / len(train_labels)
    majority = np.full(len(truth), shares.argmax())
    methods = {
        "model": measure(truth, guess, probability, K),
        "majority class": measure(truth, majority, np.tile(shares, (len(truth), 1)), K),
        "nearest neighbour": measure(truth, train_labels[neighbours.number], None, K),
    }
    matrix = confusion(truth, guess, K)
    figures = {
        "kind": "classify",
        "part": "test",
        "sequences": len(test),
        "classes": list(head.classes),
        "sequences_by_class": matrix.sum(axis=1).tolist(),
        "f1_by_class": f1_by_class(matrix),
        "nearest_neighbour": neighbours.method,
        "methods": methods,
        "confusion": matrix.tolist(),
    }
    return figures, Outcome(truth, probability)
