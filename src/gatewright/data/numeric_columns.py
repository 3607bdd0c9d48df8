"""From a column of cells to numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.cell_text import is_text, known
from gatewright.data.columns import Column
from gatewright.data.number_format import PLAIN, Notation, hint
from gatewright.errors import DataError, shorten

#: Cells of text that are read as a Boolean column is, in any case of letters.
_TRUTH = {"true": 1.0, "false": 0.0}

#: No sound measurement is larger, and sums of squares of larger ones overflow.
LARGEST = 1e100

#: The place of a row in its source, as an error names it.
Place = Callable[[int], str]


def numbers(column: Column, place: Place) -> NDArray[np.float64]:
    """Return a column as numbers: missing ones as NaN, true and false as 1 and 0.

    Args:
        column: the column.
        place: names the place of a row.

    Raises:
        DataError: at a cell that is neither a finite number nor missing, or where numbers and truth values mix.
    """
    cells, notation = column.cells, column.notation
    dtype = cells.dtype
    if not (is_text(cells) or dtype.is_numeric() or isinstance(dtype, (pl.Boolean, pl.Null))):
        raise DataError(f"column {shorten(column.name)}", "numbers", f"cells of type {shorten(str(dtype))}")
    if is_text(cells) and not notation.missing:
        values = notation.cast(cells.cast(pl.String))
        if values.null_count() == cells.null_count() and (values.abs() <= LARGEST).all():
            return _to_array(values)
    known_cells = cells.fill_nan(None) if dtype.is_float() else known(cells, notation.missing)
    values = notation.cast(known_cells).fill_nan(None)
    if sentinels := _sentinels(notation, dtype):
        missing = values.is_in(sentinels).fill_null(False)
        known_cells, values = known_cells.set(missing, None), values.set(missing, None)
    if is_text(cells) and (known_cells.is_not_null() & values.is_null()).any():
        values = _with_truth(known_cells, values, place)
    bad = known_cells.is_not_null() & ~(values.abs() <= LARGEST).fill_null(False)
    if bad.any():
        row = int(bad.arg_max() or 0)
        remedy = hint(known_cells.filter(bad).head(1000), notation) if is_text(cells) else ""
        expected = f"a number (up to {LARGEST:g}), or nothing where it is missing"
        got = f"{shorten(cells[row])}{remedy}"
        raise DataError(f"column {shorten(column.name)}, {place(row)}", expected, got)
    return _to_array(values)


def _to_array(values: pl.Series) -> NDArray[np.float64]:
    return values.fill_null(float("nan")).to_numpy().astype(np.float64)


def _sentinels(notation: Notation, dtype: pl.DataType) -> list[float]:
    """Return the numbers that stand for a missing value, as cells of this type hold them."""
    if not notation.missing:
        return []
    words = pl.Series(notation.missing, dtype=pl.String).str.strip_chars()
    sentinels = {*notation.cast(words), *PLAIN.cast(words)} - {None}
    if dtype == pl.Float32:
        with np.errstate(over="ignore"):
            sentinels = {float(np.float32(number)) for number in sentinels}
    return sorted(sentinels)


def _with_truth(cells: pl.Series, values: pl.Series, place: Place) -> pl.Series:
    """Return true and false as 1 and 0; other values as they are, in a column without these.

    Raises:
        DataError: if the column holds both.
    """
    truth = cells.str.to_lowercase().replace_strict(_TRUTH, default=None, return_dtype=pl.Float64)
    if truth.null_count() == len(truth):
        return values
    other = cells.is_not_null() & truth.is_null()
    if not other.any():
        return truth
    first_true, first_other = int(truth.is_not_null().arg_max() or 0), int(other.arg_max() or 0)
    row, before = max(first_true, first_other), min(first_true, first_other)
    expected = f"cells of one kind, such as {shorten(cells[before])} in {place(before)}"
    raise DataError(f"column {shorten(cells.name)}, {place(row)}", expected, shorten(cells[row]))
