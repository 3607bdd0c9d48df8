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
from gatewright.data.frame import Frame
from gatewright.data.resample import proposed
from gatewright.data.time_zones import Clock, Times
from gatewright.data.timestamps import Timestamps
from gatewright.errors import DataError, shorten

Rows = NDArray[np.int64]
_HOUR = 3_600_000_000
_TIME_OF_DAY = r"^\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(\s?[AaPp][Mm])?\s*$"


@dataclass(frozen=True)
class Group:
    """Rows of one series.

    Attributes:
        name: what the id columns say, joined; "" if there are none.
        ids: what each id column says.
        rows: where they stand in the frame, in order of time once `in_order` has returned them.
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
        times: of each, rising, as ``clock`` keeps them; None where the table has none.
        clock: see `gatewright.data.time_zones.Clock`.
        step: time between two rows (see `gatewright.data.frequency`).
        notes: what a person should know of it.
    """

    groups: list[Group]
    times: Sequence[Times | None]
    clock: Clock
    step: str
    notes: tuple[str, ...]


def unordered(stamps: Timestamps, groups: list[Group], step: str) -> Ordered:
    """Return series as they stand in the file, for steps that their rows will be gathered into."""
    when = Clock.of(stamps.zone, step)
    times = [_kept(stamps, group.rows) if when.absolute else stamps.local[group.rows] for group in groups]
    return Ordered(groups, times, when, step, stamps.notes)


def in_order(
    frame: Frame, name: str, stamps: Timestamps, groups: list[Group], expected: str = "", *, gaps: bool = False
) -> Ordered:
    """Return series in order of time, turned round where their rows run from new to old.

    Args:
        frame: the table.
        name: of the time column.
        stamps: what it says.
        groups: the series, each in the order of the file.
        expected: the step that is expected; another one is found only where rows do not follow each other at it.
        gaps: whether rows may be missing.

    Raises:
        DataError: at a row that repeats a time or goes back, or if there is but one row in each series.
    """
    turned, ordered, kept = 0, [], []
    for group in groups:
        times = _kept(stamps, group.rows)
        if not _rises(times):
            back = group.rows[::-1]
            if _rises(_kept(stamps, back)):
                group, times, turned = replace(group, rows=back), _kept(stamps, back), turned + 1
            else:
                raise _disorder(frame, name, stamps, group, times)
        ordered.append(group)
        kept.append(times)
    when, step = _clock(stamps, ordered, kept, name, _Expected(expected, gaps))
    if stamps.early is not None and not when.absolute:
        kept = [stamps.local[group.rows] for group in ordered]
        for group, times in zip(ordered, kept, strict=True):
            if not _rises(times):
                raise _disorder(frame, name, stamps, group, times)
    notes = stamps.notes
    if turned:
        which = "the file's rows run" if len(groups) == 1 else f"the rows of {turned} of {len(groups)} series run"
        notes += (f"{which} from new to old: they are read in order of time",)
    return Ordered(ordered, kept, when, step, notes)


def _rises(times: Times) -> bool:
    return bool((np.diff(times).astype(np.int64) > 0).all())


