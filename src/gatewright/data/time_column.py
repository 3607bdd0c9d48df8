"""Which column of a table is its time: by its cells, and by its name."""

from __future__ import annotations

import re
from itertools import permutations

import numpy as np
import polars as pl

from gatewright.data import numeric_timestamps
from gatewright.data.columns import given, is_text, text
from gatewright.data.frequency import find_step, positions
from gatewright.data.time_zones import Times
from gatewright.data.timestamp_patterns import EITHER, PLAIN
from gatewright.data.timestamps import HEAD, HINT, readings, unclear_zone
from gatewright.errors import DataError, shorten

#: Words of which the name of a time column is made, one of the first at least.
_TIME_WORDS = {"date", "dates", "datetime", "datetimes", "time", "times", "timestamp", "timestamps", "ds"}
_BESIDE = {
    "utc", "gmt", "local", "iso", "unix", "epoch", "posix", "the", "of", "and", "start", "begin", "from", "end",
    "to", "obs", "observation", "observed", "recorded", "measurement", "measured", "sample", "sampling", "reading",
    "stamp",
}  # fmt: skip
#: Words for parts of a time: numbers of that name are one where they can be, and rise or fall throughout.
_PART_WORDS = {"year", "month", "day", "week", "quarter", "period", "when", "epoch", "dt", "ts", "unix", "posix"}

#: Rows from which on numbers without a name are known for times, and the ways in which counts are written too.
_SURE, _LIKE_COUNTS = 8, {"4 digits", "days of a spreadsheet"}
_MINUTE = 60_000_000

#: Patterns that codes and versions fit too: without a name, such a column has to rise or fall throughout.
_LIKE_CODES = {"day of the year", "year, month", "month, year", "plain date", "plain date and clock"}

#: Columns of a date in several, from the largest part to the smallest.
_PARTS = ("year", "month", "day", "hour", "minute")

_CLOCK = r"(?:[t, ]+\d{1,2}:\d{2}.*)?$"
#: Shapes of dates that cannot be read without a word on their order, or on what follows them.  The groups are
#: numbers of which one is the day and another the month.
_SHAPES = (
    r"(?i)^(\d{1,2})[-/](\d{1,2})[-/](\d{2})" + _CLOCK,
    r"(?i)^(\d{2})\.(\d{2})\.(\d{2})" + _CLOCK,
    r"^\d{4}[-/.](\d{1,2})[-/.](\d{1,2})(?:\D.*)?$",
    r"^(\d{1,2})[-/.](\d{1,2})[-/.]\d{4}(?:\D.*)?$",
)
_NAMED = (
    r"(?i)^\d{1,2}[-/. ](?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?[-/. ,]+'?\d{2}" + _CLOCK,
    r"(?i)^(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[-/. ]'?\d{2}$",
)


def looks_like_times(column: pl.Series, time_format: str = "") -> bool:
    """Say whether most of a column's first cells are times that can be read.

    Numbers are where the column's name says so, or where they go on as times alone do.
    """
    if isinstance(column.dtype, (pl.Date, pl.Datetime)):
        return True
    if not (is_text(column) or column.dtype.is_numeric()):
        return False
    if numeric_timestamps.looks_like_number(column) and not time_format:
        return _numbers_are_times(column)
    head = _head(column)
    if len(head) == 0:
        return False
    best = min(readings(head, time_format), key=lambda reading: reading.unread)
    if 2 * best.unread >= len(head):
        return False
    return bool(time_format) or best.way not in _LIKE_CODES or is_named(column.name) or _one_way(best.clock)


def _head(column: pl.Series) -> pl.Series:
    """Return the text of the first cells that are not missing."""
    return given(text(column.head(10 * HEAD))).drop_nulls().head(HEAD)


def _numbers_are_times(column: pl.Series) -> bool:
    cells, named = column.drop_nulls(), is_named(column.name)
    clock, way = numeric_timestamps.times(cells.head(HEAD))
    if len(clock) == 0 or 2 * int(np.isnat(clock).sum()) >= len(clock):
        return False
    if named and way != "4 digits":
        return True
    # Whatever else it may count, a column that is no time neither rises nor falls like one.
    if not _one_way(clock):
        return False
    if named or _words(column.name) & _PART_WORDS:
        return _one_way(numeric_timestamps.times(cells)[0])
    if len(clock) < _SURE or way in _LIKE_COUNTS or not _even(clock):
        return False
    clock, _ = numeric_timestamps.times(cells)
    return _one_way(clock) and _even(clock)


