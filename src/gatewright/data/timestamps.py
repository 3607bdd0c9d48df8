"""From a column of cells to times, whichever way they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import numeric_timestamps, strftime, timestamp_patterns
from gatewright.data.columns import is_text, text
from gatewright.data.frame import Frame
from gatewright.data.time_zones import (
    LOCAL,
    UTC,
    Times,
    canonical,
    is_place,
    offset_name,
    offset_of,
    to_local,
    to_utc,
)
from gatewright.data.timestamp_patterns import EITHER, PLAIN
from gatewright.errors import DataError, shorten

#: What helps where a time column cannot be read.
HINT = "--time-format says how they are written, --time none takes the rows in order"

#: Cells by whose looks a column is judged.
HEAD = 1000

#: Stands for the offset of a cell that names no zone.
NO_OFFSET = np.iinfo(np.int64).min
_NAT = np.datetime64("NaT", "us")
#: The most common ways to write a time, by their length.
_COMMON = {10: "%Y-%m-%d", 16: "%Y-%m-%dT%H:%M", 19: "%Y-%m-%dT%H:%M:%S"}
_A_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
#: The years 1 to 9999, in days since 1970.
_DAYS = (-719_162, 2_932_897)


@dataclass(frozen=True)
class Reading:
    """A column read in one way.

    Attributes:
        way: which.
        clock: what the clock showed, NaT where a cell cannot be read so.
        offset: seconds from UTC, `NO_OFFSET` where a cell names no zone.
    """

    way: str
    clock: Times
    offset: NDArray[np.int64]

    @property
    def unread(self) -> int:
        """Cells that cannot be read."""
        return int(np.isnat(self.clock).sum())


@dataclass(frozen=True)
class Stamps:
    """The times of a column.

    Attributes:
        local: what the clock of the zone shows.
        early: in UTC, where the zone is a place; else None.
        late: the same, but the later time of two that the clock shows alike and no offset tells apart.
        zone: see `gatewright.data.time_zones`.
        zoned: whether the cells name their zone.
        notes: what a person should know of how they were read.
    """

    local: Times
    early: Times | None
    late: Times | None
    zone: str
    zoned: bool
    notes: tuple[str, ...] = ()


def timestamps(frame: Frame, name: str, time_format: str = "", time_zone: str = "") -> Stamps:
    """Return a column as times.

    Args:
        frame: the table.
        name: of the column.
        time_format: how they are written, as in strftime; "" to find it.
        time_zone: the zone on whose clock they are wanted; times that name none are those of its clock.  "none" if
            none may be named, "" to find it.

    Raises:
        DataError: at a cell that is no time, or that may be read in two ways.
    """
    column, named = frame.cells[name], f"time column {shorten(name)}"
    if isinstance(column.dtype, (pl.Date, pl.Datetime)):
        reading, zone = _of_dates(column)
        column = column.to_physical()  # a time that no calendar has could not be shown
    elif is_text(column) or column.dtype.is_numeric():
        reading, zone = _chosen(frame, name, readings(column, time_format)), ""
    else:
        raise DataError(named, "timestamps", f"cells of type {shorten(str(column.dtype))}")
    if reading.unread:
        row = int(np.isnat(reading.clock).argmax())
        expected = f"a timestamp written as {time_format!r}" if time_format else "a timestamp"
        if column[row] is None:
            raise DataError(f"{named}, {frame.place(row)}", expected, "nothing")
        hint = unclear_zone(str(column[row])) or HINT
        raise DataError(f"{named}, {frame.place(row)}", expected, f"{shorten(column[row])}; {hint}")
    return _on_zone(frame, name, reading, zone, time_zone)


def unclear_zone(cell: str) -> str:
    """Return a hint at the zone that a cell ends with, where it may mean several; else an empty string."""
    word = cell.rpartition(" ")[2].upper()
    if (
        word.isalpha()
        and 3 <= len(word) <= 4
        and cell[:1].isdigit()
        and timestamp_patterns.read_text(cell[: -len(word)])
    ):
        which = "an offset such as +02:00 says which; or leave it out and name --time-zone"
        return f"{word} stands for several time zones: {which}"
    return ""


def _chosen(frame: Frame, name: str, found: list[Reading]) -> Reading:
    """Return the way that reads most cells; an error where two read them all and differ."""
    best = min(found, key=lambda reading: reading.unread)
    rivals = [other for other in found if other is not best and other.unread == best.unread == 0]
    for other in rivals:
        differs = other.clock != best.clock
        if differs.any():
            row = int(differs.argmax())
            cell = str(frame.cells[name][row])
            ways = " or ".join(f"'{_as_format(cell, reading.way)}'" for reading in (best, other))
            expected = f"a date that can be read in one way only (--time-format {ways} says how)"
            raise DataError(f"time column {shorten(name)}, {frame.place(row)}", expected, shorten(cell))
    return best


def _as_format(cell: str, way: str) -> str:
    """Return the format of strftime in which a cell is written."""
    match = re.match(EITHER[way], cell.strip())
    if match is None:
        return "%d/%m/%Y" if way.startswith("day") else "%m/%d/%Y"
    codes = {"day": "%d", "month": "%m", "year": "%Y", "hour": "%I" if match["half"] else "%H", "minute": "%M"}
    codes |= {"second": "%S", "fraction": "%f", "half": "%p", "zone": "%z"}
    whole, at = "", 0
    for group in sorted((group for group in codes if match[group]), key=match.start):
        whole += cell.strip()[at : match.start(group)] + codes[group]
        at = match.end(group)
    return whole


def _of_dates(column: pl.Series) -> tuple[Reading, str]:
    """Return dates or times as a reading on their zone's clock, and the zone."""
    dtype = column.dtype
    a_day = 1 if dtype == pl.Date else _A_DAY[str(getattr(dtype, "time_unit", "us"))]
    first, last = (max(-(2**63), min(2**63 - 1, day * a_day)) for day in _DAYS)
    kept = column.set(~column.to_physical().is_between(first, last - 1), None)
    zone = getattr(dtype, "time_zone", None)
    times = kept.cast(pl.Datetime("us", zone)).to_physical().to_numpy(allow_copy=True)
    clock = _times(times, kept.is_null().to_numpy())
    offset = np.full(len(clock), 0 if zone else NO_OFFSET)
    return Reading("", clock, offset), canonical(zone) if zone else ""


