"""Which column of a table is its time: by its cells, and by its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from gatewright.data.cell_text import is_text
from gatewright.data.columns import Columns
from gatewright.data.datetimes.inference import is_named
from gatewright.data.datetimes.timestamps import REMEDY, unclear_zone
from gatewright.errors import DataError, shorten

#: Columns of a date in several, from the largest part to the smallest.
_PARTS = ("year", "month", "day", "hour", "minute")


def find(columns: Columns, names: Sequence[str], time_format: str) -> str:
    """Return the name of the time column, of those named as one first; "" if no column looks like one.

    Args:
        columns: the columns of the table.
        names: those that may be the time.
        time_format: how times are written; "" to find it.

    Raises:
        DataError: at a column that seems to hold times, and cannot be read.
    """
    for name in sorted(names, key=lambda each: not is_named(each)):
        column = columns[name]
        if column.is_time:
            return name
        if is_named(name) and not time_format and is_text(column.cells) and column.has_date_shapes:
            break  # a column of some other name is not the table's time
    if not time_format:
        _require_none(columns, names)
    return ""


def _require_none(columns: Columns, names: Sequence[str]) -> None:
    """Refuse a column that is the time by its name or looks, since none of them can be read.

    Raises:
        DataError: names the column and the remedy.
    """
    for name in sorted(names, key=lambda each: not is_named(each)):
        cells = columns[name].cells
        if is_named(name) or (is_text(cells) and columns[name].has_date_shapes):
            first = next(iter(cells.drop_nulls().head(1)), None)
            got = "nothing" if first is None else shorten(first)
            remedy = unclear_zone(first) if isinstance(first, str) else ""
            expected = "timestamps that can be read in one way"
            raise DataError(f"time column {shorten(name)}", expected, f"{got}; {remedy or REMEDY}")
    parts = [name for part in _PARTS for name in names if name.lower() == part]
    if len(parts) > 1 and parts[0].lower() == "year" and _falls([columns[name].cells for name in parts]):
        got = "rows from new to old; a column with the whole date sorts them, --time none takes them as they are"
        raise DataError(f"columns {', '.join(map(shorten, parts))}", "rows from old to new", got)


def _falls(parts: Sequence[pl.Series]) -> bool:
    """Say whether dates in several columns, the year first, fall throughout."""
    try:
        whole = pl.DataFrame(parts).select(pl.all().cast(pl.Int64)).fill_null(0)
    except pl.exceptions.PolarsError:
        return False
    dates = whole.to_numpy() @ 100.0 ** np.arange(len(parts) - 1, -1, -1)
    return len(dates) > 1 and bool((np.diff(dates) < 0).all())
