"""From a CSV or Parquet file to checked series: which column is what, and is every cell usable?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import clock
from gatewright.errors import DataError, nearest

#: Cells that stand for a missing value.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "-")

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
        series: the column that names the series a row belongs to; "" for one series.
    """

    targets: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    time: str = ""
    time_format: str = ""
    series: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The numeric columns, in the order of a series' values."""
        return self.targets + self.past + self.known + self.static


@dataclass(frozen=True)
class Series:
    """One series: rows in time order, missing values as NaN.

    Attributes:
        name: what the id column says; "" if there is none.
        times: timestamps (rows,), or None.
        values: float64 (rows, columns).
        lines: where each row stands in its file; 0 for a row that fills a gap.
    """

    name: str
    times: clock.Times | None
    values: NDArray[np.float64]
    lines: NDArray[np.int64]

    @property
    def title(self) -> str:
        """The series as an error names it."""
        return f"series {self.name!r}" if self.name else "the table"


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
        path: a ``.csv``, ``.tsv`` (also compressed, ``.gz``) or ``.parquet`` file.
        roles: what the columns are for; the time column, and the target if it is the only numeric column,
            are found where they are not named.
        fill: "forward" or "mean" if missing rows and inputs will be filled in; "" makes them errors.

    Raises:
        DataError: names the column and the row of what cannot be used.
    """
    frame, first_line = _read_frame(path)
    roles = _find_roles(frame, roles)
    cells = {name: _numbers(frame[name], first_line) for name in roles.columns}
    values = np.stack(list(cells.values()), axis=1)
    times = None if roles.time == NO_TIME else _times(frame[roles.time], roles.time_format, first_line)
    lines = np.arange(len(frame), dtype=np.int64) + first_line
    series = [
        Series(name, None if times is None else times[rows], values[rows], lines[rows])
        for name, rows in _groups(frame, roles.series, first_line)
    ]
    if times is None:
        step = "row"
    else:
        step = _common_step(series, roles)
        series = [_on_the_grid(one, step, fill) for one in series]
    for one in series:
        _check_values(one, roles, fill)
    for index, name in enumerate(roles.columns):
        _check_varies(name, np.concatenate([one.values[:, index] for one in series]))
    used = {*roles.columns, roles.time, roles.series}
    return Table(roles, tuple(series), step, tuple(name for name in frame.columns if name not in used))


def _read_frame(path: Path) -> tuple[pl.DataFrame, int]:
    """Return the frame (text cells for a text file) and the number of its first row in the file."""
    name = path.name.lower().removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            frame, first_line = pl.read_parquet(path), 1
        elif name.endswith((".csv", ".tsv")):
            frame = pl.read_csv(
                path, separator=_separator(path), infer_schema=False, null_values=list(MISSING), glob=False
            )
            first_line = 2
        else:
            raise DataError(str(path), "a .csv, .tsv or .parquet file", f"a file named {path.name!r}")
    except OSError as error:
        raise DataError(str(path), "a file that can be read", error.strerror or str(error)) from None
    except pl.exceptions.PolarsError as error:
        raise DataError(str(path), "a table", str(error).splitlines()[0]) from None
    if frame.is_empty():
        raise DataError(str(path), "rows below the header", "none")
    return frame, first_line


def _separator(path: Path) -> str:
    """Return the character of ``, ; tab`` that the header has most of."""
    import gzip

    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        header = file.readline(1 << 20)
    return max(",;\t", key=lambda separator: header.count(separator.encode()))


def _find_roles(frame: pl.DataFrame, roles: Roles) -> Roles:
    named = [*roles.columns, roles.series, roles.time if roles.time != NO_TIME else ""]
    for name in filter(None, named):
        if name not in frame.columns:
            got = f"no column {name!r}{nearest(name, frame.columns)}"
            raise DataError("column", f"one of {', '.join(frame.columns)}", got)
    for name in filter(None, named):
        if named.count(name) > 1:
            raise DataError("column", "each column in one role", f"{name!r} in two")
    time = roles.time or next(
        (name for name in frame.columns if name not in named and _is_time(frame[name])), NO_TIME
    )
    targets = roles.targets
    if not targets:
        taken = {time, *named}
        numeric = [name for name in frame.columns if name not in taken and _is_numeric(frame[name])]
        if len(numeric) != 1:
            raise DataError("target", f"the column to forecast, out of {', '.join(numeric)}", "none named")
        targets = (numeric[0],)
    return replace(roles, time=time, targets=targets)


def _is_numeric(column: pl.Series) -> bool:
    head = column.drop_nulls().head(100)
    return len(head) > 0 and (head.dtype.is_numeric() or bool(_cast(head).is_not_null().all()))


def _is_time(column: pl.Series) -> bool:
    if column.dtype.is_temporal():
        return True
    head = column.drop_nulls().head(100)
    if head.dtype != pl.String or _is_numeric(head):
        return False
    parsed = _parse_times(head, "")
    return parsed is not None and bool(parsed.is_not_null().all())


def _cast(column: pl.Series) -> pl.Series:
    column = column.str.strip_chars() if column.dtype == pl.String else column
    return column.cast(pl.Float64, strict=False)


def _numbers(column: pl.Series, first_line: int) -> NDArray[np.float64]:
    """Cells as float64, missing as NaN; any other cell that is not a finite number is an error."""
    try:
        numbers = _cast(column)
    except pl.exceptions.PolarsError:
        raise DataError(f"column {column.name!r}", "numbers", f"cells of type {column.dtype}") from None
    bad = (numbers.is_null() & column.is_not_null()) | numbers.is_infinite().fill_null(False)
    if bad.any():
        row = int(bad.arg_max() or 0)
        cell = repr(column[row])
        raise DataError(
            f"column {column.name!r}, line {row + first_line}",
            "a finite number, or nothing where it is missing",
            cell,
        )
    return numbers.fill_null(float("nan")).to_numpy().astype(np.float64)


def _parse_times(column: pl.Series, time_format: str) -> pl.Series | None:
    """Return timestamps without time zone (UTC if they had one), null where a cell cannot be read."""
    column = column.str.strip_chars().str.replace(r"^(\d{4}-\d{2})$", "$1-01")
    try:
        parsed = column.str.to_datetime(time_format or None, strict=False, time_unit="us")
    except pl.exceptions.PolarsError:
        return None
    return parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if _has_zone(parsed) else parsed


def _has_zone(column: pl.Series) -> bool:
    return isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None


def _times(column: pl.Series, time_format: str, first_line: int) -> clock.Times:
    name = f"column {column.name!r}"
    if column.dtype.is_temporal():
        column = (
            column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if _has_zone(column) else column
        )
        parsed: pl.Series | None = column.cast(pl.Datetime("us"))
    else:
        parsed = _parse_times(column, time_format) if column.dtype == pl.String else None
    if parsed is None:
        hint = "timestamps (--time-format says how they are written; --time none takes the rows in order)"
        raise DataError(name, hint, repr(column[0]))
    bad = parsed.is_null()
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise DataError(f"{name}, line {row + first_line}", "a timestamp", repr(column[row]))
    return parsed.to_numpy().astype("datetime64[us]")


def _groups(frame: pl.DataFrame, series: str, first_line: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Name and rows of each series, in order of first appearance."""
    if not series:
        return [("", np.arange(len(frame)))]
    names = frame[series].cast(pl.String)
    if names.has_nulls():
        row = int(names.is_null().arg_max() or 0)
        raise DataError(f"column {series!r}, line {row + first_line}", "the name of a series", "nothing")
    groups = frame.select(names.alias("name")).with_row_index("row").group_by("name", maintain_order=True)
    return [(str(key[0]), group["row"].to_numpy().astype(np.int64)) for key, group in groups]


