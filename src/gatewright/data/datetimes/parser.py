"""Cells parsed as times, by the patterns of `patterns.py`, by a format, or as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.datetimes import numeric, patterns, strftime
from gatewright.data.datetimes.patterns import EITHER, PLAIN
from gatewright.data.time_zones import Times, canonical, offset_of

#: Cells that decide what a column looks like.
HEAD = 1000

#: The offset of a cell that names no zone.
NO_OFFSET = np.iinfo(np.int64).min

MICROSECONDS_PER_DAY = 86_400_000_000

_NAT = np.datetime64("NaT", "us")
#: The most common formats of a time, by their length.
_COMMON = {10: "%Y-%m-%d", 16: "%Y-%m-%dT%H:%M", 19: "%Y-%m-%dT%H:%M:%S"}
_PER_DAY = {"ms": 86_400_000, "us": MICROSECONDS_PER_DAY, "ns": 86_400_000_000_000}
#: The years 1 to 9999, in days since 1970.
_DAYS = (-719_162, 2_932_897)


@dataclass(frozen=True)
class ParsedTimes:
    """The cells of a column, parsed in one way.

    Attributes:
        pattern: name of the pattern, the format, or the meaning of numbers.
        clock: what the clock showed; NaT where a cell does not fit.
        offset: seconds from UTC; `NO_OFFSET` where a cell names no zone.
    """

    pattern: str
    clock: Times
    offset: NDArray[np.int64]

    @property
    def failures(self) -> int:
        """Number of cells that do not fit."""
        return int(np.isnat(self.clock).sum())


def matching_patterns(head: pl.Series) -> list[str]:
    """Return the patterns that fit most of these cells, at least one.

    Several fit alike where nothing says which number is the day and which the month, or where a column mixes forms
    such as "2024-01-01" and "2024-01-01 12:00".
    """
    cell = pl.first()
    fits = [cell.str.contains(pattern).sum().alias(name) for name, pattern in (PLAIN | EITHER).items()]
    counts: dict[str, int] = head.to_frame().select(fits).row(0, named=True)
    most = max(counts.values())
    return [name for name, count in counts.items() if count == most] if most else ["year, month, day"]


def parse_numbers(column: pl.Series) -> ParsedTimes:
    """Parse numbers by the one meaning that fits most of them."""
    clock, meaning = numeric.times(column)
    offset = 0 if meaning.startswith("since 1970") else NO_OFFSET
    return ParsedTimes(meaning, clock, np.full(len(clock), offset))


def parse_format(cells: pl.Series, time_format: str) -> ParsedTimes:
    """Parse text by a format as in strftime."""
    return _parse(cells, time_format, strftime.pattern(time_format))


def parse_pattern(cells: pl.Series, name: str) -> ParsedTimes:
    """Parse text by a pattern of `gatewright.data.datetimes.patterns`."""
    parsed = _parse_common(cells, name) if name == "year, month, day" and len(cells) else None
    return parsed or _parse(cells, name, (PLAIN | EITHER)[name])


def parse_dates(column: pl.Series) -> tuple[ParsedTimes, str]:
    """Return dates or times as the clock of their zone shows them, and the zone."""
    dtype = column.dtype
    per_day = 1 if dtype == pl.Date else _PER_DAY[str(getattr(dtype, "time_unit", "us"))]
    first, last = (max(-(2**63), min(2**63 - 1, day * per_day)) for day in _DAYS)
    valid = column.set(~column.to_physical().is_between(first, last - 1), None)
    zone = getattr(dtype, "time_zone", None)
    times = valid.cast(pl.Datetime("us", zone)).to_physical().to_numpy(allow_copy=True)
    clock = _to_times(times, valid.is_null().to_numpy())
    offset = np.full(len(clock), 0 if zone else NO_OFFSET)
    return ParsedTimes("", clock, offset), canonical(zone) if zone else ""


def _to_times(microseconds: NDArray[Any], missing: NDArray[np.bool_]) -> Times:
    whole = np.where(missing, 0, np.nan_to_num(microseconds)).astype(np.int64)
    return np.where(missing, _NAT, whole.astype("datetime64[us]"))


def _parse_common(cells: pl.Series, name: str) -> ParsedTimes | None:
    """Let polars parse cells that are all in one of the most common formats; None where they are not."""
    lengths = cells.str.len_bytes()
    length, letter = lengths[0], (cells[0] or "")[10:11]
    time_format = _COMMON.get((length or 0) - (cells[0] or "").endswith("Z"))
    if time_format is None or lengths.has_nulls() or lengths.min() != lengths.max():
        return None
    utc = cells.str.ends_with("Z")
    if utc.any() != utc.all():
        return None
    if utc.all():
        cells = cells.str.head(-1)
    times = cells.str.to_datetime(time_format.replace("T", letter), strict=False, time_unit="us")
    if times.has_nulls():
        return None
    return ParsedTimes(
        name, times.to_numpy().astype("datetime64[us]"), np.full(len(cells), 0 if utc.all() else NO_OFFSET)
    )


def _parse(cells: pl.Series, name: str, pattern: str) -> ParsedTimes:
    """Parse cells by a regular expression whose groups are the parts of a time."""
    groups = cells.str.extract_groups(pattern).struct.unnest()
    parts, failed = {}, groups.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
    for group in groups.columns:
        if group != "zone":
            parts[group] = _to_whole(groups[group], group)
    parts = patterns.with_weekday(parts)
    clock = patterns.moments(parts, len(cells))
    offset = np.full(len(cells), NO_OFFSET)
    if "zone" in groups.columns:
        zones = groups["zone"]
        offsets = {zone: offset_of(zone) for zone in zones.unique().drop_nulls().to_list()}
        for zone, seconds in offsets.items():
            rows = (zones == zone).fill_null(False).to_numpy()
            if seconds is None:
                clock[rows] = _NAT
            else:
                offset[rows] = seconds
    return ParsedTimes(name, np.where(failed, _NAT, clock), offset)


def _to_whole(group: pl.Series, name: str) -> NDArray[np.int64]:
    """Return what a group matched as whole numbers; `patterns.ABSENT` where it matched nothing."""
    if name in patterns.WORDS:
        words = group.str.slice(0, patterns.LETTERS[name]).str.to_lowercase()
        group = words.replace_strict(patterns.WORDS[name], default=None, return_dtype=pl.Int64)
    elif name == "fraction":
        group = group.str.pad_end(6, "0").str.slice(0, 6)
    return group.cast(pl.Int64, strict=False).fill_null(patterns.ABSENT).to_numpy()
