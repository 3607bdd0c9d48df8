"""Sequences in memory, with a label each or a label for each step: what a classifier or a tagger learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.array_numbers import numbers_of, without_torch
from gatewright.data.labels import StepLabels, label_text
from gatewright.errors import DataError, shorten

#: No sound measurement is larger, and sums of squares of larger ones overflow.
LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of rows, perhaps of unequal length, with a label each or a label for each step.

    Attributes:
        values: rows of each sequence (T, D), float64, NaN where missing.
        columns: names of the D columns.
        labels: label of each sequence; None where they are unknown.
        names: name of each sequence.
        places: place of each sequence in its source, such as "line 12"; "" in memory.
        steps: labels of the steps; None where they are unknown.
        rows: rows of each sequence in its table (T,), from 0 on; None where they do not come from one.
        categories: the values of each column of categories; a cell has the index of its value, from 1 on, and 0
            or NaN where it is missing.
        unread: columns of names that are not read, since nothing says so.

    >>> sequences_of([[1.0, 2.0], [3.0]], ["up", "flat"]).values[1]
    array([[3.]])
    """

    values: tuple[NDArray[np.float64], ...]
    columns: tuple[str, ...]
    labels: tuple[str, ...] | None
    names: tuple[str, ...]
    places: tuple[str, ...]
    steps: StepLabels | None = None
    rows: tuple[NDArray[np.int64], ...] | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.values)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of rows of each sequence."""
        return np.array([len(value) for value in self.values], np.int64)

    def title(self, number: int) -> str:
        """Return a sequence as an error names it."""
        place = f", {self.places[number]}" if self.places[number] else ""
        return f"sequence {shorten(self.names[number])}{place}"

    def take(self, numbers: Iterable[int]) -> Sequences:
        """Return some of the sequences."""
        chosen = [int(number) for number in numbers]
        return replace(
            self,
            values=tuple(self.values[n] for n in chosen),
            labels=None if self.labels is None else tuple(self.labels[n] for n in chosen),
            names=tuple(self.names[n] for n in chosen),
            places=tuple(self.places[n] for n in chosen),
            steps=None if self.steps is None else self.steps.take(chosen),
            rows=None if self.rows is None else tuple(self.rows[n] for n in chosen),
        )

    def joined(self, other: Sequences) -> Sequences:
        """Return these sequences and others of the same source."""
        labels, rows, steps = self.labels, self.rows, self.steps
        return replace(
            self,
            values=self.values + other.values,
            labels=None if labels is None or other.labels is None else labels + other.labels,
            names=self.names + other.names,
            places=self.places + other.places,
            steps=None if steps is None or other.steps is None else steps.joined(other.steps),
            rows=None if rows is None or other.rows is None else rows + other.rows,
        )

    def piece(self, number: int, span: slice) -> Sequences:
        """Return some steps of one of the sequences, as a sequence."""
        alone = self.take([number])
        steps, rows = alone.steps, alone.rows
        return replace(
            alone,
            values=(alone.values[0][span],),
            steps=None if steps is None else StepLabels(steps.names, (steps.numbers[0][span],)),
            rows=None if rows is None else (rows[0][span],),
        )

    def select(self, columns: Sequence[str]) -> Sequences:
        """Return the sequences with some of their columns.

        Raises:
            DataError: if one is not there.
        """
        for name in columns:
            if name not in self.columns:
                raise DataError("columns", f"the column {shorten(name)}", shorten(self.columns))
        places = [self.columns.index(name) for name in columns]
        values = tuple(value[:, places] for value in self.values)
        categories = {name: own for name, own in self.categories.items() if name in columns}
        return replace(self, values=values, columns=tuple(columns), categories=categories)

    def parts(self) -> Iterator[bytes]:
        """Yield the content as bytes, for a digest."""
        yield repr((len(self), self.columns, self.labels, self.names, self.lengths.tolist())).encode(
            "utf-8", "surrogatepass"
        )
        for value in self.values:
            one_nan = np.where(np.isnan(value), np.nan, value)
            yield np.ascontiguousarray(one_nan.astype("<f8")).tobytes()
        if self.categories:
            yield repr(sorted(self.categories.items())).encode("utf-8", "surrogatepass")
        if self.steps is not None:
            yield from self.steps.parts()

    def digest(self) -> str:
        """Return the SHA-256 of the content, in hexadecimal digits."""
        hasher = hashlib.sha256()
        for part in self.parts():
            hasher.update(part)
        return hasher.hexdigest()


def sequences_of(X: Any, y: Any = None, *, columns: Sequence[str] = (), names: Sequence[Any] = ()) -> Sequences:
    """Return arrays as sequences.

    Args:
        X: numbers (n, T) or (n, T, D), or a list of n arrays (T,) or (T, D) of any lengths; NaN where missing.
        y: n labels; None where they are unknown.
        columns: names of the D columns; x0, x1, ... by default.
        names: names of the n sequences; 0, 1, ... by default.

    Raises:
        DataError: names the argument and the sequence at fault.

    >>> sequences_of(np.zeros((2, 5, 3)), [1, 0]).columns
    ('x0', 'x1', 'x2')
    """
    if isinstance(X, Sequences):
        return X if y is None else _labelled(X, y)
    values = tuple(_rows(value, number) for number, value in enumerate(_listed(X)))
    if not values:
        raise DataError("X", "at least one sequence", "none")
    width = values[0].shape[1]
    for number, value in enumerate(values):
        if value.shape[1] != width:
            got = f"{value.shape[1]}"
            raise DataError(f"X[{number}]", f"{width} numbers a row, as in X[0]", got)
    columns = tuple(map(str, columns)) or tuple(f"x{n}" for n in range(width))
    if len(columns) != width or len(set(columns)) != width:
        raise DataError("columns", f"{width} different names", shorten(columns))
    names = tuple(map(str, names)) or tuple(map(str, range(len(values))))
    if len(names) != len(values):
        raise DataError("names", f"{len(values)} names", str(len(names)))
    found = Sequences(values, columns, None, names, ("",) * len(values))
    return found if y is None else _labelled(found, y)


def _labelled(sequences: Sequences, y: Any) -> Sequences:
    try:
        labels = [label_text(label) for label in (y.tolist() if hasattr(y, "tolist") else list(y))]
    except TypeError:
        raise DataError("y", "a list of labels", f"a {type(y).__name__}") from None
    if len(labels) != len(sequences):
        raise DataError("y", f"{len(sequences)} labels, as X has sequences", str(len(labels)))
    if "" in labels:
        raise DataError(f"y[{labels.index('')}]", "a label", "nothing")
    return replace(sequences, labels=tuple(labels))


def _listed(X: Any) -> list[Any]:
    expected = "numbers (n, T) or (n, T, D), or a list of arrays (T,) or (T, D)"
    if isinstance(X, np.ndarray):
        if X.dtype != object and X.ndim not in (2, 3):
            raise DataError("X", expected, f"an array of shape {X.shape}")
        return list(X)
    if isinstance(X, (str, bytes, dict)) or not hasattr(X, "__iter__") or hasattr(X, "columns"):
        raise DataError("X", expected, f"a {type(X).__name__}")
    return list(X)


def _rows(value: Any, number: int) -> NDArray[np.float64]:
    """Return a sequence as (T, D).

    Raises:
        DataError: if it is no such array, is empty, or has an infinite number.
    """
    name, expected = f"X[{number}]", "numbers (T,) or (T, D)"
    value = without_torch(value)
    numbers = numbers_of(value)
    try:
        array = np.asarray(value) if numbers is None else numbers
    except ValueError:
        raise DataError(name, expected, "rows of unequal length") from None
    if array.dtype.kind not in "fiub":
        got = f"cells of type {array.dtype}" if array.dtype != object else f"a {type(value).__name__} of objects"
        raise DataError(name, expected, got)
    if array.ndim not in (1, 2) or 0 in array.shape:
        got = "no row" if array.ndim in (1, 2) and len(array) == 0 else f"an array of shape {array.shape}"
        raise DataError(name, f"{expected} of at least one row", got)
    rows: NDArray[np.float64] = array.astype(np.float64).reshape(len(array), -1)
    bad = np.argwhere(~(np.isnan(rows) | (np.abs(rows) <= LARGEST)))
    if len(bad):
        t, column = map(int, bad[0])
        place = f"{name}, row {t}, column {column}"
        raise DataError(place, f"a number (up to {LARGEST:g}), or NaN where it is missing", f"{rows[t, column]:g}")
    return rows
