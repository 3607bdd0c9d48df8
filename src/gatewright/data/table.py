"""Checked series from a table: rows in time order at one step, every cell usable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.categories import category_columns, codes
from gatewright.data.cell_text import is_text, text
from gatewright.data.columns import Columns, columns_of
from gatewright.data.datetimes.timestamps import timestamps
from gatewright.data.frame import Frame
from gatewright.data.kept_sources import read_once
from gatewright.data.numeric_columns import numbers
from gatewright.data.public_holidays import counts, require_regions, require_times
from gatewright.data.resample import resampled
from gatewright.data.roles import NO_TIME as NO_TIME
from gatewright.data.roles import Roles as Roles
from gatewright.data.roles import find_roles
from gatewright.data.row_order import Group, Ordered, by_time, in_order, remedy, unordered
from gatewright.data.sources import Source, TableSource, digest, frame_of
from gatewright.data.time_series import Series as Series
from gatewright.data.time_zones import NAIVE, Clock
from gatewright.errors import DataError, shorten
from gatewright.spec import holiday_column

#: The values of each column of categories.
Categories = Mapping[str, tuple[str, ...]]

#: Maximum of rows put into gaps for each existing row; more of them point to a wrong timestamp.
MOST_GAPS = 10


class UnobservedError(DataError):
    """No series of a table has an observed target."""


@dataclass(frozen=True)
class Table:
    """All series of a table.

    Attributes:
        roles: what each column is for, including what was detected.
        series: the series.
        step: time between two rows (see `gatewright.data.frequency`).
        unused: columns that no role names.
        empty: names of the series without an observed target, which are left out.
        clock: the clock of the timestamps.
        zoned: whether the timestamps name their zone.
        notes: remarks for the user on how they were read.
        categories: the inputs that hold categories, in the order past, static, known, and the values of each.  In
            `Series.values` a category is the index of its value, from 1 on; 0 is another value, NaN a missing one.
    """

    roles: Roles
    series: tuple[Series, ...]
    step: str
    unused: tuple[str, ...]
    empty: tuple[str, ...] = ()
    clock: Clock = NAIVE
    zoned: bool = False
    notes: tuple[str, ...] = ()
    categories: Categories = field(default_factory=dict)


#: What a training reads: a path or a value, or a table that was read and checked before.
TrainingSource = Source | Table


def digest_of(source: TrainingSource) -> str:
    """Return the SHA-256 of what a source holds, in hexadecimal digits; see `gatewright.data.sources.digest`.

    The digest of a `Table` covers its columns, series, times and values.
    """
    if not isinstance(source, Table):
        return digest(source)
    hasher = hashlib.sha256(json.dumps(["checked table", source.roles.columns, source.step]).encode())
    if source.categories:
        hasher.update(json.dumps(dict(source.categories)).encode())
    for series in source.series:
        hasher.update(json.dumps([series.name, series.ids, series.values.shape]).encode())
        hasher.update(np.ascontiguousarray(series.values, "<f8").tobytes())
        if series.times is not None:
            hasher.update(np.ascontiguousarray(series.times.astype("<i8")).tobytes())
    return hasher.hexdigest()


def read_table(path: Path | str, roles: Roles, fill: str = "", step: str = "") -> Table:
    """Read and check the table in a file: `table_of` for a path.

    Raises:
        DataError: names the column and the row at fault.
    """
    return table_of(path, roles, fill, step)


def table_of(source: TableSource, roles: Roles, fill: str = "", step: str = "") -> Table:
    """Read and check a table: the same from a file, a data frame and an Arrow table with the same content.

    Args:
        source: the path of a ``.csv``, ``.tsv`` or ``.txt`` (also packed, ``.gz``) or ``.parquet`` file; a polars
            or pandas DataFrame; an Arrow table, or anything else with the Arrow PyCapsule interface.  The
            `DatetimeIndex` or `PeriodIndex` of a pandas frame is its time column.
        roles: what the columns are for; the time column, and the target if it is the only numeric column,
            are detected if they are not named.
        fill: "forward" or "mean" if missing rows and inputs will be filled in; "" makes them errors.
        step: the expected step; another one is looked for only if the rows do not keep it.

    Raises:
        DataError: names the column and the row at fault.

    >>> days = ["2024-01-01", "2024-01-02", "2024-01-03"]
    >>> table = table_of(pl.DataFrame({"day": days, "load": [5.0, 7.0, 6.0]}), Roles(targets=("load",)))
    >>> table.roles.time, table.step, table.series[0].values.ravel()
    ('day', '1d', array([5., 7., 6.]))
    """
    return read_once(source, ("table", roles, fill, step), lambda: _read(source, roles, fill, step))


def _read(source: TableSource, roles: Roles, fill: str, step: str) -> Table:
    require_regions(roles.holidays)
    frame = frame_of(source, roles.notation)
    roles = roles if roles.time else replace(roles, time=frame.time)
    columns = columns_of(frame.cells, roles.notation, roles.time_format)
    roles = find_roles(columns, roles)
    values, categories = _values(frame, columns, roles)
    groups = [Group(*group) for group in groups_of(frame, roles.ids)]
    ordered, zoned = _ordered(frame, columns, roles, groups, fill, step)
    series = [
        Series(each.name, times, values[each.rows], frame.lines[each.rows], frame.unit, each.ids, ordered.clock)
        for each, times in zip(ordered.groups, ordered.times, strict=True)
    ]
    if roles.resample:
        for each in series:
            _check_static(each, roles, categories)
        series = [resampled(each, roles, frozenset(categories)) for each in series]
    if ordered.step != "row":
        series = [_on_the_grid(each, ordered.step, roles, fill) for each in series]
    if roles.holidays:
        roles, series = _with_holidays(roles, series, ordered.step)
    last_observed = [_last_observed(each, roles) for each in series]
    if max(last_observed) < 0:
        names = ", ".join(map(shorten, roles.targets))
        raise UnobservedError(f"target {names} of {series[0].title}", "at least one observed value", "none")
    empty = tuple(each.name for each, last in zip(series, last_observed, strict=True) if last < 0)
    series = [
        _checked(each, roles, fill, last, categories)
        for each, last in zip(series, last_observed, strict=True)
        if last >= 0
    ]
    used = {*roles.columns, roles.time, *roles.ids}
    unused = tuple(name for name in frame.cells.columns if name not in used)
    how = (ordered.clock, zoned, ordered.notes)
    return Table(roles, tuple(series), ordered.step, unused, empty, *how, categories)


def _values(frame: Frame, columns: Columns, roles: Roles) -> tuple[NDArray[np.float64], Categories]:
    """Return the cells of the columns with a role as numbers (rows, columns), and the values of categories."""
    names = category_columns(columns, roles, frame.place)
    categories = {name: codes(columns[name], frame.place) for name in names}
    cells = [
        categories[name][1] if name in categories else numbers(columns[name], frame.place)
        for name in roles.columns
    ]
    return np.stack(cells, axis=1), {name: values for name, (values, _) in categories.items()}


def _with_holidays(roles: Roles, series: list[Series], step: str) -> tuple[Roles, list[Series]]:
    """Add the number of holidays of each row to the inputs known in advance."""
    require_times(roles.holidays, series[0].times is not None)
    names = tuple(map(holiday_column, roles.holidays))
    for name in names:
        if name in roles.columns:
            raise DataError("--holidays", "a name that no column has", shorten(name))
    place = len(roles.targets + roles.past + roles.known)
    longer = []
    for each in series:
        assert each.times is not None
        found = counts(each.clock.local(each.times), step, roles.holidays)
        longer.append(replace(each, values=np.insert(each.values, [place] * len(names), found, axis=1)))
    return replace(roles, known=roles.known + names), longer


def _ordered(
    frame: Frame, columns: Columns, roles: Roles, groups: list[Group], fill: str, expected: str
) -> tuple[Ordered, bool]:
    """Return the series in order of time, and whether their timestamps name a zone."""
    if roles.time == NO_TIME:
        if not frame.in_order:
            raise DataError("--time", "the column of the times: rows of several files have no order", "none")
        if roles.resample:
            raise DataError("--resample", "a table with timestamps", "a table without any, or --time none")
        return Ordered(groups, [None] * len(groups), NAIVE, "row", ()), False
    stamps = timestamps(columns[roles.time], frame.place, roles.time_zone)
    if not frame.in_order:
        groups = by_time(groups, stamps)
    if roles.resample:
        return unordered(stamps, groups, frequency.bin_step(roles.resample)), stamps.zoned
    return in_order(frame, roles.time, stamps, groups, expected, gaps=bool(fill)), stamps.zoned


def groups_of(frame: Frame, ids: tuple[str, ...]) -> list[tuple[str, tuple[str, ...], NDArray[np.int64]]]:
    """Return name, ids and rows of each series, in order of first appearance."""
    if not ids:
        return [("", (), np.arange(len(frame.cells)))]
    cells = pl.DataFrame([_ids(frame, name).alias(str(number)) for number, name in enumerate(ids)])
    groups = cells.with_row_index("row").group_by(cells.columns, maintain_order=True).agg("row")
    ends = groups["row"].list.len().to_numpy().cumsum()
    rows = np.split(groups["row"].explode().to_numpy().astype(np.int64), ends[:-1])
    places = dict(zip((tuple(map(str, key)) for key in groups.select(cells.columns).rows()), rows, strict=True))
    names = [" / ".join(key) for key in places]
    if len(set(names)) < len(names):  # "a / b" of "c", and "a" of "b / c"
        names = [" / ".join(map(repr, key)) for key in places]
    return [(name, key, rows) for name, (key, rows) in zip(names, places.items(), strict=True)]


def _ids(frame: Frame, name: str) -> pl.Series:
    """Return a column of ids as text."""
    column = frame.cells[name]
    if column.dtype.is_nested() or column.dtype == pl.Binary or column.dtype == pl.Object:
        raise DataError(f"id column {shorten(name)}", "names", f"cells of type {shorten(str(column.dtype))}")
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype == pl.Duration:
        names = column.dt.to_string("polars")
    else:
        names = text(column) if is_text(column) else column.cast(pl.String)
    if names.has_nulls():
        row = int(names.is_null().arg_max() or 0)
        raise DataError(f"id column {shorten(name)}, {frame.place(row)}", "the name of a series", "nothing")
    return names


def _on_the_grid(series: Series, step: str, roles: Roles, fill: str) -> Series:
    """Check that rows keep the step; with ``fill``, put empty rows into gaps of whole steps."""
    assert series.times is not None
    places = frequency.positions(series.times, step)
    gaps = np.diff(places) != 1  # true next to a NaN too
    if not gaps.any():
        return series
    on_grid = bool(np.isfinite(places).all())
    missing = int(places[-1]) + 1 - len(places) if on_grid else 0
    if not on_grid or not fill or missing > MOST_GAPS * len(places):
        row = int(np.argmax(gaps if on_grid else np.isnan(places[1:]))) + 1
        if np.isnan(places[0]):
            row = 0
        hint = f"off that step; {remedy(series.times)}"
        if on_grid:
            hint = f"{int(places[row] - places[row - 1])} steps on; {_gap_remedy(series, places, roles, fill)}"
        after = f" after {series.when(row - 1)}" if row else ""
        raise DataError(
            f"time column {shorten(roles.time)}, {series.place(row)}",
            f"one row every {step} in {series.title}",
            f"{series.when(row)}{after}, {hint}",
        )
    index = places.astype(np.int64)
    rows = len(index) + missing
    values = np.full((rows, series.values.shape[1]), np.nan)
    lines = np.zeros(rows, dtype=np.int64)
    values[index], lines[index] = series.values, series.lines
    times = frequency.after(series.times[0], step, np.arange(rows))
    return replace(series, times=times, values=values, lines=lines)


def _gap_remedy(series: Series, places: NDArray[np.float64], roles: Roles, fill: str) -> str:
    """Return the number of missing rows, and the remedy."""
    assert series.times is not None
    hint = f"missing rows: {int(places[-1]) + 1 - len(places)}, "
    hint += "too many to fill" if fill else "--fill forward or mean puts them in"
    steps = np.diff(places)
    irregular = len(steps) > 3 and 2 * np.count_nonzero(steps == 1) <= len(steps)
    if roles.resample:
        return f"{hint}; a wider --resample leaves fewer" if irregular else hint
    hint += ", --time none takes the rows in order"
    return f"{hint}; {remedy(series.times)}" if irregular else hint


def _checked(series: Series, roles: Roles, fill: str, last: int, categories: Categories) -> Series:
    """Put the value of a static input into every row; refuse missing inputs unless they will be filled.

    After the last observed target, inputs known only in the past may be missing: those rows are the future.  A
    missing category counts as an unknown one.

    Args:
        series: the series.
        roles: what its columns are for.
        fill: how missing inputs are filled; "" makes them errors.
        last: its last row with an observed target.
        categories: the values of each column of categories.
    """
    targets = len(roles.targets)
    if not roles.static and np.isfinite(series.values[:, targets:]).all():
        return series
    values = series.values.copy()
    for index, name in enumerate(roles.columns[targets:], start=targets):
        column = values[:, index]
        missing = np.isnan(column)
        if name in roles.past:
            missing[last + 1 :] = False
        if name in roles.static:
            column[:] = _only_value(series, name, column, categories.get(name))
        elif missing.any() and not fill and name not in categories:
            hint = f"nothing (missing in {int(missing.sum())} rows; --fill forward or mean fills them)"
            place = series.place(int(np.argmax(missing)))
            raise DataError(f"column {shorten(name)}, {place}", "a number in every row of an input", hint)
    return replace(series, values=values)


def _last_observed(series: Series, roles: Roles) -> int:
    """Return the last row with an observed target; -1 without one."""
    targets = len(roles.targets)
    if len(series.values) and np.isfinite(series.values[-1, :targets]).any():
        return len(series.values) - 1
    observed = np.flatnonzero(np.isfinite(series.values[:, :targets]).any(axis=1))
    return int(observed[-1]) if len(observed) else -1


def _check_static(series: Series, roles: Roles, categories: Categories) -> None:
    first = len(roles.columns) - len(roles.static)
    for index, name in enumerate(roles.static, start=first):
        _only_value(series, name, series.values[:, index], categories.get(name))


def _only_value(series: Series, name: str, column: NDArray[np.float64], values: tuple[str, ...] | None) -> float:
    """Return the value of a static input; NaN for a category without one."""
    observed = np.flatnonzero(np.isfinite(column))
    if len(observed) == 0:
        if values is not None:
            return float("nan")
        raise DataError(f"static column {shorten(name)}", f"a value in {series.title}", "none")
    first = float(column[observed[0]])
    other = np.flatnonzero(column[observed] != first)
    if len(other):
        row = int(observed[other[0]])
        both = (first, float(column[row]))
        got = " and ".join(f"{each:.17g}" if values is None else shorten(values[int(each) - 1]) for each in both)
        raise DataError(f"static column {shorten(name)}, {series.place(row)}", f"one value in {series.title}", got)
    return first
