"""Tables as a caller has them, and forecasts in the form of the table that came."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.dataframes import INDEX_NAME, cells_of, is_dataframe
from gatewright.data.frame import Frame
from gatewright.data.sources import as_path, frame_of
from gatewright.data.table import NO_TIME, Table
from gatewright.errors import DataError, shorten
from gatewright.tasks.forecast.predict import written

#: Names of the columns of arrays, which have none: the target, further inputs, the series.
TARGET, INPUT, SERIES = "y", "x", "series"

_FORMS = (
    "a polars or pandas DataFrame, an Arrow table, the path of a table, an array of shape (rows,) or "
    "(rows, columns), or a list of such arrays, one for each series"
)

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

    >>> table_input(np.arange(3.0)).source.cells["y"].to_list()
    [0.0, 1.0, 2.0]
    """
    if isinstance(X, (str, Path)):
        if y is not None:
            raise DataError("y", "None with the path of a table: target names its column", type(y).__name__)
        return TableInput(as_path(X, _FORMS), lambda forecasts, _: forecasts)
    if isinstance(X, Frame) or (is_dataframe(X) and not hasattr(X, "to_frame")):
        return _of_frame(X, y)
    if isinstance(X, pl.LazyFrame):
        frame_of(X)  # type: ignore[arg-type]  # refuses it and says what helps
    return _of_arrays(X, y)


def _of_frame(X: Any, y: Any) -> TableInput:
    frame = frame_of(X)
    columns: dict[str, Any] = {}
    if y is not None:
        targets = _columns(y, TARGET, "y", len(frame.cells))
        for name in targets.columns:
            if name in frame.cells.columns:
                raise DataError("y", "a name that no column of the table has", shorten(name))
        frame = replace(frame, cells=frame.cells.with_columns(targets.get_columns()))
        columns["target"] = tuple(targets.columns)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return TableInput(frame, lambda forecasts, table: _to_pandas(forecasts, table, X), columns)
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(X, (arrow.Table, arrow.RecordBatch)):
        return TableInput(
            frame, lambda forecasts, table: _typed(forecasts, table, frame.cells).to_arrow(), columns
        )
    return TableInput(frame, lambda forecasts, table: _typed(forecasts, table, frame.cells), columns)


def _of_arrays(X: Any, y: Any) -> TableInput:
    """Return arrays as rows without timestamps."""
    several = isinstance(X, (list, tuple)) and len(X) > 0 and np.ndim(_first(X)) > 0
    if isinstance(X, np.ndarray) and X.ndim == 3:
        several = True
    if several and y is not None and len(y) != len(X):
        raise DataError("y", f"a list of {len(X)} arrays, one for each series", f"one of {len(y)}")
    parts = list(X) if several else [X]
    targets = [None] * len(parts) if y is None else list(y) if several else [y]
    frames: list[pl.DataFrame] = []
    for number, (values, own) in enumerate(zip(parts, targets, strict=True)):
        name = f"series {number}" if several else "X"
        cells = _columns(values, TARGET if own is None else INPUT, name)
        if own is not None:
            cells = pl.concat([_columns(own, TARGET, "y", len(cells)), cells], how="horizontal")
        if several:
            cells = cells.with_columns(pl.lit(number).alias(SERIES))
        if frames and cells.columns != frames[0].columns:
            expected = f"{frames[0].width - 1} columns, as the first one has"
            raise DataError(name, expected, f"{cells.width - 1}")
        frames.append(cells)
    cells = pl.concat(frames)
    names = [name for name in cells.columns if name != SERIES]
    columns = {
        "target": tuple(name for name in names if name.startswith(TARGET)),
        "past": tuple(name for name in names if name.startswith(INPUT)),
        "time": NO_TIME,
        **({"id": (SERIES,)} if several else {}),
    }
    flat = np.ndim(_first(targets[0] if y is not None else parts[0])) == 0
    frame = Frame(cells, np.arange(1, len(cells) + 1), "row")
    return TableInput(frame, lambda forecasts, table: _to_array(forecasts, table, several, flat), columns, False)


def _first(values: Any) -> Any:
    """Return the first item of a sequence; None if it has none."""
    try:
        return values[0] if not hasattr(values, "iloc") else values.iloc[0]
    except (IndexError, KeyError, TypeError):
        return None


def _columns(values: Any, name: str, argument: str, rows: int | None = None) -> pl.DataFrame:
    """Return numbers (rows,) or (rows, columns) as columns; a frame or a series keeps its names."""
    if is_dataframe(values) and not isinstance(values, pl.Series):
        cells = cells_of(values)[0] if not hasattr(values, "to_frame") else _of_series(values, name)
    elif hasattr(values, "to_frame"):
        cells = _of_series(values, name)
    else:
        cells = _of_numbers(values, name, argument)
    if rows is not None and len(cells) != rows:
        raise DataError(argument, f"{rows} rows, as the table has", f"{len(cells)}")
    if not len(cells):
        raise DataError(argument, "at least one row", "none")
    return cells


def _of_series(values: Any, name: str) -> pl.DataFrame:
    """Return a series of polars or pandas as a column."""
    label = str(values.name) if values.name not in (None, "") else name
    column = values if isinstance(values, pl.Series) else pl.Series(np.asarray(values))
    return pl.DataFrame([column.alias(label)])


