"""Arrays, lists of arrays and series of numbers as rows without timestamps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.array_numbers import numbers_of, without_torch
from gatewright.data.dataframes import cells_of, is_dataframe
from gatewright.data.frame import Frame
from gatewright.data.table import NO_TIME
from gatewright.errors import DataError, shorten

#: Names of the columns of arrays, which have none: the target, further inputs, the series.
TARGET, INPUT, SERIES = "y", "x", "series"

FORMS = (
    "a polars or pandas DataFrame, an Arrow table, the path of a table, an array of shape (rows,) or "
    "(rows, columns), or a list of such arrays, one for each series"
)


def of_arrays(X: Any, y: Any) -> tuple[Frame, dict[str, Any], int, bool]:
    """Return arrays as rows, the columns by role, the number of series, and whether targets are (rows,).

    The number of series is 0 where the array has no axis of them.

    Raises:
        DataError: if they are no arrays of numbers of fitting shapes.
    """
    X, y = on_the_host(X), on_the_host(y)
    several = isinstance(X, (list, tuple)) and len(X) > 0 and np.ndim(_first(X)) > 0
    if isinstance(X, np.ndarray) and X.ndim == 3:
        several = True
    parts = list(map(on_the_host, X)) if several else [X]
    targets: list[Any] = [None] * len(parts)
    if y is not None:
        if several and (not hasattr(y, "__len__") or len(y) != len(X)):
            got = f"one of {len(y)}" if hasattr(y, "__len__") else f"a {type(y).__name__}"
            raise DataError("y", f"a list of {len(X)} arrays, one for each series", got)
        targets = list(map(on_the_host, y)) if several else [y]
    frames: list[pl.DataFrame] = []
    outputs: list[str] = []
    for number, (values, own) in enumerate(zip(parts, targets, strict=True)):
        name = f"series {number}" if several else "X"
        if several:
            for each, place in ((values, name), (own, f"y of {name}")):
                _require_array(each, place)
        cells = columns_of(values, TARGET if own is None else INPUT, name)
        outputs = cells.columns
        if own is not None:
            require_same_index(values, own)
            answers = columns_of(own, TARGET, "y", len(cells))
            outputs = answers.columns
            twice = [label for label in outputs if label in cells.columns]
            if twice:
                raise DataError("y", "names that no column of X has", shorten(twice[0]))
            cells = pl.concat([answers, cells], how="horizontal")
        _require_columns(cells.columns, frames, name, several)
        frames.append(cells.with_columns(pl.lit(number).alias(SERIES)) if several else cells)
    cells = pl.concat(frames)
    columns = {
        "target": tuple(outputs),
        "past": tuple(name for name in cells.columns if name not in outputs and not (several and name == SERIES)),
        "time": NO_TIME,
        **({"id": (SERIES,)} if several else {}),
    }
    flat = _ndim(targets[0] if y is not None else parts[0]) == 1
    return Frame(cells, np.arange(1, len(cells) + 1), "row"), columns, len(parts) if several else 0, flat


def _require_columns(columns: list[str], frames: list[pl.DataFrame], argument: str, several: bool) -> None:
    """Check that a series has the columns of the first one.

    Raises:
        DataError: if it has not, or one of them is named as the series are.
    """
    if several and SERIES in columns:
        raise DataError(argument, f"a name other than {SERIES!r}, which numbers the arrays", repr(SERIES))
    first = frames[0].columns[:-1] if frames else columns
    if len(columns) != len(first):
        raise DataError(argument, f"{len(first)} columns, as the first one has", f"{len(columns)}")
    for own, expected in zip(columns, first, strict=True):
        if own != expected:
            raise DataError(argument, f"the name {shorten(expected)}, as in the first one", shorten(own))


def columns_of(values: Any, name: str, argument: str, rows: int | None = None) -> pl.DataFrame:
    """Return numbers (rows,) or (rows, columns) as columns; a frame or a series keeps its names.

    Args:
        values: the numbers.
        name: the name of a column without one.
        argument: what an error names.
        rows: the expected number of rows; any if None.
    """
    values = on_the_host(values)
    if is_series(values):
        cells = _of_series(values, name)
    elif is_dataframe(values):
        cells = cells_of(values)[0]
    else:
        cells = _of_numbers(values, name, argument)
    if rows is not None and len(cells) != rows:
        raise DataError(argument, f"{rows} rows, as the table has", f"{len(cells)}")
    if not len(cells):
        raise DataError(argument, "at least one row", "none")
    return cells


def is_pandas(value: Any) -> bool:
    """Say whether a value is a DataFrame of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def is_series(value: Any) -> bool:
    """Say whether a value is a series of polars or pandas."""
    pandas = sys.modules.get("pandas")
    return isinstance(value, pl.Series) or (pandas is not None and isinstance(value, pandas.Series))


