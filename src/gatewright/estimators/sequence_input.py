"""Sequences as a caller has them, and the labels of a fitted model with the caller's types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from gatewright.data.array_numbers import without_torch
from gatewright.data.dataframes import is_dataframe
from gatewright.data.labels import label_text
from gatewright.data.sequences import Sequences, sequences_of
from gatewright.data.sources import as_path, frame_of
from gatewright.errors import DataError, shorten
from gatewright.estimators.arguments import roles_of
from gatewright.tasks.classify.dataset import SequenceSource


class SequenceColumns(TypedDict, total=False):
    """Columns of a long table of sequences by their role; each a name, or a sequence of names."""

    id: str | Sequence[str]
    label: str
    features: str | Sequence[str]
    category: str | Sequence[str]
    time: str


def roles_of_sequences(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a long table by their role.

    Raises:
        GatewrightError: if a role is unknown, or is no name.
    """
    return roles_of(columns, SequenceColumns, single=("label", "time"))


def is_table(X: Any, y: Any, roles: Any) -> bool:
    """Say whether sequences come as a long table: a file, or a frame with an id."""
    return isinstance(X, (str, Path)) or (y is None and "id" in roles and is_dataframe(X))


def source_of(X: Any, y: Any, roles: dict[str, Any], features: Any = ()) -> SequenceSource:
    """Return sequences in memory, or a long table to read.

    Raises:
        DataError: if it is ambiguous which of the two is meant.
    """
    if is_table(X, y, roles):
        require_no_labels(y)
        return as_path(X) if isinstance(X, (str, Path)) else frame_of(X)
    if is_dataframe(X) and not hasattr(X, "to_frame"):
        if roles and y is not None:
            expected = "no y with a long table, which has its labels in the column label"
            raise DataError("y", expected, f"{shorten(sorted(roles))} and y")
        if roles or (y is None and not len(features)):
            raise DataError(
                "id", "the column that names the sequence of a row, or y for a row a sequence", "neither"
            )
        _require_wide(X, tuple(map(str, features)))
        X = np.asarray(X)
    elif set(roles) - {"category"}:
        role = next(role for role in roles if role != "category")
        raise DataError(role, "a name only for columns of a table", f"a {type(X).__name__}")
    return sequences_of(X, y, columns=columns_of_model(X, features))


def _require_wide(X: Any, features: tuple[str, ...]) -> None:
    """Refuse a frame without an id whose rows may be steps: its names would be dropped, its cells read as steps.

    Args:
        X: a data frame.
        features: the columns of a model; none before there is one.

    Raises:
        DataError: if the model reads columns with names of their own, or the frame has its columns next to others.
    """
    if not features:
        return
    columns: Any = getattr(X, "column_names", None) or getattr(X, "columns", ())
    names = list(map(str, columns))
    unnamed = {f"x{number}" for number in range(max(len(names), len(features)))}
    if not set(features) <= unnamed or (set(features) <= set(names) and not set(names) <= unnamed):
        expected = (
            f"the column that names the sequence of a row, next to {shorten(list(features))} of the model; "
            "or an array, such as of frame.to_numpy(), for a row a sequence"
        )
        raise DataError("id", expected, f"none with a data frame of {shorten(names)}")


def is_any_table(X: Any) -> bool:
    """Say whether steps are the rows of a table: a file or a frame."""
    return isinstance(X, (str, Path)) or (is_dataframe(X) and not hasattr(X, "to_frame"))


def table_source(X: Any) -> Any:
    """Return a table as a source: a path, or rows that can be read repeatedly.

    Raises:
        DataError: if it cannot be read.
    """
    return as_path(X) if isinstance(X, (str, Path)) else frame_of(X)


def require_no_labels(y: Any) -> None:
    """Refuse labels next to a table, which has a column of them.

    Raises:
        DataError: if there are some.
    """
    if y is not None:
        raise DataError("y", "None with a table: label names its column", f"a value of type {type(y).__name__}")


def columns_of_model(X: Any, features: Any) -> tuple[str, ...]:
    """Return the names of a model's columns for arrays of as many; none for arrays of another width."""
    if not hasattr(X, "__len__"):
        return ()
    width = X.shape[2] if getattr(X, "ndim", 0) == 3 else 1
    if getattr(X, "ndim", 0) not in (2, 3) and not isinstance(X, Sequences) and len(X):
        first = np.asarray(without_torch(X[0]))
        width = first.shape[1] if first.ndim == 2 else 1
    return tuple(features) if len(features) == width else ()


def distinct_labels(y: Any) -> dict[str, Any]:
    """Return the labels by their text.

    Raises:
        DataError: if two labels differ, but not as text.
    """
    labels: dict[str, Any] = {}
    for label in y.tolist() if hasattr(y, "tolist") else list(y):
        text = label_text(label)
        if labels.setdefault(text, label) != label:
            raise DataError("y", "labels that differ as text", f"{labels[text]!r} and {label!r}")
    return labels


def typed_classes(names: Sequence[str], labels: Mapping[str, Any], init: Any) -> NDArray[np.generic]:
    """Return the classes of a model with the types of the labels that it learned from.

    Args:
        names: the classes as text, in order.
        labels: labels of the training by their text.
        init: what the training started from; a fitted estimator knows the types of classes that the labels lack.

    >>> typed_classes(("1", "2"), {"2": 2, "1": 1}, None), typed_classes(("1", "2"), {"1": 1}, None)
    (array([1, 2]), array(['1', '2'], dtype='<U1'))
    """
    earlier = {label_text(label): label for label in getattr(init, "classes_", ())}
    values = [labels.get(name, earlier.get(name)) for name in names]
    return np.array(list(names) if any(value is None for value in values) else values)
