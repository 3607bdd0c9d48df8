"""An evaluation of a tagger on the test part, next to the majority class, the label before, and single rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.labels import UNLABELLED
from gatewright.nn.model import Model
from gatewright.progress import Waits
from gatewright.tasks.classify.evaluate import Outcome
from gatewright.tasks.classify.metrics import confusion, f1_by_class, measure
from gatewright.tasks.classify.neighbours import comparable, nearest_rows
from gatewright.tasks.classify.predict import softmax
from gatewright.tasks.classify.task import encoded
from gatewright.tasks.tag.dataset import TagData
from gatewright.tasks.tag.predict import require_tagger, step_scores

Numbers = NDArray[np.int64]


def evaluate_tags(model: Model, data: TagData, waits: Waits) -> tuple[dict[str, Any], Outcome]:
    """Score the labelled steps of the test part; return the figures of ``evaluation.json``, and the plot's data.

    The majority class has the shares of the training part as its probabilities.  The label of the step before is
    the true one, which the model does not see: a line to compare with where labels change rarely.  The nearest row
    is one of the training part.

    Raises:
        DataError: if there is no test part, or it does not fit the model.
    """
    encoder, head = require_tagger(model)
    classes = head.classes
    test, K = data.require_test(), len(classes)
    labels = data.numbers(test)
    labelled = np.concatenate(labels) != UNLABELLED
    truth = np.concatenate(labels)[labelled]
    rows = encoded(model, data, test)
    with waits.counting("evaluating", len(test), "sequences") as advance:
        scores = step_scores(model, rows, advance)
    probability = softmax(np.concatenate(scores)[labelled])
    guess = probability.argmax(axis=1)
    shares = data.counts(data.train) / data.counts(data.train).sum()
    common = int(shares.argmax())
    before = np.concatenate([labels_before(own, common) for own in labels])[labelled]
    asked = np.concatenate(comparable(rows, encoder))[labelled]
    known_labels = np.concatenate(data.numbers(data.train))
    known = comparable(encoded(model, data, data.train), encoder)
    known_rows = np.concatenate(known)[known_labels != UNLABELLED]
    known_labels = known_labels[known_labels != UNLABELLED]
    with waits.counting("comparing with the training part", len(asked), "steps") as advance:
        neighbours = nearest_rows(known_rows, asked, advance)
    flat = np.broadcast_to(shares, (len(truth), K))
    matrix = confusion(truth, guess, K)
    figures = {
        "kind": "tag",
        "part": "test",
        "sequences": len(test),
        "steps": len(truth),
        "unlabelled_steps": int(test.lengths.sum()) - len(truth),
        "classes": list(classes),
        "steps_by_class": matrix.sum(axis=1).tolist(),
        "f1_by_class": f1_by_class(matrix),
        "nearest_neighbour": neighbours.method,
        "methods": {
            "model": measure(truth, guess, probability, K),
            "majority class": measure(truth, np.full(len(truth), common), flat, K),
            "true label of the step before": measure(truth, before, None, K),
            "nearest neighbour": measure(truth, known_labels[neighbours.number], None, K),
        },
        "confusion": matrix.tolist(),
    }
    return figures, Outcome(truth, probability)


def labels_before(labels: Numbers, start: int) -> Numbers:
    """Return for each step the last label before it, or ``start`` before the first one.

    >>> labels_before(np.array([-1, 2, -1, 1, 0]), start=7).tolist()
    [7, 7, 2, 2, 1]
    """
    steps = np.arange(len(labels))
    last = np.maximum.accumulate(np.where(labels != UNLABELLED, steps, -1))
    before = np.concatenate([[-1], last[:-1]])
    return np.where(before >= 0, labels[np.maximum(before, 0)], start)
