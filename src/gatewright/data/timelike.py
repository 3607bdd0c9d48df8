"""Which column of a table is its time: by its cells, and by its name."""

from __future__ import annotations

import re
from itertools import permutations

import numpy as np
import polars as pl

from gatewright.data import serials
from gatewright.data.cells import is_text, text
from gatewright.data.stamps import HEAD, HINT, readings
from gatewright.data.writings import EITHER, PLAIN
from gatewright.errors import DataError
from gatewright.spec import shown

#: Words of which the name of a time column is made, one of the first at least.
_TIME_WORDS = {"date", "dates", "datetime", "datetimes", "time", "times", "timestamp", "timestamps", "ds"}
_BESIDE = {
    "utc", "gmt", "local", "iso", "unix", "epoch", "posix", "the", "of", "and", "start", "begin", "from", "end",
    "to", "obs", "observation", "observed", "recorded", "measurement", "measured", "sample", "sampling", "reading",
    "stamp",
}  # fmt: skip
#: Words for parts of a time: numbers of that name are one where they can be, and rise or fall throughout.
_PART_WORDS = {"year", "month", "day", "week", "quarter", "period", "when", "epoch", "dt", "ts", "unix", "posix"}

#: Patterns that codes and versions fit too: without a name, such a column has to rise or fall throughout.
_LIKE_CODES = {"day of the year", "year, month", "month, year", "plain date", "plain date and clock"}

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
    """Say whether most of a column's first cells are times that can be read; numbers by its name only."""
    if isinstance(column.dtype, (pl.Date, pl.Datetime)):
        return True
    if not (is_text(column) or column.dtype.is_numeric()):
        return False
    if serials.looks_like_number(column) and not time_format:
        return _numbers_are_times(column)
    head = text(column).drop_nulls().head(HEAD)
    if len(head) == 0:
        return False
    best = min(readings(head, time_format), key=lambda reading: reading.unread)
    if 2 * best.unread >= len(head):
        return False
    return bool(time_format) or best.way not in _LIKE_CODES or is_named(column.name) or _one_way(best.clock)


def _numbers_are_times(column: pl.Series) -> bool:
    name = column.name
    if not (is_named(name) or _words(name) & _PART_WORDS):
        return False
    cells = column.drop_nulls()
    clock, way = serials.times(cells.head(HEAD))
    if len(clock) == 0 or 2 * int(np.isnat(clock).sum()) >= len(clock):
        return False
    return (is_named(name) and way != "4 digits") or _one_way(serials.times(cells)[0])


def _one_way(clock: np.ndarray) -> bool:
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


def require_none(cells: pl.DataFrame, names: list[str]) -> None:
    """Raise if one of these columns is a time by its name or looks, since none of them can be read.

    Raises:
        DataError: names the column, and what helps.
    """
    for name in sorted(names, key=lambda each: not is_named(each)):
        column = cells[name]
        if not (is_text(column) or column.dtype.is_numeric()):
            continue
        if is_named(name) or (is_text(column) and _unclear(column)):
            given = text(column).drop_nulls()
            got = shown(given[0]) if len(given) else "nothing"
            raise DataError(
                f"time column {shown(name)}", "timestamps that can be read in one way", f"{got}; {HINT}"
            )


def _unclear(column: pl.Series) -> bool:
    """Whether nearly all of a column's first cells have the shape of a date."""
    head = text(column).drop_nulls().head(HEAD)
    if len(head) == 0 or serials.looks_like_number(head):
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