def _kept(stamps: Timestamps, rows: Rows) -> Times:
    """Return times in UTC where the zone is a place, else as its clock shows them.

    An hour that the clock shows twice is told apart by the order of the rows.
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
    """Whether rows that begin in an hour shown twice begin in the second: it goes on without going back."""
    first = int(np.argmax(np.append(twice, -1) != np.arange(len(twice) + 1)))  # rows of that hour at the beginning
    return first < len(times) and bool((np.diff(times[:first]).astype(np.int64) > 0).all())


class _Expected(NamedTuple):
    """A step that is expected, "" for none, and whether rows may be missing."""

    step: str
    gaps: bool

    def keeps(self, times: list[Times]) -> bool:
        """Say whether rows follow each other at the step; most of them, where rows may be missing."""
        places = [frequency.positions(each, self.step) for each in times] if self.step not in ("", "row") else []
        return bool(places) and all(np.isfinite(each).all() and self._next(each) for each in places)

    def _next(self, places: NDArray[np.float64]) -> bool:
        most = len(places) // 2 if self.gaps else len(places) - 1
        return int(np.count_nonzero(np.diff(places) == 1)) >= most


def _clock(
    stamps: Timestamps, groups: list[Group], kept: list[Times], name: str, expected: _Expected
) -> tuple[Clock, str]:
    """Return the clock on which the step is even, and the step: days are even on the local clock, hours in UTC."""
    local = [stamps.local[group.rows] for group in groups]
    when = Clock.of(stamps.zone, expected.step)
    if expected.keeps(kept if when.absolute else local):
        return when, expected.step
    step = _common_step(local, name)
    if stamps.early is None:
        return Clock(stamps.zone), step
    when = Clock.of(stamps.zone, step)
    if not when.absolute and not _even(local, step):
        absolute = _common_step(kept, name)
        if absolute.endswith("d") and _even(kept, absolute):
            return Clock(stamps.zone, True), f"{24 * int(absolute[:-1])}h"
    return when, _common_step(kept, name) if when.absolute else step


def _even(times: list[Times], step: str) -> bool:
    return all(bool(np.isfinite(frequency.positions(each, step)).all()) for each in times)


def _common_step(times: list[Times], name: str) -> str:
    """Return the step that most rows keep."""
    steps: Counter[str] = Counter()
    for each in times:
        if len(each) > 1:
            steps[frequency.find_step(each)] += len(each)
    if not steps:
        raise DataError(f"time column {shorten(name)}", "at least two rows in a series", "one")
    return steps.most_common(1)[0][0]


def remedy(times: Times) -> str:
    """Say what makes rows at any times regular."""
    return f"--resample {proposed(times)} --aggregate mean, sum or last gathers rows into steps"


def _disorder(frame: Frame, name: str, stamps: Timestamps, group: Group, times: Times) -> DataError:
    """Return the error of a series whose times neither rise nor fall throughout."""
    differences = np.diff(times).astype(np.int64)
    row = int(np.argmax(differences <= 0)) + 1
    local = stamps.local[group.rows]
    what = "goes back"
    hint = "" if group.ids else "; if the table holds many series, name their column with --id"
    if differences[row - 1] == 0:
        what, hint = "repeats", f"{hint}; {remedy(times)}"
        beside = _clock_beside(frame, name)
        if beside:
            hint = f"; the clock times of column {shorten(beside)} have to stand in one column with the dates"
    if not stamps.zoned and stamps.early is None and _is_autumn(local, differences):
        hint = "; where the clocks are put back, --time-zone (such as Europe/Berlin) tells the two hours apart"
    return DataError(
        f"time column {shorten(name)}, {frame.place(int(group.rows[row]))}",
        f"a later timestamp than {frequency.shown(local[row - 1])}, the one before in {group.title}",
        f"{frequency.shown(local[row])}, which {what}{hint}",
    )


def _clock_beside(frame: Frame, name: str) -> str:
    """Return another column that holds nothing but times of day; an empty string if there is none."""
    for other in frame.cells.columns:
        column = frame.cells[other].head(100)
        if other == name or column.dtype != pl.String or column.null_count() == len(column):
            continue
        if column.drop_nulls().str.contains(_TIME_OF_DAY).all():
            return other
    return ""


def _is_autumn(local: Times, differences: NDArray[np.int64]) -> bool:
    """Whether all rows that go back do so by an hour at most, at night, at most once in half a year."""
    back = np.flatnonzero(differences <= 0) + 1
    hour = (local[back] - local[back].astype("datetime64[D]")).astype(np.int64) // _HOUR
    runs = np.diff(local[back]).astype(np.int64) // (24 * _HOUR)
    rare = bool(((runs <= 1) | (runs > 150)).all())
    return (
        bool((differences[back - 1] > -2 * _HOUR).all() and (hour <= 3).all())
        and rare
        and len(local) > len(back) * 4
    )
