"""Patterns of timestamps, and the calendar that makes times of the parts that they match.

A pattern is a regular expression for both Python and polars.  Its groups are named by their parts of a time: year,
yy (two digits), month, name (of a month), day, yday (of the year), quarter, iso_year, week (ISO), sunday_week,
monday_week (of strftime's %U and %W), weekday (Monday 1 to Sunday 7), weekday_name, weekday_from_sunday (0), hour,
half (AM or PM), minute, second, fraction and zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data.time_zones import LOCAL, Times, is_place, offset_of, to_local, to_utc

Whole = NDArray[np.int64]
Parts = Mapping[str, Whole]

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: Maximum length of the text of a time.
LONGEST = 64

#: Stands for a part that a cell does not have.
ABSENT = -1

_NAME = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? +)?"
_CLOCK = (
    r"(?:(?:t|,? +| +at +)(?P<hour>\d{1,2})"
    r"(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?: ?(?P<half>[ap]\.?m\.?)\b)?)?"
)
_PLAIN_CLOCK = r"[t _-](?P<hour>\d{2})(?:(?P<minute>\d{2})(?:(?P<second>\d{2})(?:[.,]?(?P<fraction>\d{1,9}))?)?)?"
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2}):(?P<second>\d{2})"
_MIDDLE_ZONE = r"(?: (?P<zone>[a-z]{1,5}|[+-]\d{4}))?"
_ZONE = r"(?: ?(?P<zone>(?:utc|gmt)?[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?|[a-z]{1,5})(?: ?\([a-z ]+\))?)?$"
_END = _CLOCK + _ZONE
_Y, _M, _D = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
_DAY = _D + r"(?:st|nd|rd|th)?"

#: Patterns with a single meaning for each number, by name.
PLAIN: dict[str, str] = {
    name: "(?i)^" + pattern
    for name, pattern in {
        "year, month, day": rf"{_Y}[-/.]{_M}[-/.]{_D}{_END}",
        "year, month, day, plain clock": rf"{_Y}-{_M}-{_D}{_PLAIN_CLOCK}{_ZONE}",
        "plain date": r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})" + _END,
        "plain date and clock": r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})" + _PLAIN_CLOCK + _ZONE,
        "day, month, year with points": rf"{_D}\.{_M}\.{_Y}{_END}",
        "day, name, year": rf"{_WEEKDAY}{_DAY}[-/. ]*{_NAME},?[-/ ]*{_Y}{_END}",
        "name, day, year": rf"{_WEEKDAY}{_NAME}[-/ ]+{_DAY}(?:,|[-/ ])[-/ ]*{_Y}{_END}",
        "year, name, day": rf"{_Y}[-/ ]*{_NAME}[-/ ]*{_D}{_END}",
        "name, day, clock, year": rf"{_WEEKDAY}{_NAME} +{_D} +{_TIME}{_MIDDLE_ZONE} {_Y}$",
        "week": rf"{_Y}[- ]?w(?P<week>\d{{2}})(?:-?(?P<weekday>[1-7]))?$",
        "day of the year": rf"{_Y}-(?P<yday>\d{{3}}){_END}",
        "year, quarter": rf"{_Y}[-/ ]?q(?P<quarter>[1-4])$",
        "quarter, year": rf"q(?P<quarter>[1-4])[-/ ]?{_Y}$",
        "quarter of year": rf"(?P<quarter>[1-4])q[-/ ]?{_Y}$",
        "year, month": rf"{_Y}[-/]{_M}$",
        "year, M, month": rf"{_Y}[- ]?m{_M}$",
        "month, year": rf"{_M}[-/]{_Y}$",
        "name, year": rf"{_NAME},?[-/ ]*{_Y}$",
        "year, name": rf"{_Y}[-/ ]*{_NAME}$",
    }.items()
}

#: Ambiguous patterns: a column may fit both orders of day and month.
EITHER: dict[str, str] = {
    "day, month, year": rf"(?i)^{_D}[-/]{_M}[-/]{_Y}{_END}",
    "month, day, year": rf"(?i)^{_M}[-/]{_D}[-/]{_Y}{_END}",
}

_COMPILED = [re.compile(pattern) for pattern in PLAIN.values()]


#: Groups of words: their first letters, and the numbers that they stand for.
WORDS = {
    "name": {month: number for number, month in enumerate(MONTHS, start=1)},
    "weekday_name": {day: number for number, day in enumerate(WEEKDAYS, start=1)},
    "half": {"a": 0, "p": 1},
}
LETTERS = {"name": 3, "weekday_name": 3, "half": 1}


def number_of(name: str, text: str) -> int:
    """Return the number that the text of a group stands for.

    >>> number_of("name", "June"), number_of("fraction", "5"), number_of("hour", "07")
    (6, 500000, 7)
    """
    if name in WORDS:
        return WORDS[name][text[: LETTERS[name]].lower()]
    return int(text.ljust(6, "0")[:6] if name == "fraction" else text)


def with_weekday(parts: dict[str, Whole]) -> dict[str, Whole]:
    """Return parts with the day of the week as "weekday", however it was written."""
    if "weekday_name" in parts:
        parts["weekday"] = parts.pop("weekday_name")
    if "weekday_from_sunday" in parts:
        sunday = parts.pop("weekday_from_sunday")
        parts["weekday"] = np.where(sunday == 0, 7, sunday)
    return parts


def moments(parts: Parts, count: int) -> Times:
    """Return the times made of parts of date and clock; NaT for dates that no calendar has.

    Args:
        parts: whole numbers (count,) by the name of their group, `ABSENT` for a missing part.
        count: number of times.

    >>> parts = {"year": np.array([2024, 2023]), "month": np.array([2, 2]), "day": np.array([29, 29])}
    >>> moments(parts, 2).astype("datetime64[D]")
    array(['2024-02-29',        'NaT'], dtype='datetime64[D]')
    """

    def part(name: str, default: int) -> Whole:
        numbers = parts.get(name)
        return np.full(count, default) if numbers is None else np.where(numbers == ABSENT, default, numbers)

    days, valid = _days(parts, part)
    hour, minute, second = part("hour", 0), part("minute", 0), part("second", 0)
    fraction = part("fraction", 0)
    half = part("half", ABSENT)
    twelve = half != ABSENT
    valid &= ~twelve | ((hour >= 1) & (hour <= 12))
    hour = np.where(twelve, hour % 12 + 12 * half, hour)
    midnight = (hour == 24) & (minute == 0) & (second == 0) & (fraction == 0)
    valid &= ((hour < 24) | midnight) & (minute < 60) & (second < 60)
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    microseconds = np.where(valid, seconds * 1_000_000 + fraction, np.iinfo(np.int64).min)
    return microseconds.astype("datetime64[us]")


def _days(parts: Parts, part: Any) -> tuple[Whole, NDArray[np.bool_]]:
    """Return days since 1970, and whether they exist."""
    year = part("iso_year", 1970) if "iso_year" in parts else part("year", 1970)
    if "yy" in parts:
        short = part("yy", 70)
        year = np.where(short < 69, 2000 + short, 1900 + short)  # as in POSIX
    valid = (year >= 1) & (year <= 9999)
    year = np.where(valid, year, 1970)
    if "yday" in parts:
        first, last = _first_day(year, 1), _first_day(year + 1, 1)
        days = first + part("yday", 1) - 1
        return days, valid & (days >= first) & (days < last)
    if "week" in parts or "sunday_week" in parts or "monday_week" in parts:
        return _week_days(parts, part, year, valid)
    month = part("name", 1) if "name" in parts else part("month", 1)
    if "quarter" in parts:
        month = 3 * part("quarter", 1) - 2
    valid &= (month >= 1) & (month <= 12)
    month = np.where(valid, month, 1)
    first, last = _first_day(year, month), _first_day(year, month + 1)
    days = first + part("day", 1) - 1
    return days, valid & (days >= first) & (days < last)


def _first_day(year: Whole, month: Whole | int) -> Whole:
    months: Whole = (year - 1970) * 12 + month - 1
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _week_days(parts: Parts, part: Any, year: Whole, valid: NDArray[np.bool_]) -> tuple[Whole, NDArray[np.bool_]]:
    weekday = part("weekday", 1)
    valid &= (weekday >= 1) & (weekday <= 7)
    first = _first_day(year, 1)
    monday = (first + 3) % 7  # 1970-01-01 was a Thursday: days since the last Monday
    if "week" in parts:
        week = part("week", 1)
        start = _first_week(year)
        days = start + 7 * (week - 1) + weekday - 1
        return days, valid & (week >= 1) & (days < _first_week(year + 1))
    name = "sunday_week" if "sunday_week" in parts else "monday_week"
    since, place = ((monday + 1) % 7, weekday % 7) if name == "sunday_week" else (monday, weekday - 1)
    # Week 1 begins with the first Sunday or Monday of the year; the days before it are week 0.
    days = first + (7 - since) % 7 + 7 * (part(name, 0) - 1) + place
    return days, valid & (days >= first) & (days < _first_day(year + 1, 1))


def _first_week(year: Whole) -> Whole:
    """Return the Monday of the first ISO week of a year, which contains 4 January."""
    fourth = _first_day(year, 1) + 3
    return fourth - (fourth + 3) % 7


class Written(NamedTuple):
    """A time as it was written.

    Attributes:
        clock: the time on the clock.
        offset: seconds from UTC; None without a zone.
    """

    clock: np.datetime64
    offset: float | None


def read_text(text: str) -> Written | None:
    """Return the time in a text; None if it is not a time, or an ambiguous one.

    >>> read_text("20240101T010000Z").offset, str(read_text("5 January 2018 3 PM").clock)[:16]
    (0, '2018-01-05T15:00')
    """
    text = text.strip()
    if len(text) > LONGEST or text.isdigit():
        return None
    for pattern in _COMPILED:
        match = pattern.match(text)
        if not match:
            continue
        groups = match.groupdict()
        parts = {
            group: np.array([ABSENT if part is None else number_of(group, part)])
            for group, part in groups.items()
            if group != "zone"
        }
        clock = moments(parts, 1)[0]
        offset = offset_of(groups["zone"]) if groups.get("zone") else None
        if np.isnat(clock) or (groups.get("zone") and offset is None):
            continue
        return Written(clock, offset)
    return None


_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{3}|\.\d{6})?)?([+-]\d{2}:\d{2})?)?")


def read_time(time: Any) -> Written | None:
    """Return the time in a `datetime`, `date`, `numpy.datetime64` or text; None if it is not a time."""
    if isinstance(time, str):
        if not _ISO.fullmatch(time):
            return read_text(time)
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            return None
    if isinstance(time, datetime):
        if time != time:  # pandas' NaT is a datetime
            return None
        offset = time.utcoffset()
        clock = np.datetime64(time.replace(tzinfo=None), "us")
        return Written(clock, None if offset is None else offset.total_seconds())
    if isinstance(time, date):
        return Written(np.datetime64(time, "us"), None)
    if isinstance(time, np.datetime64) and not np.isnat(time):
        return Written(time.astype("datetime64[us]"), None)
    return None


class ClockError(ValueError):
    """A time that the clock of a zone does not show.

    Attributes:
        expected: what is required of the time.
        place: its number among the times.
    """

    def __init__(self, expected: str, place: int) -> None:
        super().__init__(expected, place)
        self.expected, self.place = expected, place


_AS_BEFORE = "as in the table that the model learned from"


def on_clock(times: Sequence[Written], zone: str) -> Times:
    """Return times as the clock of a zone shows them, in microseconds.

    Args:
        times: times as they were written.  Times without a zone are those that the clock shows.
        zone: see `gatewright.data.time_zones`.

    Raises:
        ClockError: if a time names a zone and the clock has none, or the clock does not show the time.

    >>> str(on_clock([Written(np.datetime64("2024-07-01T12:00"), 0)], "Europe/Berlin")[0])[:16]
    '2024-07-01T14:00'
    """
    clock = np.array([time.clock for time in times], "datetime64[us]")
    zoned = np.array([time.offset is not None for time in times], bool)
    if zone == "" and zoned.any():
        raise ClockError(f"a time without a zone, {_AS_BEFORE}", int(zoned.argmax()))
    if zone == LOCAL:
        odd = zoned & (clock != clock.astype("datetime64[D]"))
        if odd.any():
            raise ClockError(f"a date, or a midnight of its own zone, {_AS_BEFORE}", int(odd.argmax()))
        return clock
    if not zoned.all():
        require_shown(np.where(zoned, clock[~zoned][0], clock), zone)
    if zoned.any():
        offsets = [round(time.offset * 1_000_000) for time in times if time.offset is not None]
        utc = np.add(clock[zoned], -np.array(offsets).astype("timedelta64[us]"))
        clock[zoned] = to_local(utc, zone)
    return clock


def require_shown(clock: Times, zone: str) -> None:
    """Refuse times that the clock of a place leaves out.

    Raises:
        ClockError: at such a time; it names the zone.
    """
    if is_place(zone):
        early, late = to_utc(clock, zone)
        left_out = early > late
        if left_out.any():
            expected = f"a time that the clock of {zone} shows, or one with an offset"
            raise ClockError(expected, int(left_out.argmax()))
