"""Roles of the columns of a table: targets, inputs, time, series."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from gatewright.data import time_column
from gatewright.data.cell_text import is_text, text
from gatewright.data.columns import Column, Columns
from gatewright.data.number_format import PLAIN, Notation
from gatewright.data.time_zones import NO_ZONE
from gatewright.errors import DataError, MissingColumnError, nearest, shorten

#: Names of columns of row numbers that programs write; an empty name has become column_1.
_INDEX = re.compile(
    r"column_1|unnamed: \d+(\.\d+)*|(__index_)?level_\d+(__)?|index|row_?names?|row_?(nr|number)", re.I
)

#: Stands for a table without timestamps in place of the name of a time column.
NO_TIME = "none"


@dataclass(frozen=True)
class Roles:
    """The roles of the columns of a table.

    Attributes:
        targets: columns to forecast.
        past: inputs known up to the present.
        known: inputs known in advance.
        static: inputs with one value for each series.
        time: the timestamps; "" to detect them, "none" for rows in order without timestamps.
        time_format: format of the timestamps as in strftime; "" to detect it.
        time_zone: zone whose clock shows the times, such as "Europe/Berlin", "+02:00" or "UTC"; "none" if no time
            may name a zone; "" to detect it.
        series: the id columns, which name the series of a row (a `str` for a single column); none for one series.
        resample: width of the bins that rows are aggregated into, such as "1h"; "" for rows as they are.
        aggregate: "mean", "sum" or "last" of the observed values in a bin; "" for the mean.
        notation: how numbers are written, and which words and numbers stand for a missing value.
        category: inputs that hold categories, in addition to those that are found; "none" first for these alone.
        holidays: regions whose public holidays are inputs known in advance: the last of ``known``, once a table is
            read.
        fixed: whether a trained model fixes the columns, so that nobody can name others.
    """

    targets: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    time: str = ""
    time_format: str = ""
    series: str | tuple[str, ...] = ()
    resample: str = ""
    aggregate: str = ""
    notation: Notation = PLAIN
    time_zone: str = ""
    category: tuple[str, ...] = ()
    holidays: tuple[str, ...] = ()
    fixed: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns that name the series."""
        return (self.series,) if self.series and isinstance(self.series, str) else tuple(self.series or ())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, in the order of a series' values."""
        return self.targets + self.past + self.known + self.static

    def named(self) -> list[tuple[str, str]]:
        """Return role and name of every named column, in order."""
        time = () if not self.time or self.time == NO_TIME else (self.time,)
        roles = {
            "target": self.targets,
            "past": self.past,
            "known": self.known,
            "static": self.static,
            "id": self.ids,
            "time": time,
        }
        return [(role, name) for role, names in roles.items() for name in names]


def find_roles(columns: Columns, roles: Roles) -> Roles:
    """Check the named columns; detect the timestamps, and the target if a single column is left.

    Raises:
        DataError: names the option, and the column with the nearest name to a missing one.
    """
    seen: dict[str, str] = {}
    for role, name in roles.named():
        if name not in columns:
            used = {each for _, each in roles.named()} if roles.fixed else set()
            raise missing_column(role, name, columns, roles.fixed, used)
        if name in seen and {seen[name], role} != {"static", "id"}:
            both = f"--{seen[name]} and --{role}" if seen[name] != role else f"--{role}"
            raise DataError(both, "each column once", f"{shorten(name)} twice")
        seen[name] = role
    free = [name for name in columns if name not in seen]
    time = roles.time or time_column.find(longest_series(columns, roles.ids), free, roles.time_format) or NO_TIME
    if time == NO_TIME:
        if roles.time_format:
            raise DataError("--time-format", "a column of timestamps written so", repr(roles.time_format))
        if roles.time_zone not in ("", NO_ZONE):
            raise DataError("--time-zone", "a column of timestamps", repr(roles.time_zone))
    targets = roles.targets
    if not targets:
        free = [name for name in free if name != time]
        targets = (_only_target([columns[name] for name in free]),)
    return replace(roles, time=time, targets=targets)


