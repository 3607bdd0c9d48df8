"""From a column of cells to times on the clock of one zone."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.cell_text import is_text
from gatewright.data.columns import Column
from gatewright.data.datetimes import patterns
from gatewright.data.datetimes.parser import MICROSECONDS_PER_DAY, NO_OFFSET, ParsedTimes, parse_dates
from gatewright.data.datetimes.patterns import EITHER
from gatewright.data.numeric_columns import Place
from gatewright.data.time_zones import (
    LOCAL,
    NO_ZONE,
    UTC,
    Times,
    canonical,
    is_place,
    offset_name,
    to_local,
    to_utc,
)
from gatewright.errors import DataError, shorten

#: The remedy where a time column cannot be read.
REMEDY = "--time-format says how they are written, --time none takes the rows in order"


@dataclass(frozen=True)
class Timestamps:
    """The times of a column.

    Attributes:
        local: the time that the clock of the zone shows.
        early: the time in UTC if the zone is a place; else None.
        late: the same, but of two times that the clock shows alike and no offset tells apart, the later.
        zone: see `gatewright.data.time_zones`.
        zoned: whether the cells name their zone.
        notes: remarks for the user on how they were read.
    """

    local: Times
    early: Times | None
    late: Times | None
    zone: str
    zoned: bool
    notes: tuple[str, ...] = ()


def timestamps(column: Column, place: Place, time_zone: str = "") -> Timestamps:
    """Return a column as times.

    Args:
        column: the column, with the format of its times if that is known.
        place: names the place of a row.
        time_zone: the zone on whose clock they are to be; times that name no zone are those of its clock.  "none"
            if no time may name one, "" to find it.

    Raises:
        DataError: at a cell that is no time, or an ambiguous one.
    """
    cells, argument, time_format = column.cells, f"time column {shorten(column.name)}", column.time_format
    if isinstance(cells.dtype, (pl.Date, pl.Datetime)):
        parsed, zone = parse_dates(cells)
        cells = cells.to_physical()  # polars cannot show a time that no calendar has
    elif is_text(cells) or cells.dtype.is_numeric():
        parsed, zone = _unambiguous(column, place), ""
    else:
        raise DataError(argument, "timestamps", f"cells of type {shorten(str(cells.dtype))}")
    if parsed.failures:
        row = int(np.isnat(parsed.clock).argmax())
        expected = f"a timestamp written as {time_format!r}" if time_format else "a timestamp"
        if cells[row] is None:
            raise DataError(f"{argument}, {place(row)}", expected, "nothing")
        remedy = unclear_zone(str(cells[row])) or REMEDY
        raise DataError(f"{argument}, {place(row)}", expected, f"{shorten(cells[row])}; {remedy}")
    return _on_zone(column, place, parsed, zone, time_zone)


def unclear_zone(cell: str) -> str:
    """Return the remedy for a cell that ends with an abbreviation of several zones; "" for any other cell."""
    word = cell.rpartition(" ")[2].upper()
    if word.isalpha() and 3 <= len(word) <= 4 and cell[:1].isdigit() and patterns.read_text(cell[: -len(word)]):
        which = "an offset such as +02:00 says which; or leave it out and name --time-zone"
        return f"{word} stands for several time zones: {which}"
    return ""


def _unambiguous(column: Column, place: Place) -> ParsedTimes:
    """Return the times by the pattern that fits most cells.

    Raises:
        DataError: at a cell that two patterns read differently, if both fit all cells.
    """
    best = min(column.parsed_times, key=lambda parsed: parsed.failures)
    rivals = [other for other in column.parsed_times if other is not best and other.failures == best.failures == 0]
    for other in rivals:
        differs = other.clock != best.clock
        if differs.any():
            row = int(differs.argmax())
            cell = str(column.cells[row])
            formats = " or ".join(f"'{_as_format(cell, parsed.pattern)}'" for parsed in (best, other))
            expected = f"a date that can be read in one way only (--time-format {formats} says how)"
            raise DataError(f"time column {shorten(column.name)}, {place(row)}", expected, shorten(cell))
    return best


def _as_format(cell: str, pattern: str) -> str:
    """Return the format as in strftime of a cell that fits a pattern."""
    match = re.match(EITHER[pattern], cell.strip())
    if match is None:
        return "%d/%m/%Y" if pattern.startswith("day") else "%m/%d/%Y"
    codes = {"day": "%d", "month": "%m", "year": "%Y", "hour": "%I" if match["half"] else "%H", "minute": "%M"}
    codes |= {"second": "%S", "fraction": "%f", "half": "%p", "zone": "%z"}
    time_format, end = "", 0
    for group in sorted((group for group in codes if match[group]), key=match.start):
        time_format += cell.strip()[end : match.start(group)] + codes[group]
        end = match.end(group)
    return time_format


def _on_zone(column: Column, place: Place, parsed: ParsedTimes, zone: str, time_zone: str) -> Timestamps:
    """Decide on the zone of parsed times, and put them on its clock."""
    argument, clock = f"time column {shorten(column.name)}", parsed.clock
    zoned = parsed.offset != NO_OFFSET
    row = int(np.argmax(zoned != zoned[0]))
    if zoned[0] != zoned[row]:
        expected = "a time zone with every timestamp or with none, as in the first"
        got = f"{shorten(str(column.cells[row]))}; {REMEDY}"
        raise DataError(f"{argument}, {place(row)}", expected, got)
    has_zone = bool(zoned[0])
    notes: tuple[str, ...] = ()
    if time_zone == NO_ZONE and has_zone:
        expected = "a timestamp without a time zone, as in training or by --time-zone none"
        raise DataError(f"{argument}, {place(0)}", expected, shorten(str(column.cells[0])))
    if not has_zone:
        zone = "" if time_zone in ("", NO_ZONE) else canonical(time_zone)
        return _without_zone(column, place, clock, zone)
    utc = clock - parsed.offset * np.timedelta64(1, "s") if (parsed.offset != 0).any() else clock
    midnights = _all_midnights(clock)
    if time_zone:
        zone = canonical(time_zone)
    elif not zone:
        zone, notes = _zone_of_offsets(parsed.offset, midnights)
    if zone == LOCAL:
        if not midnights:
            row = int(np.argmax(clock != clock.astype("datetime64[D]")))
            raise DataError(
                f"{argument}, {place(row)}",
                "a midnight (--time-zone local)",
                shorten(str(column.cells[row])),
            )
        return Timestamps(clock, None, None, zone, True)
    moments = utc if is_place(zone) else None
    return Timestamps(to_local(utc, zone), moments, moments, zone, True, notes)


def _without_zone(column: Column, place: Place, clock: Times, zone: str) -> Timestamps:
    """Return times that name no zone as those that the clock of a zone shows."""
    if not is_place(zone):
        return Timestamps(clock, None, None, zone, False)
    early, late = to_utc(clock, zone)
    left_out = early > late
    if left_out.any() and not _all_midnights(clock):
        row = int(left_out.argmax())
        expected = f"a time that the clock of {zone} shows (--time-zone)"
        raise DataError(
            f"time column {shorten(column.name)}, {place(row)}", expected, shorten(str(column.cells[row]))
        )
    return Timestamps(clock, early, late, zone, False)


def _zone_of_offsets(offsets: NDArray[np.int64], midnights: bool) -> tuple[str, tuple[str, ...]]:
    """Return the zone of times with these offsets, and remarks for the user."""
    distinct = np.unique(offsets).tolist()
    if len(distinct) == 1:
        return offset_name(distinct[0]), ()
    if midnights:
        return LOCAL, ()
    names = [offset_name(each) for each in distinct]
    listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    note = f"timestamps with several offsets ({listed}) are read in UTC"
    note += "; --time-zone, such as Europe/Berlin, reads them on the clock of a place"
    return UTC, (note,)


def _all_midnights(times: Times) -> bool:
    return bool((times.astype(np.int64) % MICROSECONDS_PER_DAY == 0).all())