def _times(microseconds: NDArray[Any], missing: NDArray[np.bool_]) -> Times:
    whole = np.where(missing, 0, np.nan_to_num(microseconds)).astype(np.int64)
    return np.where(missing, _NAT, whole.astype("datetime64[us]"))


def readings(column: pl.Series, time_format: str = "") -> list[Reading]:
    """Return the ways in which cells may be read as times, at least one; numbers count as such."""
    if time_format:
        return [_by_pattern(text(column), time_format, strftime.pattern(time_format))]
    if column.dtype.is_float() or numeric_timestamps.looks_like_number(column):
        clock, way = numeric_timestamps.times(column)
        since_1970 = way.startswith("since 1970")
        return [Reading(way, clock, np.full(len(clock), 0 if since_1970 else NO_OFFSET))]
    cells = text(column)
    head = cells.drop_nulls().head(HEAD)
    matched = {way: int(head.str.contains(pattern).sum()) for way, pattern in (PLAIN | EITHER).items()}
    most = max(matched.values())
    # A column may be written in two ways that differ in what they leave out, such as "2024-01-01" and "... 12:00".
    ways = [way for way, count in matched.items() if count == most] if most else ["year, month, day"]
    return [_by_pattern(cells, way, (PLAIN | EITHER)[way]) for way in ways]


def _plainly(cells: pl.Series, way: str) -> Reading | None:
    """Read cells that are all written as most are, which polars does at once; None where they are not."""
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
    return Reading(
        way, times.to_numpy().astype("datetime64[us]"), np.full(len(cells), 0 if utc.all() else NO_OFFSET)
    )


def _by_pattern(cells: pl.Series, way: str, pattern: str) -> Reading:
    """Read cells by a pattern of `gatewright.data.timestamp_patterns`."""
    plain = _plainly(cells, way) if way == "year, month, day" and len(cells) else None
    if plain is not None:
        return plain
    groups = cells.str.extract_groups(pattern).struct.unnest()
    parts, unread = {}, groups.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
    for name in groups.columns:
        if name != "zone":
            parts[name] = _whole(groups[name], name)
    parts = timestamp_patterns.with_weekday(parts)
    clock = timestamp_patterns.moments(parts, len(cells))
    offset = np.full(len(cells), NO_OFFSET)
    if "zone" in groups.columns:
        zones = groups["zone"]
        known = {zone: offset_of(zone) for zone in zones.unique().drop_nulls().to_list()}
        for zone, seconds in known.items():
            rows = (zones == zone).fill_null(False).to_numpy()
            if seconds is None:
                clock[rows] = _NAT
            else:
                offset[rows] = seconds
    return Reading(way, np.where(unread, _NAT, clock), offset)


