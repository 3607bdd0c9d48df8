"""The values of categories in a table as a model knows them: those of the training part, or of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gatewright.data.split import Parts
from gatewright.data.table import Table
from gatewright.data.window_checks import listed
from gatewright.errors import DataError, shorten

Values = tuple[str, ...]

#: Rows of a training part from which on a category has to occur again.
MANY = 20


def values_of_training(table: Table, parts: Sequence[Parts]) -> Table:
    """Return a table whose categories have the values of the training part alone; others are unknown.

    Raises:
        DataError: if a column has another value in every row, such as timestamps: nothing is learned from it.
    """
    known: dict[str, Values] = {}
    for name, values in table.categories.items():
        place = table.roles.columns.index(name)
        cells = [each.values[: part.valid, place] for each, part in zip(table.series, parts, strict=True)]
        if name not in table.roles.static:
            _require_repetition(name, cells)
        indices = np.unique(np.concatenate(cells))
        known[name] = tuple(values[int(index) - 1] for index in indices[indices > 0])
    return with_values(table, known)


def _require_repetition(name: str, cells: Sequence[NDArray[np.float64]]) -> None:
    """Refuse a column that never has a value twice in the training part of a series."""
    observed = [values[values > 0] for values in cells]
    rows, distinct = sum(map(len, observed)), sum(len(np.unique(values)) for values in observed)
    if rows >= MANY and distinct == rows:
        expected = "categories that occur more than once; leave out columns such as timestamps (--time) or texts"
        raise DataError(f"column {shorten(name)}", expected, f"another value in each of {rows:,} rows")


def with_values(table: Table, known: Mapping[str, Values]) -> Table:
    """Return a table whose categories have these values in this order; others are unknown.

    Args:
        table: the table.
        known: the values of columns of categories.
    """
    changes = {name: known[name] for name, own in table.categories.items() if known.get(name, own) != own}
    if not changes:
        return table
    places = [table.roles.columns.index(name) for name in changes]
    own = {name: as_truth(table.categories[name], values) for name, values in changes.items()}
    maps = [new_indices(own[name], values) for name, values in changes.items()]
    series = []
    for each in table.series:
        cells = each.values.copy()
        for place, new in zip(places, maps, strict=True):
            observed = np.isfinite(cells[:, place])
            cells[observed, place] = new[cells[observed, place].astype(np.int64)]
        series.append(replace(each, values=cells))
    notes = [
        unknown_values(name, [each.values[:, place] for each in table.series], own[name], changes[name])
        for name, place in zip(changes, places, strict=True)
    ]
    categories = {**table.categories, **changes}
    return replace(table, series=tuple(series), categories=categories, notes=(*table.notes, *filter(None, notes)))


def as_truth(own: Values, known: Values) -> Values:
    """Return the values of a table with false and true in place of 0 and 1, where the known ones are truth values.

    >>> as_truth(("0", "1"), ("false", "true")), as_truth(("0", "2"), ("false", "true"))
    (('false', 'true'), ('0', '2'))
    """
    if set(known) <= {"false", "true"} and set(own) <= {"0", "1"}:
        return tuple("true" if value == "1" else "false" for value in own)
    return own


def new_indices(old: Values, new: Values) -> NDArray[np.float64]:
    """Return the new index of each old one."""
    places = {value: number for number, value in enumerate(new, start=1)}
    return np.array([0, *(places.get(value, 0) for value in old)], np.float64)


def unknown_values(name: str, cells: Sequence[NDArray[np.float64]], values: Values, known: Values) -> str:
    """Return a line on the values of a column that occur, and are not among the known ones; "" if all are.

    Args:
        name: name of the column.
        cells: indices of the values, from 1 on, of each series.
        values: the values of the table.
        known: those of the model.
    """
    seen = set(known)
    numbers = [number for number, value in enumerate(values, start=1) if value not in seen]
    if not numbers:
        return ""
    own = np.concatenate([each[np.isin(each, numbers)] for each in cells])
    rows, unknown = len(own), [shorten(values[int(number) - 1]) for number in np.unique(own)]
    if not rows:
        return ""
    of = "1 row" if rows == 1 else f"{rows:,} rows"
    return f"{name}: unknown to the training, in {of}: {listed(unknown)}"
