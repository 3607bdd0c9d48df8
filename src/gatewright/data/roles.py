"""Which column of a table is what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import polars as pl

from gatewright.data import time_column
from gatewright.data.columns import is_text, looks_numeric, numeric_otherwise, text
from gatewright.data.number_format import PLAIN, Notation
from gatewright.data.time_zones import NO_ZONE
from gatewright.errors import DataError, nearest, shorten

#: Names under which programs write row numbers beside a table; an empty name has become column_1.
_INDEX = re.compile(
    r"column_1|unnamed: \d+(\.\d+)*|(__index_)?level_\d+(__)?|index|row_?names?|row_?(nr|number)", re.I
)

#: Names a table without timestamps, where a timestamp column could stand.
NO_TIME = "none"


@dataclass(frozen=True)
class Roles:
    """What each column of a table is for.

    Attributes:
        targets: columns to forecast.
        past: inputs known up to now.
        known: inputs known in advance.
        static: inputs with one value a series.
        time: the timestamps; "" to find them, "none" for rows in order without timestamps.
        time_format: format of the timestamps as in strftime; "" to find it.
        time_zone: zone on whose clock times are wanted, such as "Europe/Berlin", "+02:00" or "UTC"; "none" if none
            may be named; "" to find it.
        series: the columns that name the series a row belongs to (a single one may be a plain string); none for
            one series.
        resample: width of the bins that rows are gathered into, such as "1h"; "" for rows as they are.
        aggregate: what a bin keeps of its rows: "mean", "sum" or "last" of what was observed; "" for the mean.
        notation: how numbers are written, and which of them stand for a missing value.
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

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns that name the series."""
        return (self.series,) if self.series and isinstance(self.series, str) else tuple(self.series or ())

    @property
    def columns(self) -> tuple[str, ...]:
        """The numeric columns, in the order of a series' values."""
        return self.targets + self.past + self.known + self.static

    def named(self) -> list[tuple[str, str]]:
        """Every role and column that is named, in order."""
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


def find_roles(cells: pl.DataFrame, roles: Roles) -> Roles:
    """Check the columns that are named; find the timestamps, and the target if only one column is left.

    Raises:
        DataError: names the option, and the nearest column to one that is not there.
    """
    seen: dict[str, str] = {}
    for role, name in roles.named():
        if name not in cells.columns:
            got = f"{shorten(name)}{nearest(name, cells.columns)}"
            raise DataError(f"--{role}", f"a column out of {_listed(cells.columns)}", got)
        if name in seen:
            both = f"--{seen[name]} and --{role}" if seen[name] != role else f"--{role}"
            raise DataError(both, "each column once", f"{shorten(name)} twice")
        seen[name] = role
    free = [name for name in cells.columns if name not in seen]
    time = roles.time or time_column.find(_longest(cells, roles.ids), free, roles.time_format) or NO_TIME
    if time == NO_TIME:
        if roles.time_format:
            raise DataError("--time-format", "a column of timestamps written so", repr(roles.time_format))
        if roles.time_zone not in ("", NO_ZONE):
            raise DataError("--time-zone", "a column of timestamps", repr(roles.time_zone))
    targets = roles.targets
    if not targets:
        free = [name for name in free if name != time]
        targets = (_only_target(cells, free, roles.notation),)
    return replace(roles, time=time, targets=targets)


def _longest(cells: pl.DataFrame, ids: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows of the series that has most; times rise, or fall, within a series alone."""
    if not ids or any(cells[name].dtype.is_nested() for name in ids):
        return cells
    sizes = cells.group_by(ids, maintain_order=True).len(name="rows of a series")
    own = sizes.row(int(sizes["rows of a series"].arg_max() or 0))
    return cells.filter(*(pl.col(name).eq_missing(value) for name, value in zip(ids, own, strict=False)))


def _only_target(cells: pl.DataFrame, free: list[str], notation: Notation) -> str:
    """Return the one numeric column that no role names; a column of row numbers is none.

    Raises:
        DataError: if there is none or several; it lists them.
    """
    free = [name for name in free if not is_index(cells[name])] or free
    otherwise = {name: numeric_otherwise(cells[name], notation) for name in free}
    numeric = [name for name in free if looks_numeric(cells[name], notation)]
    if len(numeric) == 1 and not any(otherwise.values()):
        return numeric[0]
    listed = [name for name in free if name in numeric or otherwise[name]] or free
    got = "none"
    for name in listed:
        if otherwise[name]:
            got = f"none; a cell of {shorten(name)} is {otherwise[name]}"
            break
    raise DataError("--target", f"the column to forecast, out of {_listed(listed)}", got)


def is_index(column: pl.Series) -> bool:
    """Say whether a column is the row numbers that a program has written beside a table.

    >>> is_index(pl.Series("Unnamed: 0", [0, 1, 2])), is_index(pl.Series("load", [0, 1, 2]))
    (True, False)
    """
    if not _INDEX.fullmatch(column.name):
        return False
    found = text(column).cast(pl.Int64, strict=False) if is_text(column) else column
    if not found.dtype.is_integer() or found.has_nulls():
        return False
    # Tables that were put together begin again at 0.
    return bool(((found.cast(pl.Int64, strict=False).diff() > 0) | (found == 0))[1:].all())


def _listed(names: Iterable[str], most: int = 20) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shorten, names[:most])) + more