def _whole(group: pl.Series, name: str) -> NDArray[np.int64]:
    """Return what a group found as whole numbers, `writings.ABSENT` where it found nothing."""
    if name in timestamp_patterns.WORDS:
        words = group.str.slice(0, timestamp_patterns.LETTERS[name]).str.to_lowercase()
        group = words.replace_strict(timestamp_patterns.WORDS[name], default=None, return_dtype=pl.Int64)
    elif name == "fraction":
        group = group.str.pad_end(6, "0").str.slice(0, 6)
    return group.cast(pl.Int64, strict=False).fill_null(timestamp_patterns.ABSENT).to_numpy()


def _on_zone(frame: Frame, name: str, reading: Reading, zone: str, wanted: str) -> Stamps:
    """Settle the zone of times that have been read, and put them on its clock."""
    named, clock = f"time column {shorten(name)}", reading.clock
    zoned = reading.offset != NO_OFFSET
    row = int(np.argmax(zoned != zoned[0]))
    if zoned[0] != zoned[row]:
        expected = "a time zone with every timestamp or with none, as in the first"
        got = f"{shorten(str(frame.cells[name][row]))}; {HINT}"
        raise DataError(f"{named}, {frame.place(row)}", expected, got)
    has_zone = bool(zoned[0])
    notes: tuple[str, ...] = ()
    if wanted == "none" and has_zone:
        expected = "a timestamp without a time zone, as in training or by --time-zone none"
        raise DataError(f"{named}, {frame.place(0)}", expected, shorten(str(frame.cells[name][0])))
    if not has_zone:
        zone = "" if wanted in ("", "none") else canonical(wanted)
        return _of_clock(frame, name, clock, zone)
    utc = clock - reading.offset * np.timedelta64(1, "s") if (reading.offset != 0).any() else clock
    midnights = _all_midnights(clock)
    if wanted:
        zone = canonical(wanted)
    elif not zone:
        zone, notes = _found_zone(reading.offset, midnights)
    if zone == LOCAL:
        if not midnights:
            row = int(np.argmax(clock != clock.astype("datetime64[D]")))
            raise DataError(
                f"{named}, {frame.place(row)}",
                "a midnight (--time-zone local)",
                shorten(str(frame.cells[name][row])),
            )
        return Stamps(clock, None, None, zone, True)
    place = utc if is_place(zone) else None
    return Stamps(to_local(utc, zone), place, place, zone, True, notes)


def _of_clock(frame: Frame, name: str, clock: Times, zone: str) -> Stamps:
    """Return times that name no zone, as those that the clock of a zone shows."""
    if not is_place(zone):
        return Stamps(clock, None, None, zone, False)
    early, late = to_utc(clock, zone)
    left_out = early > late
    if left_out.any() and not _all_midnights(clock):
        row = int(left_out.argmax())
        expected = f"a time that the clock of {zone} shows (--time-zone)"
        raise DataError(
            f"time column {shorten(name)}, {frame.place(row)}", expected, shorten(str(frame.cells[name][row]))
        )
    return Stamps(clock, early, late, zone, False)


def _found_zone(offsets: NDArray[np.int64], midnights: bool) -> tuple[str, tuple[str, ...]]:
    """Return the zone of times with these offsets, and what to say of it."""
    found = np.unique(offsets).tolist()
    if len(found) == 1:
        return offset_name(found[0]), ()
    if midnights:
        return LOCAL, ()
    names = [offset_name(each) for each in found]
    listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    note = f"timestamps with several offsets ({listed}) are read in UTC"
    note += "; --time-zone, such as Europe/Berlin, reads them on the clock of a place"
    return UTC, (note,)


def _all_midnights(times: Times) -> bool:
    return bool((times.astype(np.int64) % _A_DAY["us"] == 0).all())