def _common_step(series: list[Series], roles: Roles) -> str:
    """Check that time rises in each series, and return the step that all of them keep."""
    steps: dict[str, str] = {}
    for one in series:
        assert one.times is not None
        differences = np.diff(one.times).astype("int64")
        for found, what in ((differences == 0, "repeats"), (differences < 0, "goes back")):
            if found.any():
                row = int(np.argmax(found))
                hint = (
                    "; if the table holds many series, name their column with --id"
                    if not roles.series
                    else ""
                )
                raise DataError(
                    f"column {roles.time!r}, line {one.lines[row + 1]}",
                    "a later timestamp than the row before",
                    f"{one.times[row + 1]}, which {what}{hint}",
                )
        if len(one.times) > 1:
            steps.setdefault(clock.find_step(one.times), one.title)
    if len(steps) > 1:
        (a, first), (b, second) = list(steps.items())[:2]
        raise DataError(
            f"column {roles.time!r}", "one step in all series", f"{a} in {first}, {b} in {second}"
        )
    if not steps:
        raise DataError(f"column {roles.time!r}", "at least two rows in a series", "one")
    return next(iter(steps))


def _on_the_grid(one: Series, step: str, fill: str) -> Series:
    """Check that rows follow each other at the step; with ``fill``, put empty rows into whole gaps."""
    assert one.times is not None
    places = clock.positions(one.times, step)
    whole = np.round(places)
    gaps = np.diff(places) != 1
    if not gaps.any():
        return one
    row = int(np.argmax(gaps))
    on_grid = bool(np.all(np.abs(places - whole) < 1e-9))
    if not on_grid or not fill:
        steps = f"{np.diff(places)[row]:g} steps" if on_grid else "off the step"
        count = int(whole[-1]) + 1 - len(whole)
        hint = f"; --fill forward or mean puts the {count} missing rows in" if on_grid else ""
        raise DataError(
            f"line {one.lines[row + 1]}",
            f"one row every {step}",
            f"{one.times[row + 1]} after {one.times[row]}, {steps}{hint}",
        )
    index = whole.astype(np.int64)
    rows = int(index[-1]) + 1
    values = np.full((rows, one.values.shape[1]), np.nan)
    lines = np.zeros(rows, dtype=np.int64)
    values[index], lines[index] = one.values, one.lines
    return Series(one.name, clock.after(one.times[0], step, np.arange(rows)), values, lines)


