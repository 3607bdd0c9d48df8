"""The rows that a forecast reads of a series: those up to it, and what is known of the rows ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gatewright.data.public_holidays import counts
from gatewright.data.table import Series, Table
from gatewright.errors import DataError
from gatewright.spec import SeriesEncoder
from gatewright.tasks.forecast.forecast_frame import ahead_of, shown


def rows_with_ahead(
    one: Series, read: slice, table: Table, encoder: SeriesEncoder, horizon: int, fill: str
) -> Series:
    """Return rows of a series, and ``horizon`` more rows with only what is known in advance.

    Args:
        one: the series.
        read: the rows; the last is the one before the forecast.
        table: its table, as `gatewright.tasks.forecast.fitted_table.fitted` returns it.
        encoder: what the model reads.
        horizon: number of rows after them.
        fill: "forward" or "mean" if missing inputs will be filled.

    Raises:
        DataError: if an input known in advance has no value where it is needed.
    """
    rows = read.stop
    first = len(encoder.targets) + len(encoder.past)
    last = first + len(encoder.known)
    ahead = np.full((horizon, one.values.shape[1]), np.nan)
    future = one.values[rows : rows + horizon]
    ahead[: len(future), first:last] = future[:, first:last]
    ahead[:, last:] = one.values[rows - 1, last:]
    _, when = ahead_of(one, rows, table, horizon)
    if encoder.holidays:  # known without a row for them
        local = one.clock.local(np.asarray(when))
        ahead[:, last - len(encoder.holidays) : last] = counts(local, table.step, encoder.holidays)
    usable = np.isfinite(ahead[:, first:last])
    # A row without a category has an unknown one; a row that is not there has none.
    usable[: len(future), [name in table.categories for name in encoder.known]] = True
    if fill:
        usable[: len(future)] = True
    if not usable.all():
        row, column = map(int, np.argwhere(~usable)[0])
        expected = f"a value in each of the {horizon} rows after the last observed target of {one.title}"
        there = np.asarray(when)[row : row + 1]
        got = f"none in row {there[0]}" if one.times is None else f"none at {shown(there, table)}"
        raise DataError(f"known input {encoder.known[column]!r}", expected, got)
    times = None if one.times is None else np.concatenate([one.times[read], np.asarray(when)])
    lines: NDArray[np.int64] = np.concatenate([one.lines[read], np.zeros(horizon, dtype=np.int64)])
    return replace(one, times=times, values=np.concatenate([one.values[read], ahead]), lines=lines)
