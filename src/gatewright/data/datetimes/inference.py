"""What makes cells look like times: the name of their column, their order, and the shape of dates."""

from __future__ import annotations

import re
from itertools import permutations

import numpy as np
import polars as pl

from gatewright.data.datetimes.patterns import EITHER, PLAIN
from gatewright.data.frequency import find_step, positions
from gatewright.data.time_zones import Times

#: A time column is named by at least one of these words, and otherwise by these and the next.
_TIME_WORDS = {"date", "dates", "datetime", "datetimes", "time", "times", "timestamp", "timestamps", "ds"}
_NEXT_TO_TIME_WORDS = {
    "utc", "gmt", "local", "iso", "unix", "epoch", "posix", "the", "of", "and", "start", "begin", "from", "end",
    "to", "obs", "observation", "observed", "recorded", "measurement", "measured", "sample", "sampling", "reading",
    "stamp",
}  # fmt: skip
#: Words for parts of a time: numbers in such a column are times if they can be, and rise or fall throughout.
PART_WORDS = {"year", "month", "day", "week", "quarter", "period", "when", "epoch", "dt", "ts", "unix", "posix"}

#: Patterns that codes and versions fit too: unless its name says time, such a column has to rise or fall.
LIKE_CODES = {"day of the year", "year, month", "month, year", "plain date", "plain date and clock"}

_MINUTE = 60_000_000

_CLOCK = r"(?:[t, ]+\d{1,2}:\d{2}.*)?$"
#: Shapes of dates that are ambiguous, or followed by something unknown.  The groups are numbers of which one is
#: the day and another the month.
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


def is_regular(clock: Times) -> bool:
    """Say whether times are whole minutes apart, nearly all of them by one step."""
    clock = np.sort(clock)
    if np.isnat(clock).any() or (np.diff(clock).astype(np.int64) % _MINUTE != 0).any():
        return False
    places = positions(clock, find_step(clock))
    return int(np.isfinite(places).sum()) >= 0.95 * len(clock) and float(np.median(np.diff(places))) == 1


def is_monotonic(clock: Times) -> bool:
    """Say whether times rise, or fall, throughout."""
    steps = np.diff(clock[~np.isnat(clock)]).astype(np.int64)
    return len(steps) > 0 and bool((steps > 0).all() or (steps < 0).all())


def words_of(name: str) -> set[str]:
    """Return the words of a name, in small letters."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.findall(r"[a-z]+", split.lower()))


def is_named(name: str) -> bool:
    """Say whether a column's name says that it is the time.

    >>> [is_named(name) for name in ("Date/Time", "timestamp_utc", "response_time", "time (s)", "update")]
    [True, True, False, False, False]
    """
    words = words_of(name)
    return bool(words & _TIME_WORDS) and words <= _TIME_WORDS | _NEXT_TO_TIME_WORDS


def has_date_shapes(head: pl.Series) -> bool:
    """Say whether nearly all of these cells have the shape of a date, ambiguous ones included."""
    if len(head) == 0:
        return False
    patterns = [pattern for name, pattern in (PLAIN | EITHER).items() if name not in LIKE_CODES]
    dated = pl.Series([False]).new_from_index(0, len(head))
    for pattern in (*patterns, *_NAMED):
        dated |= head.str.contains(pattern)
    for shape in _SHAPES:
        parts = head.str.extract_groups(shape).struct.unnest().cast(pl.Int64)
        for day, month in permutations(parts.columns, 2):
            dated |= (parts[day].is_between(1, 31) & parts[month].is_between(1, 12)).fill_null(False)
    return 20 * int(dated.sum()) >= 19 * len(head)