def _check_values(one: Series, roles: Roles, fill: str) -> None:
    """Refuse varying statics, and missing inputs up to the last observed target unless they will be filled."""
    targets = len(roles.targets)
    observed = np.flatnonzero(np.isfinite(one.values[:, :targets]).any(axis=1))
    if len(observed) == 0:
        raise DataError(f"target of {one.title}", "at least one observed value", "none")
    for index, name in enumerate(roles.columns[targets:], start=targets):
        column = one.values[: observed[-1] + 1, index]
        missing = np.isnan(column)
        if name in roles.static:
            given = column[~missing]
            if len(given) == 0 or np.any(given != given[0]):
                got = "none" if len(given) == 0 else f"{given[0]:g} and {given[given != given[0]][0]:g}"
                raise DataError(f"static column {name!r}", f"one value in {one.title}", got)
            one.values[:, index] = given[0]
        elif missing.any() and not fill:
            line = one.lines[int(np.argmax(missing))]
            hint = f"nothing (missing in {int(missing.sum())} rows; --fill forward or mean fills them)"
            raise DataError(f"column {name!r}, line {line}", "a number in every row of an input", hint)


def _check_varies(name: str, column: NDArray[np.float64]) -> None:
    given = column[np.isfinite(column)]
    if len(given) == 0:
        raise DataError(f"column {name!r}", "numbers", "an empty column")
    if np.all(given == given[0]):
        raise DataError(f"column {name!r}", "values that vary", f"{given[0]:g} in every row")
