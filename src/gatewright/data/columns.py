"""From a column of cells to numbers, or to the text of each cell."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.frame import Frame
from gatewright.data.number_format import OTHERS, PLAIN, Notation, hint
from gatewright.errors import DataError, shorten

#: Cells of text that stand for a missing value, in any case of letters.
MISSING = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", ".", "?")

#: Cells of text that are read as a Boolean column is, in any case of letters.
_TRUTH = {"true": 1.0, "false": 0.0}

#: No sound measurement is larger, and sums of squares of larger ones overflow.
LARGEST = 1e100


def is_text(column: pl.Series) -> bool:
    """Say whether a column holds text."""
    return isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum))


def text(column: pl.Series) -> pl.Series:
    """Return cells as text without the spaces around it; empty ones as null."""
    column = column.cast(pl.String).str.strip_chars()
    return column.set(column == "", None)


def given(column: pl.Series, missing: Iterable[str] = ()) -> pl.Series:
    """Return cells with each that stands for a missing value as null, by `MISSING` and further words."""
    if not is_text(column):
        return column
    column = text(column)
    words = {*MISSING, *(word.strip().lower() for word in missing)}
    return column.set(column.str.to_lowercase().is_in(sorted(words)), None)


def looks_numeric(column: pl.Series, notation: Notation = PLAIN) -> bool:
    """Say whether most of a column's first cells are numbers."""
    if not (is_text(column) or column.dtype.is_numeric()):
        return False
    head = given(column.head(1000), notation.missing).drop_nulls()
    return 2 * _cast(head, notation).count() > len(head)


def numeric_otherwise(column: pl.Series, notation: Notation) -> str:
    """Return a cell and the options that read it, where most cells are numbers in another notation; or nothing."""
    if not is_text(column) or looks_numeric(column, notation):
        return ""
    head = given(column.head(1000), notation.missing).drop_nulls()
    found = max((_cast(head, other) for other in OTHERS), key=pl.Series.count)
    cells = head.filter(found.is_not_null() & _cast(head, notation).is_null())
    return f"{shorten(cells[0])}{hint(cells, notation)}" if 2 * found.count() > len(head) else ""


def numbers(frame: Frame, name: str, notation: Notation = PLAIN) -> NDArray[np.float64]:
    """Return a column as numbers, missing ones as NaN, true and false as 1 and 0.

    Raises:
        DataError: at a cell that is neither a finite number nor missing, or where numbers and truth values mix.
    """
    column = frame.cells[name]
    dtype = column.dtype
    if not (is_text(column) or dtype.is_numeric() or isinstance(dtype, (pl.Boolean, pl.Null))):
        raise DataError(f"column {shorten(name)}", "numbers", f"cells of type {shorten(str(dtype))}")
    cells = column.fill_nan(None) if dtype.is_float() else given(column, notation.missing)
    found = _cast(cells, notation).fill_nan(None)
    if sentinels := _sentinels(notation, dtype):
        missing = found.is_in(sentinels).fill_null(False)
        cells, found = cells.set(missing, None), found.set(missing, None)
    if is_text(column) and (cells.is_not_null() & found.is_null()).any():
        found = _with_truth(frame, cells, found)
    bad = cells.is_not_null() & ~(found.abs() <= LARGEST).fill_null(False)
    if bad.any():
        row = int(bad.arg_max() or 0)
        other = hint(cells.filter(bad).head(1000), notation) if is_text(column) else ""
        expected = f"a number (up to {LARGEST:g}), or nothing where it is missing"
        raise DataError(f"column {shorten(name)}, {frame.place(row)}", expected, f"{shorten(column[row])}{other}")
    return found.fill_null(float("nan")).to_numpy().astype(np.float64)


def _cast(cells: pl.Series, notation: Notation) -> pl.Series:
    """Return cells as Float64; null where a cell is no number in this notation."""
    plain = notation.to_plain(cells) if cells.dtype == pl.String else cells
    return plain.cast(pl.Float64, strict=False)


def _sentinels(notation: Notation, dtype: pl.DataType) -> list[float]:
    """Return the numbers that stand for a missing value, as cells of this type hold them."""
    if not notation.missing:
        return []
    words = pl.Series(notation.missing, dtype=pl.String).str.strip_chars()
    found = {*_cast(words, notation), *_cast(words, PLAIN)} - {None}
    if dtype == pl.Float32:
        with np.errstate(over="ignore"):
            found = {float(np.float32(number)) for number in found}
    return sorted(found)


def _with_truth(frame: Frame, cells: pl.Series, found: pl.Series) -> pl.Series:
    """Read true and false; the column holds nothing else then."""
    truth = cells.str.to_lowercase().replace_strict(_TRUTH, default=None, return_dtype=pl.Float64)
    if truth.null_count() == len(truth):
        return found
    other = cells.is_not_null() & truth.is_null()
    if not other.any():
        return truth
    first_true, first_other = int(truth.is_not_null().arg_max() or 0), int(other.arg_max() or 0)
    row, before = max(first_true, first_other), min(first_true, first_other)
    expected = f"cells of one kind, such as {shorten(cells[before])} in {frame.place(before)}"
    raise DataError(f"column {shorten(cells.name)}, {frame.place(row)}", expected, shorten(cells[row]))