def _even(clock: Times) -> bool:
    """Whether times are whole minutes apart, nearly all of them by one step."""
    clock = np.sort(clock)
    if np.isnat(clock).any() or (np.diff(clock).astype(np.int64) % _MINUTE != 0).any():
        return False
    places = positions(clock, find_step(clock))
    return int(np.isfinite(places).sum()) >= 0.95 * len(clock) and float(np.median(np.diff(places))) == 1


def _one_way(clock: Times) -> bool:
    """Whether times rise, or fall, throughout."""
    steps = np.diff(clock[~np.isnat(clock)]).astype(np.int64)
    return len(steps) > 0 and bool((steps > 0).all() or (steps < 0).all())


def _words(name: str) -> set[str]:
    """Return the words of a name, in small letters."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.findall(r"[a-z]+", split.lower()))


def is_named(name: str) -> bool:
    """Say whether a column's name says that it is the time.

    >>> [is_named(name) for name in ("Date/Time", "timestamp_utc", "response_time", "time (s)", "update")]
    [True, True, False, False, False]
    """
    words = _words(name)
    return bool(words & _TIME_WORDS) and words <= _TIME_WORDS | _BESIDE


def find(cells: pl.DataFrame, names: list[str], time_format: str) -> str:
    """Return the column of timestamps, one of that name before others; "" where no column seems to be one.

    Raises:
        DataError: at a column that seems to be one, and cannot be read.
    """
    for name in sorted(names, key=lambda each: not is_named(each)):
        if looks_like_times(cells[name], time_format):
            return name
        if is_named(name) and not time_format and is_text(cells[name]) and _unclear(cells[name]):
            break  # another one, of some other name, is not the table's time
    if not time_format:
        _require_none(cells, names)
    return ""


def _require_none(cells: pl.DataFrame, names: list[str]) -> None:
    """Raise if one of these columns is a time by its name or looks, since none of them can be read.

    Raises:
        DataError: names the column, and what helps.
    """
    for name in sorted(names, key=lambda each: not is_named(each)):
        column = cells[name]
        if is_named(name) or (is_text(column) and _unclear(column)):
            there = column.drop_nulls()
            got = shorten(there[0]) if len(there) else "nothing"
            hint = unclear_zone(str(there[0])) if len(there) and is_text(column) else ""
            expected = "timestamps that can be read in one way"
            raise DataError(f"time column {shorten(name)}", expected, f"{got}; {hint or HINT}")
    parts = [name for part in _PARTS for name in names if name.lower() == part]
    if len(parts) > 1 and parts[0].lower() == "year" and _falls(cells.select(parts)):
        got = "rows from new to old; a column with the whole date sorts them, --time none takes them as they are"
        raise DataError(f"columns {', '.join(map(shorten, parts))}", "rows from old to new", got)


def _falls(parts: pl.DataFrame) -> bool:
    """Whether dates in several columns, the year first, fall throughout."""
    try:
        whole = parts.select(pl.all().cast(pl.Int64)).fill_null(0)
    except pl.exceptions.PolarsError:
        return False
    dates = whole.to_numpy() @ 100.0 ** np.arange(len(parts.columns) - 1, -1, -1)
    return len(dates) > 1 and bool((np.diff(dates) < 0).all())


def _unclear(column: pl.Series) -> bool:
    """Whether nearly all of a column's first cells have the shape of a date."""
    head = _head(column)
    if len(head) == 0 or numeric_timestamps.looks_like_number(head):
        return False
    sure = [pattern for way, pattern in (PLAIN | EITHER).items() if way not in _LIKE_CODES]
    dated = pl.Series([False]).new_from_index(0, len(head))
    for pattern in (*sure, *_NAMED):
        dated |= head.str.contains(pattern)
    for shape in _SHAPES:
        parts = head.str.extract_groups(shape).struct.unnest().cast(pl.Int64)
        for day, month in permutations(parts.columns, 2):
            dated |= (parts[day].is_between(1, 31) & parts[month].is_between(1, 12)).fill_null(False)
    return 20 * int(dated.sum()) >= 19 * len(head)
