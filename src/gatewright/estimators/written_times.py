"""Timestamps written as the cells of a table are: as text in its pattern, or as numbers with its meaning.

A way of writing is taken only if it gives the table's own cells for the times that were read from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.cell_text import text
from gatewright.data.frame import Frame
from gatewright.data.table import Table
from gatewright.data.time_zones import LOCAL, Times, to_utc
from gatewright.tasks.forecast.forecast_frame import written

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d")
_CLOCKS = (" %H:%M:%S", " %H:%M", "T%H:%M:%S", "T%H:%M", " %I:%M %p", " %I:%M:%S %p", "")
_DIGITS = ("%Y", "%Y%m", "%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S")
_FORMATS = (*(day + clock for clock in _CLOCKS for day in _DATES), *_DIGITS, "%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y")

#: How an offset such as "+02:00" may be written behind a time.
_OFFSETS: tuple[Callable[[str], str], ...] = (
    lambda offset: offset,
    lambda _: "",
    lambda offset: "Z" if offset == "+00:00" else offset,
    lambda offset: offset.replace(":", ""),
)

#: Cells of the table that a way of writing has to give.
_CHECKED = 64

#: Microseconds of the units since 1970.
_UNITS = (1_000_000, 1000, 1)


def texts_like(column: pl.Series, local: Times, utc: Times, table: Table, frame: Frame) -> list[str]:
    """Return timestamps as text in the pattern of the table's cells; in ISO 8601, if that is not known.

    Args:
        column: the timestamps.
        local: the same, as the table's clock shows them.
        utc: the same in UTC.
        table: the table.
        frame: its cells.
    """
    if frame.files:  # whose lines begin anew in each file
        return written(column, table)
    times, cells = _own(table, frame)
    own, offsets = table.clock.local(times), table.clock.offsets(times)
    words = text(cells).to_list()
    given = (table.roles.time_format,) if table.roles.time_format else ()
    clocks = [(own, offsets, local, _offsets_ahead(column, local, table))]
    if any(offsets):  # text in UTC, where the model's clock is another one
        clocks.append((_utc(times, table), ["+00:00"] * len(words), utc, ["+00:00"] * len(column)))
    for before, marks, after, marks_after in clocks:
        for pattern in (*given, *_FORMATS):
            bare = _formatted(before, pattern)
            for write in _OFFSETS:
                if words == [each + write(mark) for each, mark in zip(bare, marks, strict=True)]:
                    ahead = zip(_formatted(after, pattern), marks_after, strict=True)
                    return [each + write(mark) for each, mark in ahead]
    return written(column, table)


def numbers_like(local: Times, utc: Times, table: Table, frame: Frame) -> NDArray[np.int64] | None:
    """Return timestamps as numbers with the meaning of the table's; None if that is not known.

    Args:
        local: the timestamps, as the table's clock shows them.
        utc: the same in UTC.
        table: the table.
        frame: its cells.
    """
    if frame.files:
        return None
    times, cells = _own(table, frame)
    own, numbers = table.clock.local(times), cells.cast(pl.Float64).to_numpy()
    own_utc = _utc(times, table)
    for write in _meanings():
        if np.array_equal(write(own, own_utc), numbers):
            return write(local, utc)
    return None


def _own(table: Table, frame: Frame) -> tuple[Times, pl.Series]:
    """Return some timestamps of the first series, and the cells that they were read from."""
    series = table.series[0]
    assert series.times is not None
    rows = np.flatnonzero(series.lines)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _CHECKED)).astype(np.int64)]
    places = np.searchsorted(frame.lines, series.lines[rows])
    return series.times[rows], frame.cells[table.roles.time].gather(places)


def _utc(times: Times, table: Table) -> Times:
    """Return stored times in UTC; as they are where they have no zone."""
    zone = "" if table.clock.absolute or table.clock.zone == LOCAL else table.clock.zone
    return to_utc(times, zone)[0] if zone else times


def _formatted(times: Times, pattern: str) -> list[str]:
    moments: list[datetime] = times.astype("datetime64[us]").tolist()
    return [moment.strftime(pattern) for moment in moments]


def _offsets_ahead(column: pl.Series, local: Times, table: Table) -> list[str]:
    """Return the offsets of timestamps; those in an hour that the clock shows twice differ."""
    if table.clock.absolute and getattr(column.dtype, "time_zone", None) is not None:
        return table.clock.offsets(column.to_physical().to_numpy().astype("datetime64[us]"))
    return table.clock.offsets(table.clock.from_local(local))


def _meanings() -> Iterator[Callable[[Times, Times], NDArray[np.int64]]]:
    """Yield the ways in which whole numbers stand for times, from local time and UTC."""
    for pattern in _DIGITS:
        yield lambda local, _, pattern=pattern: np.array(_formatted(local, pattern), np.int64)  # type: ignore[misc]
    for unit in _UNITS:
        yield lambda _, utc, unit=unit: utc.astype("datetime64[us]").astype(np.int64) // unit  # type: ignore[misc]
    yield lambda _, utc: utc.astype("datetime64[us]").astype(np.int64) * 1000
