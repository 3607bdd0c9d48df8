"""The step between the rows of a series: detection, names, positions, and times in the future.

A step is a fixed time ("15m", "1h", "7d"), calendar months ("1mo"; "1me" for rows at month ends) or business days
("1b"), Monday to Friday at the same time of day.  A table without timestamps has the step "row".
"""

from __future__ import annotations

import functools
import re

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError

Times = NDArray[np.datetime64]

_UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
_MONTHS = {"mo", "me"}
_DAY = _UNITS["d"]
_MONDAY = 4 * _DAY  # the first one after 1970 began


@functools.lru_cache(maxsize=64)
def _parse(step: str) -> tuple[int, str]:
    match = re.fullmatch(r"([1-9]\d*)(d|h|m|s|ms|us|mo|me|b)", step)
    if not match:
        raise GatewrightError("step", "a time such as '15m', '1h', '1d' or '1mo'", repr(step))
    return int(match[1]), match[2]


def bin_step(width: str) -> str:
    """Return the step of bins of a width.

    Raises:
        GatewrightError: if the width divides neither a day nor a year, and is not a number of days.

    >>> bin_step("60m"), bin_step("24h"), bin_step("1w"), bin_step("3mo")
    ('1h', '1d', '7d', '3mo')
    """
    match = re.fullmatch(r"([1-9]\d{0,8})(w|d|h|m|s|mo)", width)
    count, unit = (int(match[1]), match[2]) if match else (0, "")
    size = count * {**_UNITS, "w": 7 * _DAY, "mo": 0}.get(unit, 0)
    if (size and (_DAY % size == 0 or size % _DAY == 0)) or (unit == "mo" and count and 12 % count == 0):
        return _named(size) if size else f"{count}mo"
    expected = "a part of a day such as 15m or 1h, days such as 1d, weeks such as 1w, or months such as 1mo"
    raise GatewrightError("--resample", f"{expected}, that divide a day or a year", repr(width))


def _named(size: int) -> str:
    """Return a time in microseconds as a step, in its largest unit."""
    unit = next(unit for unit, each in _UNITS.items() if size % each == 0)
    return f"{size // _UNITS[unit]}{unit}"