#: What a column is for a trained model.
_OF_MODEL = {
    "target": "the target of the model",
    "past": "an input of the model",
    "known": "an input of the model, known in advance",
    "static": "a static input of the model",
    "features": "which the model reads",
    "id": "the id column in training",
    "time": "the time column in training",
    "label": "the label in training",
}


def missing_column(
    role: str, name: str, columns: Iterable[str], fixed: bool, used: Iterable[str] = ()
) -> DataError:
    """Return the error for a column that a table lacks.

    Args:
        role: what the column is for.
        name: its name.
        columns: the columns of the table.
        fixed: whether a trained model fixes it; then no option names another one.
        used: columns that cannot be meant, since they have a role.

    >>> print(missing_column("target", "load", ["day", "Load"], fixed=True))
    columns: expected the column 'load', the target of the model, got 'day', 'Load'; did you mean 'Load'? Rename it
    """
    columns = list(columns)
    used = set(used)
    hint = nearest(name, [each for each in columns if each not in used])
    if not fixed:
        return DataError(f"--{role}", f"a column out of {listed_names(columns)}", f"{shorten(name)}{hint}")
    expected = f"the column {shorten(name)}, {_OF_MODEL[role]}"
    remedy = f"{hint} Rename it" if hint else "; rename the column that has these values"
    return MissingColumnError("columns", expected, f"{listed_names(columns)}{remedy}")


def longest_series(columns: Columns, ids: tuple[str, ...]) -> Columns:
    """Return the rows of the longest series; times rise, or fall, within one series only."""
    if not ids or any(columns[name].cells.dtype.is_nested() for name in ids):
        return columns
    cells = pl.DataFrame([column.cells for column in columns.values()])
    sizes = cells.group_by(ids, maintain_order=True).len(name="rows of a series")
    own = sizes.row(int(sizes["rows of a series"].arg_max() or 0))
    rows = cells.filter(*(pl.col(name).eq_missing(value) for name, value in zip(ids, own, strict=False)))
    return {name: replace(column, cells=rows[name]) for name, column in columns.items()}


def _only_target(columns: Sequence[Column]) -> str:
    """Return the only numeric column; one of row numbers does not count.

    Args:
        columns: those without a role.

    Raises:
        DataError: if no column or several columns qualify; it lists them.
    """
    columns = [column for column in columns if not is_index(column.cells)] or columns
    numeric = [column for column in columns if column.is_numeric]
    otherwise = [column for column in columns if column.other_notation]
    if len(numeric) == 1 and not otherwise:
        return numeric[0].name
    listed = [column.name for column in columns if column.is_numeric or column.other_notation]
    got = "none"
    if otherwise:
        got = f"none; a cell of {shorten(otherwise[0].name)} is {otherwise[0].other_notation}"
    candidates = listed_names(listed or [column.name for column in columns])
    raise DataError("--target", f"the column to forecast, out of {candidates}", got)


def is_index(column: pl.Series) -> bool:
    """Say whether a column holds the row numbers that a program has written next to a table.

    >>> is_index(pl.Series("Unnamed: 0", [0, 1, 2])), is_index(pl.Series("load", [0, 1, 2]))
    (True, False)
    """
    if not _INDEX.fullmatch(column.name):
        return False
    numbers = text(column).cast(pl.Int64, strict=False) if is_text(column) else column
    if not numbers.dtype.is_integer() or numbers.has_nulls():
        return False
    # In a table made of several, row numbers start again at 0.
    return bool(((numbers.cast(pl.Int64, strict=False).diff() > 0) | (numbers == 0))[1:].all())


def listed_names(names: Iterable[str], most: int = 20) -> str:
    """Return names of columns as an error lists them."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shorten, names[:most])) + more
