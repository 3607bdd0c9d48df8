"""The picture of an evaluation: the confusion matrix, and how far probabilities can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatewright.tasks.classify.evaluate import Outcome
from gatewright.tasks.classify.metrics import calibration, calibration_error, confusion

#: Most classes whose counts are written into the matrix.
MOST_COUNTS = 20

_STYLE: dict[Any, Any] = {"text.parse_math": False}  # a class may be called "$"


def plot_classes(path: Path, classes: tuple[str, ...], outcome: Outcome) -> None:
    """Draw the confusion matrix and the reliability diagram of a classifier.

    Args:
        path: the file to write, a PNG.
        classes: names of the classes.
        outcome: true classes and probabilities of the test part.
    """
    matrix = confusion(outcome.truth, outcome.probability.argmax(axis=1), len(classes))
    with mpl.rc_context(_STYLE):
        size = float(np.clip(1.6 + 0.36 * len(classes), 4.2, 11))
        figure = Figure(figsize=(size + 4.6, size), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(size, 4.2))
        _draw_matrix(left, classes, matrix)
        _draw_calibration(right, outcome)
        figure.savefig(path, format="png")


def _draw_matrix(axes: Axes, classes: tuple[str, ...], matrix: NDArray[np.int64]) -> None:
    """Draw counts, coloured by their share of the true class."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [name if len(name) <= 16 else f"{name[:15]}…" for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    accuracy = np.trace(matrix) / matrix.sum()
    axes.set_title(f"confusion matrix, accuracy {accuracy:.1%}", fontsize=10)
    if len(classes) > MOST_COUNTS:
        return
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)


def _draw_calibration(axes: Axes, outcome: Outcome) -> None:
    """Draw accuracy over the probability of the predicted class; the diagonal is a calibrated model."""
    counts, confidence, accuracy = calibration(outcome.truth, outcome.probability)
    there = counts > 0
    axes.plot([0, 1], [0, 1], color="#999999", lw=1, ls="--", label="calibrated")
    sizes = 15 + 160 * counts[there] / counts.max()
    axes.scatter(confidence[there], accuracy[there], sizes, color="#0072B2", alpha=0.8, label="model", zorder=3)
    axes.set_xlim(0, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("probability of the predicted class")
    axes.set_ylabel("accuracy")
    error = calibration_error(outcome.truth, outcome.probability)
    axes.set_title(f"calibration, expected error {error:.3f}", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left", fontsize=8)