def find_step(times: Times) -> str:
    """Return the most common step; ``times`` has at least two entries, which rise.

    >>> find_step(np.array(["2020-01-01T00:00", "2020-01-01T00:30"], "datetime64[us]"))
    '30m'
    >>> find_step(np.array(["2020-01-31", "2020-02-29", "2020-03-31"], "datetime64[us]"))
    '1me'
    >>> find_step(after(np.datetime64("2020-01-01", "us"), "1b", np.arange(12)))
    '1b'
    """
    differences = np.diff(times).astype("int64")
    most = _most_common(differences)
    if most >= 28 * _DAY:
        unit, places = max((("mo", _months(times, "mo")), ("me", _months(times, "me"))), key=_sound)
        steady = bool(np.all(differences == most))
        if _sound((unit, places)) > (len(times) - 1 if steady else len(times) // 2):
            return f"{_most_common(np.diff(places[np.isfinite(places)]).astype('int64'))}{unit}"
    if most == _DAY and _of_business(times):
        return "1b"
    return _named(most)


def _of_business(times: Times) -> bool:
    """Say whether all rows are from Monday to Friday, with at least two weekends between them."""
    days = times.astype("datetime64[D]")
    weekends = np.busday_count(days[:-1], days[1:]) < np.diff(days).astype("int64")
    return bool(np.is_busday(days).all()) and int((weekends & (np.diff(days).astype("int64") < 7)).sum()) >= 2


def _sound(months: tuple[str, NDArray[np.float64]]) -> int:
    return int(np.isfinite(months[1]).sum())


def _most_common(numbers: NDArray[np.int64]) -> int:
    if len(numbers) and bool((numbers == numbers[0]).all()):
        return int(numbers[0])
    values, counts = np.unique(numbers, return_counts=True)
    return int(values[np.argmax(counts)])


def _months(times: Times, unit: str) -> NDArray[np.float64]:
    """Return the number of each month; NaN for times with another offset from its start or end than most have."""
    months = times.astype("datetime64[M]")
    offsets = (times - (months + (unit == "me")).astype("datetime64[us]")).astype("int64")
    offset = _most_common(offsets)
    # Not every month has a 29th to 31st; every month has 28 days counted from its end.
    sound = (offsets == offset) & (-28 * _DAY <= offset < 28 * _DAY)
    return np.where(sound, months.astype("int64"), np.nan)


def positions(times: Times, step: str) -> NDArray[np.float64]:
    """Return the number of steps from the first timestamp to each; NaN for those between two steps.

    >>> positions(np.array(["2020-01-01", "2020-01-02", "2020-01-05"], "datetime64[us]"), "1d")
    array([0., 1., 4.])
    """
    count, unit = _parse(step)
    if unit in _MONTHS:
        months = _months(times, unit)
        places = (months - months[np.argmax(np.isfinite(months))]) / count
        return np.where(places == np.floor(places), places, np.nan)
    if unit == "b":
        days = times.astype("datetime64[D]")
        sound = np.is_busday(days) & (times - days == times[0] - days[0])
        places = np.busday_count(days[0], days) / count
        return np.where(sound & (places == np.floor(places)), places, np.nan)
    places, off = np.divmod((times - times[0]).astype("int64"), count * _UNITS[unit])
    return np.where(off == 0, places, np.nan) if off.any() else places.astype(np.float64)


def shown(time: np.datetime64) -> str:
    """Return a timestamp for an error message, without trailing zeros.

    >>> shown(np.datetime64("2020-01-31T00:00:00.000000")), shown(np.datetime64("2020-01-31T06:30:00.000000"))
    ('2020-01-31', '2020-01-31 06:30')
    """
    date, _, clock = str(time).partition("T")
    clock = clock.removesuffix(".000000").removesuffix(":00")
    return date if clock in ("", "00:00") else f"{date} {clock}"


def after(time: np.datetime64 | Times, step: str, steps: NDArray[np.int64]) -> Times:
    """Return the timestamps ``steps`` steps after ``time``; both may be arrays.

    >>> after(np.datetime64("2020-01-31T00:00", "us"), "1me", np.array([1])).astype("datetime64[D]")
    array(['2020-02-29'], dtype='datetime64[D]')
    """
    count, unit = _parse(step)
    if unit in _MONTHS:
        month = time.astype("datetime64[M]")
        offset = time - (month + (unit == "me")).astype("datetime64[us]")
        starts = (month + count * steps + (unit == "me")).astype("datetime64[us]")
        return np.asarray(starts + offset)
    if unit == "b":
        day = time.astype("datetime64[D]")
        days = np.busday_offset(day, count * steps).astype("datetime64[us]")
        return np.asarray(days + (time - day))
    return np.add(time, (count * _UNITS[unit] * steps).astype("timedelta64[us]"))


def season(step: str) -> int:
    """Return the usual season of a series with this step, in steps; 1 without a usual one.

    A day for steps of a minute up to a day, a week for days, a year for weeks and months.

    >>> season("1h"), season("15m"), season("1d"), season("1b"), season("1mo"), season("row")
    (24, 96, 7, 5, 12, 1)
    """
    if step == "row":
        return 1
    count, unit = _parse(step)
    if unit in _MONTHS:
        return 12 // count if 12 % count == 0 else 1
    if unit == "b":
        return 5 // count if 5 % count == 0 else 1
    size = count * _UNITS[unit]
    if size == _DAY:
        return 7
    if size == 7 * _DAY:
        return 52
    return _DAY // size if _UNITS["m"] <= size < _DAY and _DAY % size == 0 else 1


#: Longest season that `seasons` gives, in steps: a model reads more rows than one season.
LONGEST = 1100


def seasons(step: str) -> tuple[int, ...]:
    """Return the usual seasons of a series with this step, in steps: `season`, and a week for parts of a day.

    >>> seasons("1h"), seasons("30m"), seasons("1m"), seasons("1d"), seasons("1mo"), seasons("row")
    ((24, 168), (48, 336), (), (7,), (12,), ())
    """
    first = season(step)
    if first == 1:
        return ()
    count, unit = _parse(step)
    week = 7 * first if unit in _UNITS and count * _UNITS[unit] < _DAY else first
    return tuple(length for length in sorted({first, week}) if length <= LONGEST)


def calendar_parts(step: str, span: np.timedelta64) -> tuple[str, ...]:
    """Return the useful parts of a timestamp: those that vary, with at least two periods in the training part.

    >>> calendar_parts("1h", np.timedelta64(365, "D"))
    ('hour_of_day', 'day_of_week')
    """
    if step == "row":
        return ()
    count, unit = _parse(step)
    size = count * (31 * _DAY if unit in _MONTHS else _DAY if unit == "b" else _UNITS[unit])
    lengths = {"hour_of_day": _DAY, "day_of_week": 7 * _DAY, "day_of_year": 365 * _DAY}
    seen = int(span / np.timedelta64(1, "us"))
    return tuple(part for part, length in lengths.items() if size < length and seen >= 2 * length)


def calendar(times: Times, parts: tuple[str, ...]) -> NDArray[np.float64]:
    """Return sine and cosine of the phase of each part, as columns: (rows, 2 * parts).

    >>> calendar(np.array(["2020-01-01T06:00"], "datetime64[us]"), ("hour_of_day",)).round(6).tolist()
    [[1.0, 0.0]]
    """
    columns = np.empty((len(times), 2 * len(parts)))
    for number, part in enumerate(parts):
        angles = 2 * np.pi * _phases(times, part)
        columns[:, 2 * number], columns[:, 2 * number + 1] = np.sin(angles), np.cos(angles)
    return columns


def _phases(times: Times, part: str) -> NDArray[np.float64]:
    """Return the phase of a part at each time; whole weeks count on, from a Monday."""
    if part == "day_of_year":
        year = times.astype("datetime64[Y]")
        return np.asarray((times - year) / ((year + 1).astype("datetime64[us]") - year))
    moments = times.astype("datetime64[us]").astype(np.int64)
    return moments % _DAY / _DAY if part == "hour_of_day" else (moments - _MONDAY) / (7 * _DAY)
