"""The layout of an evaluation of a classifier in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from gatewright.tasks.tables import empty

_COLUMNS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "calibration_error": "ECE",
}

#: Most classes whose confusion matrix is printed; ``evaluation.json`` and the plot have all.
MOST_CLASSES = 12


def tables(figures: dict[str, Any]) -> Iterator[Table]:
    """Yield the measures of each method, and the confusion matrix of few classes."""
    count = figures["sequences"]
    table = empty(f"test part, {count:,} sequence{'s' if count > 1 else ''}", list(_COLUMNS.values()))
    for name, measures in figures["methods"].items():
        title = figures["nearest_neighbour"] if name == "nearest neighbour" else name
        cells = ["–" if measures[key] is None else f"{measures[key]:.4f}" for key in _COLUMNS]
        table.add_row(title, *cells)
    yield table
    classes = figures["classes"]
    if len(classes) <= MOST_CLASSES:
        matrix = empty("confusion matrix", list(map(escape, classes)))
        matrix.columns[0].header = "true \N{DOWNWARDS ARROW}  predicted \N{RIGHTWARDS ARROW}"
        for name, row in zip(classes, figures["confusion"], strict=True):
            matrix.add_row(escape(name), *map(str, row))
        yield matrix