def _of_numbers(values: Any, name: str, argument: str) -> pl.DataFrame:
    try:
        numbers = np.asarray(values)
    except ValueError:  # rows of unequal length
        numbers = np.empty(0, object)
    if numbers.dtype.kind not in "biuf" or numbers.ndim not in (1, 2):
        got = f"numbers of shape {numbers.shape}" if numbers.dtype.kind in "biuf" else f"a {type(values).__name__}"
        if numbers.dtype.kind in "US" and isinstance(values, (list, np.ndarray)):
            got = "text"
        raise DataError(argument, _FORMS if argument == "X" else "numbers (rows,) or (rows, columns)", got)
    numbers = numbers.astype(np.float64)
    if numbers.ndim == 1:
        return pl.DataFrame({name if name == TARGET else f"{name}0": numbers})
    width = numbers.shape[1]
    names = [name] if width == 1 and name == TARGET else [f"{name}{number}" for number in range(width)]
    return pl.DataFrame({label: numbers[:, number] for number, label in enumerate(names)})


def _to_array(forecasts: pl.DataFrame, table: Table, several: bool, flat: bool) -> NDArray[np.float64]:
    """Return forecasts as ([series,] horizon, [targets,] quantiles)."""
    targets = table.roles.targets
    values = forecasts.select(
        [name for name in forecasts.columns if any(name.startswith(f"{target}_q") for target in targets)]
    ).to_numpy()
    shape = (len(table.series), -1, len(targets), values.shape[1] // len(targets))
    laid = np.ascontiguousarray(values.reshape(shape))
    laid = laid[:, :, 0] if flat else laid
    return laid if several else laid[0]


def _typed(forecasts: pl.DataFrame, table: Table, cells: pl.DataFrame) -> pl.DataFrame:
    """Return forecasts with the types that ids and timestamps have in the table."""
    columns = []
    for name in (*table.roles.ids, table.roles.time):
        if name not in forecasts.columns:
            continue
        dtype, column = cells[name].dtype, forecasts[name]
        if column.dtype != dtype and isinstance(dtype, pl.String) and column.dtype.is_temporal():
            column = pl.Series(name, written(column, table))
        else:
            column = _cast(column, dtype)
        columns.append(column)
    return forecasts.with_columns(columns)


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return a column with another type, if none of its values is lost."""
    try:
        cast = column.cast(dtype)
        same = cast.cast(column.dtype).equals(column)
    except pl.exceptions.PolarsError:
        return column
    return cast if same else column


def _to_pandas(forecasts: pl.DataFrame, table: Table, X: Any) -> Any:
    """Return forecasts as a frame of pandas, with the index and the types of the table."""
    import pandas as pd  # the caller has it

    time = table.roles.time
    own = {str(label): X.iloc[:, number].dtype for number, label in enumerate(X.columns)}
    columns = {}
    for column in forecasts:
        values = _pandas_column(column)
        dtype = own.get(column.name)
        if column.name in table.roles.ids and dtype is not None:
            values = _as_dtype(values, dtype)
        elif column.name == time and dtype is not None:
            texts = isinstance(dtype, pd.StringDtype) or dtype.kind == "O"
            values = (
                pd.Series(written(column, table), dtype=dtype)
                if texts and column.dtype.is_temporal()
                else _as_dtype(values, dtype)
            )
        columns[column.name] = values
    frame = pd.DataFrame(columns)
    indexed = isinstance(X.index, (pd.DatetimeIndex, pd.PeriodIndex)) and time in columns and time not in own
    if not indexed:
        return frame
    frame = frame.set_index(time)
    if isinstance(X.index, pd.PeriodIndex):
        frame.index = pd.DatetimeIndex(frame.index).to_period(X.index.freq)
    else:
        frame.index = _as_dtype(frame.index, X.index.dtype)
    frame.index.name = None if time == INDEX_NAME and X.index.name is None else X.index.name
    return frame


def _pandas_column(column: pl.Series) -> Any:
    import pandas as pd

    if not isinstance(column.dtype, pl.Datetime):
        return pd.Series(column.to_list() if column.dtype == pl.String else column.to_numpy())
    times = pd.Series(column.dt.replace_time_zone(None).to_numpy() if column.dtype.time_zone is None else
                      column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy())  # fmt: skip
    if column.dtype.time_zone is None:
        return times
    return times.dt.tz_localize("UTC").dt.tz_convert(column.dtype.time_zone)


def _as_dtype(values: Any, dtype: Any) -> Any:
    """Return values of pandas with another type, if they can have it."""
    try:
        return values.astype(dtype)
    except (TypeError, ValueError):
        return values


def names(value: Any, argument: str) -> tuple[str, ...] | None:
    """Return names of columns from a single name or a sequence of them.

    Raises:
        DataError: if they are no text.
    """
    if value is None:
        return None
    labels: Sequence[Any] = (
        [value] if isinstance(value, (str, int)) or not hasattr(value, "__iter__") else list(value)
    )
    for label in labels:
        if not isinstance(label, (str, int, np.integer)) or isinstance(label, bool):
            raise DataError(argument, "names of columns", shorten(label))
    return tuple(map(str, labels))
