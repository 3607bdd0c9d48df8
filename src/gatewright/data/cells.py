"""From a column of cells to numbers, or to the text of each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.spec import shown

if TYPE_CHECKING:
    from gatewright.data.frame import Frame

#: Cells of text that stand for a missing value, in any case of letters.
MISSING = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", ".", "?")

#: No sound measurement is larger, and sums of squares of larger ones overflow.
LARGEST = 1e100


def is_text(column: pl.Series) -> bool:
    """Say whether a column holds text."""
    return isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum))


def text(column: pl.Series) -> pl.Series:
    """Return cells as text without the spaces around it; empty ones as null."""
    column = column.cast(pl.String).str.strip_chars()
    return column.set(column == "", None)


def given(column: pl.Series) -> pl.Series:
    """Return cells with each that stands for a missing value as null."""
    if not is_text(column):
        return column
    column = text(column)
    return column.set(column.str.to_lowercase().is_in(MISSING), None)


def looks_numeric(column: pl.Series) -> bool:
    """Say whether most of a column's first cells are numbers."""
    if not (is_text(column) or column.dtype.is_numeric()):
        return False
    head = given(column.head(1000)).drop_nulls()
    return 2 * int(head.cast(pl.Float64, strict=False).is_not_null().sum()) > len(head)


def numbers(frame: Frame, name: str) -> NDArray[np.float64]:
    """Return a column as numbers, missing ones as NaN.

    Raises:
        DataError: at a cell that is neither a finite number nor missing.
    """
    column = frame.cells[name]
    dtype = column.dtype
    if not (is_text(column) or dtype.is_numeric() or isinstance(dtype, (pl.Boolean, pl.Null))):
        raise DataError(f"column {shown(name)}", "numbers", f"cells of type {shown(str(dtype))}")
    cells = column.fill_nan(None) if dtype.is_float() else given(column)
    found = cells.cast(pl.Float64, strict=False).fill_nan(None)
    bad = cells.is_not_null() & ~(found.abs() <= LARGEST).fill_null(False)
    if bad.any():
        row = int(bad.arg_max() or 0)
        comma = is_text(column) and str(cells[row]).replace(",", "", 1).lstrip("+-").isdigit()
        hint = "; a decimal point is needed, not a comma" if comma else ""
        expected = f"a number (up to {LARGEST:g}), or nothing where it is missing"
        raise DataError(f"column {shown(name)}, {frame.place(row)}", expected, f"{shown(column[row])}{hint}")
    return found.fill_null(float("nan")).to_numpy().astype(np.float64)
