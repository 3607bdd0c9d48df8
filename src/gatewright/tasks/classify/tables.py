"""The layout of an evaluation of a classifier or a tagger in the terminal."""

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
    unit = "steps" if "steps" in figures else "sequences"
    count = figures[unit]
    table = empty(f"test part, {count:,} {unit if count > 1 else unit[:-1]}", list(_COLUMNS.values()))
    for name, measures in figures["methods"].items():
        title = figures["nearest_neighbour"] if name == "nearest neighbour" else name
        cells = ["–" if measures[key] is None else f"{measures[key]:.4f}" for key in _COLUMNS]
        table.add_row(title, *cells)
    yield table
    classes = figures["classes"]
    if len(classes) <= MOST_CLASSES:
        matrix = empty("confusion matrix", [*map(escape, classes), "F1"])
        matrix.columns[0].header = "true \N{DOWNWARDS ARROW}  predicted \N{RIGHTWARDS ARROW}"
        scores = figures.get("f1_by_class", [None] * len(classes))
        for name, row, score in zip(classes, figures["confusion"], scores, strict=True):
            matrix.add_row(escape(name), *map(str, row), "–" if score is None else f"{score:.4f}")
        yield matrix
