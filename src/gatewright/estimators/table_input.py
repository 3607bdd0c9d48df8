"""Tables as a caller has them, and forecasts in the form of the table that came."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from gatewright.data.dataframes import is_dataframe
from gatewright.data.frame import Frame
from gatewright.data.sources import as_path, frame_of
from gatewright.data.table import Table
from gatewright.errors import DataError, shorten
from gatewright.estimators.array_input import (
    FORMS,
    TARGET,
    columns_of,
    has_times,
    is_pandas,
    is_series,
    of_arrays,
    on_the_host,
    require_same_index,
)  # fmt: skip
from gatewright.estimators.table_answer import to_array, to_pandas, typed

#: How the types of columns begin that hold text, or anything.
_TEXTS = ("o", "str", "cat", "enum")

#: Turns the forecasts of a table into the form of the table.
Answer = Callable[[pl.DataFrame, Table], Any]


@dataclass(frozen=True)
class TableInput:
    """A table as it came.

    Attributes:
        source: the path, or the rows.
        columns: columns by role, where the form of the input itself says so.
        answer: turns forecasts (`gatewright.tasks.forecast.predict.forecast`) into the form of the input.
        framed: whether it was a frame or a file, not arrays.
    """

    source: Path | Frame
    answer: Answer
    columns: dict[str, Any] = field(default_factory=dict)
    framed: bool = True


def table_input(X: Any, y: Any = None) -> TableInput:
    """Return a table that came as one of the forms that users have.

    Args:
        X: the table: a frame of polars or pandas, an Arrow table, the path of a file; an array (rows,) or
            (rows, columns), or a list of such arrays, one for each series.  The columns of arrays are the targets,
            or past inputs if ``y`` is there.
        y: the targets (rows,) or (rows, targets), where they are no columns of ``X``.

    Raises:
        DataError: if it is none of these.

    >>> import numpy as np
    >>> table_input(np.arange(3.0)).source.cells["y"].to_list()
    [0.0, 1.0, 2.0]
    """
    if isinstance(X, (str, Path)):
        if y is not None:
            raise DataError("y", "None with the path of a table: target names its column", type(y).__name__)
        return TableInput(as_path(X, FORMS), lambda forecasts, _: forecasts)
    try:
        X = on_the_host(X)
        if is_series(X) and has_times(X):
            X = X.to_frame(TARGET if X.name is None else X.name)
        if isinstance(X, Frame) or (is_dataframe(X) and not hasattr(X, "to_frame")):
            return _of_frame(X, y)
        if isinstance(X, pl.LazyFrame):
            frame_of(X)  # type: ignore[arg-type]  # refuses it and says what helps
    except DataError as error:
        if error.argument != "source":
            raise
        raise DataError("X", error.expected, error.got, sentence=error.sentence) from None
    rows, columns, several, flat = of_arrays(X, y)
    return TableInput(rows, lambda forecasts, table: to_array(forecasts, table, several, flat), columns, False)


def with_codes(given: TableInput, names: Sequence[str]) -> TableInput:
    """Return arrays whose columns of codes are whole numbers: an array has one type for all its columns.

    A frame, and a column with other numbers, stay as they are.

    Args:
        given: the table as it came.
        names: columns that hold categories.
    """
    if given.framed or not isinstance(given.source, Frame):
        return given
    whole = []
    for name in names:
        if name not in given.source.cells.columns:
            continue
        cells = given.source.cells[name].fill_nan(None)
        if (cells.cast(pl.Int64, strict=False).cast(pl.Float64) == cells).all():
            whole.append(cells.cast(pl.Int64))
    return replace(given, source=replace(given.source, cells=given.source.cells.with_columns(whole)))


def _of_frame(X: Any, y: Any) -> TableInput:
    frame = frame_of(X)
    columns: dict[str, Any] = {}
    if y is not None:
        require_same_index(X, y)
        targets = columns_of(y, TARGET, "y", len(frame.cells))
        for name in targets.columns:
            if name in frame.cells.columns:
                expected = "targets that are no columns of the table; target names those that are"
                raise DataError("y", expected, shorten(name))
        frame = replace(frame, cells=frame.cells.with_columns(targets.get_columns()))
        columns["target"] = tuple(targets.columns)
    if is_pandas(X):
        return TableInput(frame, lambda forecasts, table: to_pandas(forecasts, table, X, frame), columns)
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(X, (arrow.Table, arrow.RecordBatch)):
        return TableInput(frame, lambda forecasts, table: typed(forecasts, table, frame).to_arrow(), columns)
    return TableInput(frame, lambda forecasts, table: typed(forecasts, table, frame), columns)


def require_distinct_ids(given: TableInput, X: Any, ids: Sequence[str]) -> None:
    """Check that no two ids of a frame are equal as text: series are named by text.

    Raises:
        DataError: at ids such as 1 and "1", or "a" and "a ".
    """
    if is_pandas(X):
        columns = {str(label): X.iloc[:, number] for number, label in enumerate(X.columns)}
    elif given.framed and isinstance(given.source, Frame):
        columns = {column.name: column for column in given.source.cells}
    else:
        return
    for name in ids:
        if name not in columns or not str(columns[name].dtype).lower().startswith(_TEXTS):
            continue
        series: dict[str, Any] = {}
        for value in columns[name].unique():
            if series.setdefault(str(value).strip(), value) is not value:
                both = f"{shorten(series[str(value).strip()])} and {shorten(value)}"
                raise DataError(f"id column {shorten(name)}", "ids that differ as text", both)
