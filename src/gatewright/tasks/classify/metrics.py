"""Metrics of a classification, from labels, predicted classes and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Probabilities = NDArray[np.float64]

#: Bins of equal width that the calibration is measured in.
BINS = 15


def measure(truth: Numbers, guess: Numbers, probability: Probabilities | None, classes: int) -> dict[str, Any]:
    """Return the measures of a method; those of probabilities are None without them.

    Args:
        truth: number of the class of each sequence (n,).
        guess: number of the predicted class (n,).
        probability: of each class (n, classes), or None.
        classes: number of classes.
    """
    matrix = confusion(truth, guess, classes)
    measures: dict[str, Any] = {
        "accuracy": float((truth == guess).mean()),
        "balanced_accuracy": balanced_accuracy(matrix),
        "macro_f1": macro_f1(matrix),
        "roc_auc": None,
        "log_loss": None,
        "calibration_error": None,
    }
    if probability is not None:
        measures["roc_auc"] = roc_auc(truth, probability)
        measures["log_loss"] = log_loss(truth, probability)
        measures["calibration_error"] = calibration_error(truth, probability)
    return measures


def confusion(truth: Numbers, guess: Numbers, classes: int) -> Numbers:
    """Return counts (classes, classes): rows are true classes, columns predicted ones.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    array([[1, 0],
           [1, 1]])
    """
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def balanced_accuracy(matrix: Numbers) -> float:
    """Return the mean share of each true class that is recognised, over the classes that occur."""
    counts = matrix.sum(axis=1)
    return float((np.diag(matrix)[counts > 0] / counts[counts > 0]).mean())


def macro_f1(matrix: Numbers) -> float:
    """Return the mean F1 score over the classes that occur, as true or as predicted ones."""
    return float(np.mean([score for score in f1_by_class(matrix) if score is not None]))


def f1_by_class(matrix: Numbers) -> list[float | None]:
    """Return the F1 score of each class; None for one that is neither a true nor a predicted one."""
    both = matrix.sum(axis=1) + matrix.sum(axis=0)
    return [2 * int(hit) / int(count) if count else None for hit, count in zip(np.diag(matrix), both, strict=True)]


def roc_auc(truth: Numbers, probability: Probabilities) -> float | None:
    """Return the area under the ROC curve, one class against the rest, as a mean over the classes.

    It is the probability that a sequence of the class gets a higher probability of it than another one (Hanley &
    McNeil 1982).  None if a class, or its rest, does not occur.
    """
    areas = []
    for number in range(probability.shape[1]):
        positive = truth == number
        count, rest = int(positive.sum()), int((~positive).sum())
        if not count or not rest:
            return None
        ranks = _ranks(probability[:, number])
        areas.append((ranks[positive].sum() - count * (count + 1) / 2) / (count * rest))
    return float(np.mean(areas))


def log_loss(truth: Numbers, probability: Probabilities) -> float:
    """Return the mean negative log-likelihood of the true classes, in nats; 2.2e-16 is the least probability."""
    own = probability[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(own, np.finfo(np.float64).eps)).mean())


def calibration_error(truth: Numbers, probability: Probabilities) -> float:
    """Return the expected calibration error: how far accuracy and probability of the predicted class differ.

    A mean over `BINS` bins of that probability, weighted by their sequences (Guo et al. 2017, arXiv:1706.04599).
    """
    counts, confidence, accuracy = calibration(truth, probability)
    return float((counts * np.abs(confidence - accuracy)).sum() / counts.sum())


def calibration(
    truth: Numbers, probability: Probabilities
) -> tuple[Numbers, NDArray[np.float64], NDArray[np.float64]]:
    """Return count, mean probability and accuracy of the sequences in each bin; zeros where it has none.

    A probability on the edge of two bins is in the lower one.
    """
    top = probability.max(axis=1)
    correct = probability.argmax(axis=1) == truth
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], top)
    counts = np.bincount(bins, minlength=BINS)
    sums = (np.bincount(bins, weights, minlength=BINS) for weights in (top, correct.astype(np.float64)))
    confidence, accuracy = (total / np.maximum(counts, 1) for total in sums)
    return counts, confidence, accuracy


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1 on; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[place]
