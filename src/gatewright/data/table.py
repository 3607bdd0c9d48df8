"""From a CSV or Parquet file to checked series: rows in time order at one step, every cell usable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import clock
from gatewright.data.cells import is_text, numbers, text
from gatewright.data.frame import Frame, read_frame
from gatewright.data.roles import NO_TIME as NO_TIME
from gatewright.data.roles import Roles as Roles
from gatewright.data.roles import find_roles
from gatewright.data.stamps import timestamps
from gatewright.errors import DataError
from gatewright.spec import shown

#: Most rows that are put into gaps, for each row that is there; more are a wrong timestamp.
MOST_GAPS = 10


@dataclass(frozen=True)
class Series:
    """One series: rows in time order, missing values as NaN.

    Attributes:
        name: what the id column says; "" if there is none.
        times: timestamps (rows,), or None.
        values: float64 (rows, columns).
        lines: where each row stands in its file; 0 for a row that fills a gap.
        unit: what ``lines`` counts, "line" or "row".
    """

    name: str
    times: clock.Times | None
    values: NDArray[np.float64]
    lines: NDArray[np.int64]
    unit: str = "line"

    @property
    def title(self) -> str:
        """The series as an error names it."""
        return f"series {shown(self.name)}" if self.name else "the table"

    def place(self, row: int) -> str:
        """A row as an error names it."""
        if self.lines[row]:
            return f"{self.unit} {self.lines[row]}"
        return "a missing row" if self.times is None else f"the missing row of {clock.shown(self.times[row])}"


@dataclass(frozen=True)
class Table:
    """All series of a file.

    Attributes:
        roles: what each column is for, with everything found out.
        series: the series.
        step: time between two rows (see `gatewright.data.clock`).
        unused: columns that no role names.
    """

    roles: Roles
    series: tuple[Series, ...]
    step: str
    unused: tuple[str, ...]


def read_table(path: Path, roles: Roles, fill: str = "") -> Table:
    """Read and check a table.

    Args:
        path: a ``.csv``, ``.tsv`` or ``.txt`` (also packed, ``.gz``) or ``.parquet`` file.
        roles: what the columns are for; the time column, and the target if it is the only numeric column,
            are found where they are not named.
        fill: "forward" or "mean" if missing rows and inputs will be filled in; "" makes them errors.

    Raises:
        DataError: names the column and the row of what cannot be used.
    """
    frame = read_frame(path)
    roles = find_roles(frame.cells, roles)
    values = np.stack([numbers(frame, name) for name in roles.columns], axis=1)
    times = None if roles.time == NO_TIME else timestamps(frame, roles.time, roles.time_format)
    series = [
        Series(name, None if times is None else times[rows], values[rows], frame.lines[rows], frame.unit)
        for name, rows in _groups(frame, roles.series)
    ]
    step = "row"
    if times is not None:
        for one in series:
            _check_order(one, roles)
        step = _common_step(series, roles)
        series = [_on_the_grid(one, step, roles, fill) for one in series]
    series = [_checked(one, roles, fill) for one in series]
    used = {*roles.columns, roles.time, roles.series}
    return Table(roles, tuple(series), step, tuple(name for name in frame.cells.columns if name not in used))


def _groups(frame: Frame, series: str) -> list[tuple[str, NDArray[np.int64]]]:
    """Name and rows of each series, in order of first appearance."""
    if not series:
        return [("", np.arange(len(frame.cells)))]
    column = frame.cells[series]
    if column.dtype.is_nested() or column.dtype == pl.Binary or column.dtype == pl.Object:
        raise DataError(f"id column {shown(series)}", "names", f"cells of type {shown(str(column.dtype))}")
    names = text(column) if is_text(column) else column.cast(pl.String)
    if names.has_nulls():
        row = int(names.is_null().arg_max() or 0)
        raise DataError(f"id column {shown(series)}, {frame.place(row)}", "the name of a series", "nothing")
    groups = names.alias("name").to_frame().with_row_index("row").group_by("name", maintain_order=True)
    return [(str(key[0]), group["row"].to_numpy().astype(np.int64)) for key, group in groups]


def _check_order(one: Series, roles: Roles) -> None:
    assert one.times is not None
    differences = np.diff(one.times).astype("int64")
    if np.all(differences > 0):
        return
    row = int(np.argmax(differences <= 0)) + 1
    what = "repeats" if differences[row - 1] == 0 else "goes back"
    hint = "" if roles.series else "; if the table holds many series, name their column with --id"
    raise DataError(
        f"time column {shown(roles.time)}, {one.place(row)}",
        f"a later timestamp than {clock.shown(one.times[row - 1])}, the one before in {one.title}",
        f"{clock.shown(one.times[row])}, which {what}{hint}",
    )


def _common_step(series: list[Series], roles: Roles) -> str:
    """Return the step that most rows keep."""
    steps: Counter[str] = Counter()
    for one in series:
        if one.times is not None and len(one.times) > 1:
            steps[clock.find_step(one.times)] += len(one.times)
    if not steps:
        raise DataError(f"time column {shown(roles.time)}", "at least two rows in a series", "one")
    return steps.most_common(1)[0][0]


def _on_the_grid(one: Series, step: str, roles: Roles, fill: str) -> Series:
    """Check that rows follow each other at the step; with ``fill``, put empty rows into whole gaps."""
    assert one.times is not None
    places = clock.positions(one.times, step)
    gaps = np.diff(places) != 1  # true beside a NaN too
    if not gaps.any():
        return one
    on_grid = bool(np.isfinite(places).all())
    missing = int(places[-1]) + 1 - len(places) if on_grid else 0
    if not on_grid or not fill or missing > MOST_GAPS * len(places):
        row = int(np.argmax(gaps if on_grid else np.isnan(places[1:]))) + 1
        if np.isnan(places[0]):
            row = 0
        hint = "off that step"
        if on_grid:
            fills = "too many to fill" if fill else "--fill forward or mean puts them in"
            hint = f"{int(places[row] - places[row - 1])} steps on; missing rows: {missing}, {fills}"
            hint += ", --time none takes the rows in order"
        after = f" after {clock.shown(one.times[row - 1])}" if row else ""
        raise DataError(
            f"time column {shown(roles.time)}, {one.place(row)}",
            f"one row every {step} in {one.title}",
            f"{clock.shown(one.times[row])}{after}, {hint}",
        )
    index = places.astype(np.int64)
    rows = len(index) + missing
    values = np.full((rows, one.values.shape[1]), np.nan)
    lines = np.zeros(rows, dtype=np.int64)
    values[index], lines[index] = one.values, one.lines
    return replace(one, times=clock.after(one.times[0], step, np.arange(rows)), values=values, lines=lines)


def _checked(one: Series, roles: Roles, fill: str) -> Series:
    """Put a static's one value into every row; refuse missing inputs unless they will be filled.

    After the last observed target, inputs known only in the past may be missing: those rows are the future.
    """
    targets = len(roles.targets)
    observed = np.flatnonzero(np.isfinite(one.values[:, :targets]).any(axis=1))
    if len(observed) == 0:
        names = ", ".join(map(shown, roles.targets))
        raise DataError(f"target {names} of {one.title}", "at least one observed value", "none")
    values = one.values.copy()
    for index, name in enumerate(roles.columns[targets:], start=targets):
        column = values[:, index]
        missing = np.isnan(column)
        if name in roles.past:
            missing[observed[-1] + 1 :] = False
        if name in roles.static:
            column[:] = _only_value(one, name, column)
        elif missing.any() and not fill:
            hint = f"nothing (missing in {int(missing.sum())} rows; --fill forward or mean fills them)"
            place = one.place(int(np.argmax(missing)))
            raise DataError(f"column {shown(name)}, {place}", "a number in every row of an input", hint)
    return replace(one, values=values)


def _only_value(one: Series, name: str, column: NDArray[np.float64]) -> float:
    given = np.flatnonzero(np.isfinite(column))
    if len(given) == 0:
        raise DataError(f"static column {shown(name)}", f"a value in {one.title}", "none")
    first = float(column[given[0]])
    other = np.flatnonzero(column[given] != first)
    if len(other):
        row = int(given[other[0]])
        got = f"{first:.17g} and {column[row]:.17g}"
        raise DataError(f"static column {shown(name)}, {one.place(row)}", f"one value in {one.title}", got)
    return first
