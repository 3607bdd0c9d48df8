"""The categories of sequences as a model knows them: codes of arrays, known and unknown values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gatewright.data.category_values import MANY, as_truth, new_indices, unknown_values
from gatewright.data.sequences import Sequences
from gatewright.errors import DataError, shorten
from gatewright.spec import NO_CATEGORY, Category

Values = tuple[str, ...]

#: Largest code of an array: float64 holds every whole number up to it.
_LARGEST = 2**53


def with_codes(sequences: Sequences, names: Iterable[str]) -> Sequences:
    """Return sequences whose columns of numbers with these names hold categories: codes, which are whole numbers.

    Args:
        sequences: from arrays, say, whose cells are numbers alone.
        names: columns that hold categories; "none" first says that there are no others.

    Raises:
        DataError: at a name that is no column, or a number that is not whole.

    >>> from gatewright.data.sequences import sequences_of
    >>> with_codes(sequences_of([[12.0, 7.0]]), ["x0"]).categories
    {'x0': ('7', '12')}
    """
    chosen = [name for name in names if name != NO_CATEGORY]
    for name in chosen:
        if name not in sequences.columns:
            raise DataError("--category", f"columns out of {shorten(sequences.columns)}", shorten(name))
    chosen = [name for name in chosen if name not in sequences.categories]
    if not chosen:
        return sequences
    values, categories = [value.copy() for value in sequences.values], dict(sequences.categories)
    for name in chosen:
        place = sequences.columns.index(name)
        for number, cells in enumerate(values):
            own = cells[:, place]
            wrong = np.flatnonzero(np.isfinite(own) & ((own != np.rint(own)) | (np.abs(own) > _LARGEST)))
            if len(wrong):
                where = f"category {shorten(name)}, row {wrong[0] + 1} of {sequences.title(number)}"
                raise DataError(where, "codes, which are whole numbers", f"{own[wrong[0]]:g}")
        every = np.unique(np.concatenate([cells[:, place] for cells in values]))
        codes = every[np.isfinite(every)]
        for cells in values:
            known = np.isfinite(cells[:, place])
            cells[known, place] = np.searchsorted(codes, cells[known, place]) + 1
        categories[name] = tuple(str(int(code)) for code in codes)
    return replace(sequences, values=tuple(values), categories=categories)


def values_of_training(train: Sequences) -> dict[str, Values]:
    """Return the values of each category that a training part has; a later one is unknown.

    Raises:
        DataError: if a column has another value in every row or in every sequence: nothing is learned from it.
    """
    known = {}
    for name, values in train.categories.items():
        place = train.columns.index(name)
        cells = [value[:, place][value[:, place] > 0] for value in train.values]
        _require_repetition(name, cells)
        indices = np.unique(np.concatenate(cells))
        known[name] = tuple(values[int(index) - 1] for index in indices)
    return known


def _require_repetition(name: str, cells: Sequence[NDArray[np.float64]]) -> None:
    """Refuse a column whose values are all different: in each sequence, or from sequence to sequence."""
    distinct = [len(np.unique(own)) for own in cells]
    rows = sum(map(len, cells))
    constant = all(count <= 1 for count in distinct)
    if constant:
        observed = [own[0] for own in cells if len(own)]
        rows, count, what = len(observed), len(np.unique(observed)), "sequences"
    else:
        count, what = sum(distinct), "rows"
    if rows >= MANY and count == rows:
        expected = "categories that occur more than once; leave out columns such as names, timestamps or texts"
        raise DataError(f"column {shorten(name)}", expected, f"another value in each of {rows:,} {what}")


def as_known(sequences: Sequences, categories: Sequence[Category]) -> Sequences:
    """Return sequences whose categories have a model's values; others, and missing ones, have index 0.

    Args:
        sequences: with the columns that the model reads.
        categories: those of the model.  Columns of numbers are codes.

    Raises:
        DataError: if a column holds categories, and the model reads numbers.
    """
    names = [each.column for each in categories]
    for name in sequences.categories:
        if name in sequences.columns and name not in names:
            raise DataError(f"column {shorten(name)}", "numbers, as in training", "categories")
    if not categories:
        return sequences
    sequences = with_codes(sequences, names)
    values = [value.copy() for value in sequences.values]
    for each in categories:
        place = sequences.columns.index(each.column)
        own = as_truth(sequences.categories[each.column], each.values)
        indices = new_indices(own, each.values)
        for cells in values:
            cells[:, place] = indices[np.nan_to_num(cells[:, place]).astype(np.int64)]
    return replace(sequences, values=tuple(values), categories={each.column: each.values for each in categories})


def notes_on_unknown(sequences: Sequences, categories: Sequence[Category]) -> tuple[str, ...]:
    """Return a line on each category with values that a model does not know."""
    known: Mapping[str, Values] = {each.column: each.values for each in categories}
    sequences = with_codes(sequences, known)
    notes = []
    for name, values in known.items():
        place = sequences.columns.index(name)
        cells = [value[:, place] for value in sequences.values]
        notes.append(unknown_values(name, cells, as_truth(sequences.categories[name], values), values))
    return tuple(filter(None, notes))
