"""From a column of cells to timestamps, whichever way they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gatewright.data.cells import is_text, looks_numeric, text
from gatewright.data.clock import Times
from gatewright.errors import DataError
from gatewright.spec import shown

if TYPE_CHECKING:
    from gatewright.data.frame import Frame

_CLOCK = (
    r"(?:[T ]+(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r" ?(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?$"
)
_YEAR_FIRST = r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + _CLOCK
_DAY_FIRST = r"^(?P<day>\d{1,2})[-/.](?P<month>\d{1,2})[-/.](?P<year>\d{4})" + _CLOCK
_MONTH_FIRST = r"^(?P<month>\d{1,2})[-/](?P<day>\d{1,2})[-/](?P<year>\d{4})" + _CLOCK

#: Years, months, days and quarters, each as its first day.
_PERIODS = (
    (r"^(\d{4})$", "$1-01-01"),
    (r"^(\d{4})-?(\d{2})$", "$1-$2-01"),
    (r"^(\d{4})(\d{2})(\d{2})$", "$1-$2-$3"),
    (r"^(\d{4})[- ]?Q1$", "$1-01-01"),
    (r"^(\d{4})[- ]?Q2$", "$1-04-01"),
    (r"^(\d{4})[- ]?Q3$", "$1-07-01"),
    (r"^(\d{4})[- ]?Q4$", "$1-10-01"),
)

#: Columns whose numbers may be timestamps without being named.
_NAMES = ("date", "datetime", "time", "timestamp", "ds")

_A_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}

#: The years 1 to 9999, in days since 1970.
_DAYS = (-719_162, 2_932_897)

#: Whole numbers that can only be the time since 1970: those of the years 2001 to 2029 and to 2286.
_SINCE_1970 = ((r"^1[0-8]\d{8}$", 1_000_000), (r"^[1-9]\d{12}$", 1_000), (r"^[1-9]\d{15}$", 1))


def looks_like_times(column: pl.Series, time_format: str = "") -> bool:
    """Say whether most of a column's first cells are timestamps; numbers only where the name says so."""
    if isinstance(column.dtype, (pl.Date, pl.Datetime)):
        return True
    if not (is_text(column) or column.dtype.is_integer()):
        return False
    head = text(column.head(1000)).drop_nulls()
    if looks_numeric(head) and not time_format:
        # Shorter numbers count something: only 20200131 or seconds since 1970 are surely a time.
        if column.name.lower() not in _NAMES:
            return False
        head = head.set(head.str.len_chars() < 8, None)
    return any(2 * int(one.is_not_null().sum()) > len(head) for one in _readings(head, time_format).values())


def timestamps(frame: Frame, name: str, time_format: str) -> Times:
    """Return a column as timestamps without time zone.

    Those that name a zone come in UTC, unless all are midnights there: then they are dates.

    Raises:
        DataError: at a cell that is no timestamp, or if days and months cannot be told apart.
    """
    column, named = frame.cells[name], f"time column {shown(name)}"
    if isinstance(column.dtype, (pl.Date, pl.Datetime)):
        readings = {"": _without_zone(_in_microseconds(column))}
        column = column.to_physical()  # a timestamp that no calendar has could not be shown
    elif is_text(column) or column.dtype.is_integer():
        readings = _readings(text(column), time_format)
    else:
        raise DataError(named, "timestamps", f"cells of type {shown(str(column.dtype))}")
    whole = {form: one for form, one in readings.items() if not one.has_nulls()}
    if len(whole) == 2:
        (one, first), (other, second) = whole.items()
        if (first != second).any():
            row = int((first != second).arg_max() or 0)
            expected = f"a date that can be read in one way only (--time-format {one} or {other} says how)"
            raise DataError(f"{named}, {frame.place(row)}", expected, shown(column[row]))
    best = min(readings.values(), key=lambda one: one.null_count())
    if best.has_nulls():
        row = int(best.is_null().arg_max() or 0)
        expected = f"a timestamp written as {time_format!r}" if time_format else "a timestamp"
        if column[row] is None:
            raise DataError(f"{named}, {frame.place(row)}", expected, "nothing")
        hint = "--time-format says how they are written, --time none takes the rows in order"
        raise DataError(f"{named}, {frame.place(row)}", expected, f"{shown(column[row])}; {hint}")
    return best.to_numpy().astype("datetime64[us]")


def _in_microseconds(column: pl.Series) -> pl.Series:
    """Return dates or timestamps in microseconds, null where the year is not one of 1 to 9999."""
    dtype = column.dtype
    a_day = 1 if dtype == pl.Date else _A_DAY[str(getattr(dtype, "time_unit", "us"))]
    first, last = (max(-(2**63), min(2**63 - 1, day * a_day)) for day in _DAYS)
    return column.set(~column.to_physical().is_between(first, last - 1), None).cast(
        pl.Datetime("us", getattr(dtype, "time_zone", None))
    )


def _without_zone(column: pl.Series) -> pl.Series:
    """Return timestamps in UTC, or as they are at their place if all of them are midnights there."""
    if getattr(column.dtype, "time_zone", None) is None:
        return column
    local = column.dt.replace_time_zone(None)
    return local if _all_midnights(local) else column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _all_midnights(column: pl.Series) -> bool:
    return bool((column.drop_nulls().to_physical() % _A_DAY["us"] == 0).all())


def _readings(cells: pl.Series, time_format: str) -> dict[str, pl.Series]:
    """Read text as timestamps, by the format of their dates; null where a cell cannot be read so."""
    if time_format:
        return {time_format: _by_format(cells, time_format)}
    for pattern, size in _SINCE_1970:
        if len(cells) and cells.str.contains(pattern).all():
            return {"": (cells.cast(pl.Int64) * size).cast(pl.Datetime("us"))}
    for pattern, first_day in _PERIODS:
        cells = cells.str.replace(pattern, first_day)
    if cells.str.contains(r"^\d{1,2}[-/]").any():
        return {"%d/%m/%Y": _by_pattern(cells, _DAY_FIRST), "%m/%d/%Y": _by_pattern(cells, _MONTH_FIRST)}
    return {"": _by_pattern(cells, _YEAR_FIRST), "%d.%m.%Y": _by_pattern(cells, _DAY_FIRST)}


def _by_format(cells: pl.Series, time_format: str) -> pl.Series:
    try:
        return _without_zone(cells.str.to_datetime(time_format, strict=False, time_unit="us"))
    except pl.exceptions.PolarsError as error:
        raise DataError("--time-format", "a format as in strftime", f"{time_format!r}: {error}") from None


def _by_pattern(cells: pl.Series, pattern: str) -> pl.Series:
    """Read dates of one order; those with an offset from UTC as `_without_zone` says."""
    found = cells.str.extract_groups(pattern).struct.unnest()
    parts = [pl.col(part).fill_null("0").str.zfill(2) for part in ("month", "day", "hour", "minute", "second")]
    local = found.select(
        pl.format("{}-{}-{} {}:{}:{}.{}", "year", *parts, pl.col("fraction").fill_null("0"))
    ).to_series()
    times = local.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")
    zone = found["zone"]
    if zone.null_count() == len(zone) or (_all_midnights(times) and (times.is_null() == zone.is_null()).all()):
        return times
    offset = zone.replace({"Z": "+0000", "UTC": "+0000"}).str.replace(":", "").str.pad_end(5, "0")
    zoned = (local + offset).str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", strict=False, time_unit="us")
    return zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
