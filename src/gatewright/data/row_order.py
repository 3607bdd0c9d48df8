"""The times of each series in rising order, on the clock on which their step is even."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.datetimes.timestamps import Timestamps
from gatewright.data.frame import Frame
from gatewright.data.resample import usual_step
from gatewright.data.time_zones import Clock, Times
from gatewright.errors import DataError, shorten

Rows = NDArray[np.int64]
_HOUR = 3_600_000_000
_TIME_OF_DAY = r"^\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(\s?[AaPp][Mm])?\s*$"


@dataclass(frozen=True)
class Group:
    """Rows of one series.

    Attributes:
        name: the values of the id columns, joined; "" without id columns.
        ids: the value of each id column.
        rows: their numbers in the frame; in order of time in the result of `in_order`.
    """

    name: str
    ids: tuple[str, ...]
    rows: Rows

    @property
    def title(self) -> str:
        """The series as an error names it."""
        return f"series {shorten(self.name)}" if self.name else "the table"


@dataclass(frozen=True)
class Ordered:
    """Series in order of time.

    Attributes:
        groups: the series.
        times: rising times of each on the clock; None for a table without timestamps.
        clock: see `gatewright.data.time_zones.Clock`.
        step: time between two rows (see `gatewright.data.frequency`).
        notes: remarks for the user.
    """

    groups: list[Group]
    times: Sequence[Times | None]
    clock: Clock
    step: str
    notes: tuple[str, ...]


def unordered(stamps: Timestamps, groups: list[Group], step: str) -> Ordered:
    """Return series in the order of their source, for resampling to a step."""
    when = Clock.of(stamps.zone, step)
    times = [_timeline(stamps, group.rows) if when.absolute else stamps.local[group.rows] for group in groups]
    return Ordered(groups, times, when, step, stamps.notes)


def by_time(groups: list[Group], stamps: Timestamps) -> list[Group]:
    """Return series in order of their ids, and the rows of each in order of time."""
    times = stamps.local if stamps.early is None else stamps.early
    sorted_groups = sorted(groups, key=lambda group: group.ids)
    return [replace(each, rows=each.rows[np.argsort(times[each.rows], kind="stable")]) for each in sorted_groups]


def in_order(
    frame: Frame, name: str, stamps: Timestamps, groups: list[Group], expected: str = "", *, gaps: bool = False
) -> Ordered:
    """Return series in order of time; reverse those whose rows run from new to old.

    Args:
        frame: the table.
        name: name of the time column.
        stamps: its times.
        groups: the series, each in the order of its source.
        expected: the expected step; another one is looked for only if the rows do not keep it.
        gaps: whether rows may be missing.

    Raises:
        DataError: at a row that repeats a time or goes back, or if each series has a single row.
    """
    turned, ordered, timelines = 0, [], []
    for group in groups:
        times = _timeline(stamps, group.rows)
        if not _rises(times):
            back = group.rows[::-1]
            if _rises(_timeline(stamps, back)):
                group, times, turned = replace(group, rows=back), _timeline(stamps, back), turned + 1
            else:
                raise _disorder(frame, name, stamps, group, times)
        ordered.append(group)
        timelines.append(times)
    when, step = _clock(stamps, ordered, timelines, name, _Expected(expected, gaps))
    if stamps.early is not None and not when.absolute:
        timelines = [stamps.local[group.rows] for group in ordered]
        for group, times in zip(ordered, timelines, strict=True):
            if not _rises(times):
                raise _disorder(frame, name, stamps, group, times)
    notes = stamps.notes
    if turned:
        which = "the file's rows run" if len(groups) == 1 else f"the rows of {turned} of {len(groups)} series run"
        notes += (f"{which} from new to old: they are read in order of time",)
    return Ordered(ordered, timelines, when, step, notes)


def _rises(times: Times) -> bool:
    return bool((np.diff(times).astype(np.int64) > 0).all())


def _timeline(stamps: Timestamps, rows: Rows) -> Times:
    """Return times in UTC if the zone is a place, else as its clock shows them.

    In an hour that the clock shows twice, the order of the rows decides.
    """
    if stamps.early is None or stamps.late is None:
        return stamps.local[rows]
    times, late = stamps.early[rows], stamps.late[rows]
    twice = np.flatnonzero(times < late)
    for row in twice:
        if row > 0:
            if times[row] <= times[row - 1]:
                times[row] = late[row]
        elif _begins_late(times, twice):
            times[row] = late[row]
    return times


def _begins_late(times: Times, twice: Rows) -> bool:
    """Say whether rows that begin in an hour shown twice begin in the second: they go on without going back."""
    first = int(np.argmax(np.append(twice, -1) != np.arange(len(twice) + 1)))  # rows of that hour at the beginning
    return first < len(times) and bool((np.diff(times[:first]).astype(np.int64) > 0).all())


class _Expected(NamedTuple):
    """The expected step, "" for none, and whether rows may be missing."""

    step: str
    gaps: bool

    def keeps(self, times: list[Times]) -> bool:
        """Say whether rows keep the step; most of them, if rows may be missing."""
        places = [frequency.positions(each, self.step) for each in times] if self.step not in ("", "row") else []
        return bool(places) and all(np.isfinite(each).all() and self._next(each) for each in places)

    def _next(self, places: NDArray[np.float64]) -> bool:
        most = len(places) // 2 if self.gaps else len(places) - 1
        return int(np.count_nonzero(np.diff(places) == 1)) >= most


def _clock(
    stamps: Timestamps, groups: list[Group], timelines: list[Times], name: str, expected: _Expected
) -> tuple[Clock, str]:
    """Return the clock on which the step is even, and the step: days are even on the local clock, hours in UTC."""
    local = [stamps.local[group.rows] for group in groups]
    when = Clock.of(stamps.zone, expected.step)
    if expected.keeps(timelines if when.absolute else local):
        return when, expected.step
    step = _common_step(local, name)
    if stamps.early is None:
        return Clock(stamps.zone), step
    when = Clock.of(stamps.zone, step)
    if not when.absolute and not _even(local, step):
        absolute = _common_step(timelines, name)
        if absolute.endswith("d") and _even(timelines, absolute):
            return Clock(stamps.zone, True), f"{24 * int(absolute[:-1])}h"
    return when, _common_step(timelines, name) if when.absolute else step


def _even(times: list[Times], step: str) -> bool:
    return all(bool(np.isfinite(frequency.positions(each, step)).all()) for each in times)


def _common_step(times: list[Times], name: str) -> str:
    """Return the step that most rows keep, over all series."""
    steps: Counter[str] = Counter()
    for each in times:
        if len(each) > 1:
            steps[frequency.find_step(each)] += len(each)
    if not steps:
        raise DataError(f"time column {shorten(name)}", "at least two rows in a series", "one")
    return steps.most_common(1)[0][0]


def remedy(times: Times) -> str:
    """Return the remedy for rows at irregular times."""
    return f"--resample {usual_step(times)} --aggregate mean, sum or last gathers rows into steps"


def _disorder(frame: Frame, name: str, stamps: Timestamps, group: Group, times: Times) -> DataError:
    """Return the error of a series whose times neither rise nor fall throughout."""
    differences = np.diff(times).astype(np.int64)
    row = int(np.argmax(differences <= 0)) + 1
    local = stamps.local[group.rows]
    what = "goes back"
    several = "" if group.ids else "; if the table holds many series, name their column with --id"
    hint = f"{several}; rows out of order have to be sorted by time"
    if differences[row - 1] == 0:
        what, hint = "repeats", f"{several}; {remedy(times)}"
        clock = _clock_column(frame, name)
        if clock:
            hint = f"; the clock times of column {shorten(clock)} have to stand in one column with the dates"
    if not stamps.zoned and stamps.early is None and _is_autumn(local, differences):
        hint = "; where the clocks are put back, --time-zone (such as Europe/Berlin) tells the two hours apart"
    return DataError(
        f"time column {shorten(name)}, {frame.place(int(group.rows[row]))}",
        f"a later timestamp than {frequency.shown(local[row - 1])}, the one before in {group.title}",
        f"{frequency.shown(local[row])}, which {what}{hint}",
    )


def _clock_column(frame: Frame, name: str) -> str:
    """Return the name of another column with nothing but times of day; "" without one."""
    for other in frame.cells.columns:
        column = frame.cells[other].head(100)
        if other == name or column.dtype != pl.String or column.null_count() == len(column):
            continue
        if column.drop_nulls().str.contains(_TIME_OF_DAY).all():
            return other
    return ""


def _is_autumn(local: Times, differences: NDArray[np.int64]) -> bool:
    """Say whether the rows that go back do so by up to an hour, at night, and at most twice a year."""
    back = np.flatnonzero(differences <= 0) + 1
    hour = (local[back] - local[back].astype("datetime64[D]")).astype(np.int64) // _HOUR
    runs = np.diff(local[back]).astype(np.int64) // (24 * _HOUR)
    rare = bool(((runs <= 1) | (runs > 150)).all())
    return (
        bool((differences[back - 1] > -2 * _HOUR).all() and (hour <= 3).all())
        and rare
        and len(local) > len(back) * 4
    )