def has_times(series: Any) -> bool:
    """Say whether a series of pandas has an index of times, so that it is a table.

    Raises:
        DataError: if its index only looks like one.
    """
    return not isinstance(series, pl.Series) and bool(cells_of(series.to_frame("values"))[1])


def require_same_index(X: Any, y: Any) -> None:
    """Check that the rows of two values of pandas belong together, and that no times of ``y`` are lost.

    A default index of ``y`` says nothing about one of ``X`` that is no numbers.

    Raises:
        DataError: if their indices differ.
    """
    pandas = sys.modules.get("pandas")
    frames = () if pandas is None else (pandas.DataFrame, pandas.Series)
    if pandas is None or not isinstance(y, frames):
        return
    timed = isinstance(y.index, (pandas.DatetimeIndex, pandas.PeriodIndex))
    if timed and (not isinstance(X, frames) or not X.index.equals(y.index)):
        got = "times that X lacks; a frame X with that index keeps them, y.to_numpy() does without"
        raise DataError("y", "the index of X", got)
    if not isinstance(X, frames):
        return
    if X.index.equals(y.index) or len(X) != len(y):
        return
    default = pandas.RangeIndex(len(X))
    if y.index.equals(default) and not pandas.api.types.is_integer_dtype(X.index.dtype):
        return
    got = "another one; y.reindex(X.index) puts the rows in its order, y.to_numpy() takes them in order"
    raise DataError("y", "the index of X", got)


def on_the_host(values: Any) -> Any:
    """Return a tensor of torch as an array, and an array of Arrow as a series; anything else as it is."""
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(values, (arrow.Array, arrow.ChunkedArray)):
        return pl.Series(values)
    return without_torch(values)


def _first(values: Any) -> Any:
    """Return the first item of a sequence; None if it has none."""
    try:
        return values[0]
    except (IndexError, KeyError, TypeError):
        return None


def _ndim(values: Any) -> int:
    return 1 if is_series(values) else 2 if is_dataframe(values) else np.ndim(values)


def _require_array(values: Any, argument: str) -> None:
    """Check that an item of a list holds nothing but numbers.

    Raises:
        DataError: at a table, whose names and times would be lost.
    """
    table = is_dataframe(values) and not is_series(values)
    if table or (is_series(values) and not isinstance(values, pl.Series) and has_times(values)):
        got = f"a {type(values).__name__} with {'names' if table else 'times'}"
        remedy = "; one table of all series, with a column that id names, keeps them"
        raise DataError(argument, "an array of numbers", got + remedy)


def _of_series(values: Any, name: str) -> pl.DataFrame:
    """Return a series of polars or pandas as a column."""
    label = str(values.name) if values.name not in (None, "") else name
    if isinstance(values, pl.Series):
        return pl.DataFrame([values.alias(label)])
    return pl.DataFrame([cells_of(values.to_frame("values"))[0]["values"].alias(label)])


def _of_numbers(values: Any, name: str, argument: str) -> pl.DataFrame:
    numbers = numbers_of(values)
    if numbers is None or numbers.ndim not in (1, 2):
        got = f"a {type(values).__name__}"
        if numbers is not None:
            got = f"numbers of shape {numbers.shape}"
        elif isinstance(values, (list, tuple, np.ndarray)):
            got += _kind(values)
        raise DataError(argument, FORMS if argument == "X" else "numbers (rows,) or (rows, columns)", got)
    if numbers.ndim == 1:
        return pl.DataFrame({name if name == TARGET else f"{name}0": numbers})
    width = numbers.shape[1]
    names = [name] if width == 1 and name == TARGET else [f"{name}{number}" for number in range(width)]
    return pl.DataFrame({label: numbers[:, number] for number, label in enumerate(names)})


def _kind(values: Sequence[Any] | NDArray[Any]) -> str:
    """Say what is in a sequence that is no numbers."""
    try:
        dtype = np.asarray(values).dtype
    except ValueError:
        return " of rows of unequal length"
    return " of text" if dtype.kind in "US" else f" of {dtype}"
