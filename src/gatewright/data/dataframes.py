"""Data frames in memory as columns of cells: polars and pandas frames, Arrow tables and what exports itself so.

Neither pandas nor pyarrow is a dependency: Arrow data comes over the PyCapsule interface, and a pandas frame as
one NumPy array for each column.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.columns import Column
from gatewright.errors import DataError, shorten

#: Name of the time column made of a `DatetimeIndex` without a name.
INDEX_NAME = "time"

#: Seconds since 1970 that microseconds in 64 bits can hold.
_SECONDS = 9_200_000_000_000


@runtime_checkable
class ArrowStream(Protocol):
    """A table with the Arrow PyCapsule interface, such as one of pyarrow or DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule of an Arrow stream."""


@runtime_checkable
class ArrowArray(Protocol):
    """A batch of rows with the Arrow PyCapsule interface, such as a `RecordBatch` of pyarrow."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """Return capsules of a schema and an array."""


#: Frames of pandas are a case of `ArrowStream` to a type checker; they are read without pyarrow all the same.
DataFrame = pl.DataFrame | ArrowStream | ArrowArray


def is_dataframe(source: object) -> TypeGuard[DataFrame]:
    """Say whether `cells_of` may be able to read an object."""
    return isinstance(source, (pl.DataFrame, ArrowStream, ArrowArray)) or _is_pandas(source)


def cells_of(source: DataFrame) -> tuple[pl.DataFrame, str]:
    """Return the columns of a data frame, and the name of its time column, "" if nothing but its cells tells it.

    The index of a pandas frame is a column if it has a name or holds times: a `DatetimeIndex` or `PeriodIndex` is
    the time column, called "time" if it has no name.  Any other index without a name is taken for row labels.

    Raises:
        DataError: if it is no table with a name for each column.

    >>> cells_of(pl.DataFrame({"load": [1.5, 2.5]}))[0].columns
    ['load']
    """
    if _is_pandas(source):
        return _from_pandas(source)
    if not isinstance(source, pl.DataFrame):
        source = _from_arrow(source)
    return named(source, source.columns), ""


def named(cells: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return columns under these names; one whose name is blank is called by its number, as in a CSV file."""
    names = [name if name.strip() else f"column_{number}" for number, name in enumerate(names, start=1)]
    require_distinct(names)
    return cells if names == cells.columns else cells.rename(dict(zip(cells.columns, names, strict=True)))


def require_distinct(names: Sequence[str], argument: str = "columns of the data frame") -> None:
    """Require each name once.

    Raises:
        DataError: names the first that is there several times.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(argument, "each name once", f"{shorten(name)} {count} times")


def _from_arrow(source: ArrowStream | ArrowArray) -> pl.DataFrame:
    """Return a table that comes over the Arrow PyCapsule interface."""
    if isinstance(source, pl.Series):
        raise DataError("source", "a data frame", "a Series; .to_frame() makes a data frame of it")
    labels = getattr(source, "column_names", None) or getattr(getattr(source, "schema", None), "names", None)
    names = [str(label) for label in labels] if isinstance(labels, (list, tuple)) else None
    if names:
        require_distinct(names)
    try:
        cells = pl.DataFrame(source)
        return named(cells, names if names and len(names) == len(cells.columns) else cells.columns)
    except pl.exceptions.DuplicateError:
        raise DataError("columns of the data frame", "each name once", "a name several times") from None
    except (pl.exceptions.PolarsError, TypeError, ValueError, ImportError) as error:
        if unknown := re.search(r"unable to parse time zone: '([^']*)'", str(error)):
            expected = "timestamps in UTC, in a zone with a name or at an offset of whole hours"
            remedy = f"cast to UTC, they are read on that clock with the time zone {unknown[1]}"
            raise DataError("source", expected, f"the time zone {shorten(unknown[1])}; {remedy}") from None
        hint = "; .to_frame() makes a data frame of it" if hasattr(source, "to_frame") else ""
        got = f"an object of type {type(source).__name__}{hint}"
        raise DataError("source", "a data frame with named columns", got) from None


def _is_pandas(source: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(source, pandas.DataFrame)


def _from_pandas(source: Any) -> tuple[pl.DataFrame, str]:
    import pandas as pd  # the caller has it

    if isinstance(source.columns, pd.MultiIndex):
        joined = "frame.columns = ['_'.join(map(str, labels)) for labels in frame.columns]"
        got = f"a MultiIndex; {joined} joins its levels"
        raise DataError("columns of the data frame", "one name for each column", got)
    if isinstance(source.index, pd.MultiIndex):
        got = "a MultiIndex; frame.reset_index() makes columns of its levels"
        raise DataError("index of the data frame", "one level", got)
    names = ["" if gap else str(label) for label, gap in zip(source.columns, source.columns.isna(), strict=True)]
    columns = [_cells_of_pandas(source.iloc[:, number]) for number in range(len(names))]
    index, time = _index(source.index, names)
    if index is not None:
        names, columns = [index.name, *names], [index, *columns]
    cells = pl.DataFrame([column.alias(str(number)) for number, column in enumerate(columns)])
    return named(cells, names), time


def _index(index: Any, names: Sequence[str]) -> tuple[pl.Series | None, str]:
    """Return an index as a column, or None if it is only row labels; and its name if it is the time column."""
    import pandas as pd

    is_time = isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex))
    if index.name is not None:
        if str(index.name) in names:
            remedy = "frame.reset_index(drop=True) drops it, frame.rename_axis(...) renames it"
            got = f"{shorten(str(index.name))}; {remedy}"
            raise DataError("index of the data frame", "a name that no column has", got)
        return _cells_of_pandas(index.to_series()).alias(str(index.name)), str(index.name) if is_time else ""
    if is_time:
        if INDEX_NAME in names:
            kind = f"a {type(index).__name__} without a name, next to a column {INDEX_NAME!r}"
            got = f"{kind}; frame.rename_axis('timestamp') names it, frame.reset_index(drop=True) drops it"
            raise DataError("index of the data frame", "a name for the time column", got)
        return _cells_of_pandas(index.to_series()).alias(INDEX_NAME), INDEX_NAME
    if not isinstance(index, pd.RangeIndex) and Column(_cells_of_pandas(index.to_series()).alias("")).is_time:
        got = f"labels without a name that look like times, such as {shorten(str(index[0]))}"
        remedy = "frame.rename_axis('time') makes a column of them, frame.reset_index(drop=True) drops them"
        raise DataError("index of the data frame", "a DatetimeIndex, or a name", f"{got}; {remedy}")
    return None, ""


def _cells_of_pandas(column: Any) -> pl.Series:
    """Return a column of pandas with the type that comes closest; what has none, as the text of a CSV file."""
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = pl.Series(column.cat.codes.to_numpy().astype(np.int64))
        categories = _cells_of_pandas(column.cat.categories.to_series())
        return categories.gather(codes.set(codes < 0, None))
    if isinstance(dtype, pd.SparseDtype):
        return _cells_of_pandas(column.sparse.to_dense())
    if isinstance(dtype, pd.PeriodDtype):
        return _cells_of_pandas(column.dt.to_timestamp())  # the start of each period
    if isinstance(dtype, pd.DatetimeTZDtype):
        utc = _of_array(column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy())
        try:
            return utc.dt.replace_time_zone("UTC").dt.convert_time_zone(str(dtype.tz))
        except pl.exceptions.PolarsError:  # a fixed offset, or a zone without a name
            return _text(column)
    if isinstance(dtype, pd.ArrowDtype):
        return pl.Series(pl.from_arrow(column.array.__arrow_array__()))
    if isinstance(dtype, pd.api.extensions.ExtensionDtype):
        plain = getattr(dtype, "numpy_dtype", None)  # of numbers with a mask of the missing ones
        if plain is None or plain.kind not in "biuf":
            return _text(column)
        cells = _of_array(column.to_numpy(dtype=plain, na_value=plain.type(0)))
        return cells.set(pl.Series(column.isna().to_numpy()), None)
    values = column.to_numpy()
    return _of_array(values) if values.dtype.kind in "biufMm" else _text(column)


def _of_array(values: NDArray[Any]) -> pl.Series:
    """Return numbers, times or durations of NumPy with a type that polars has."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "f" and size not in (4, 8):
        values = values.astype(np.float32 if size < 4 else np.float64)
    elif kind in "Mm" and np.datetime_data(values.dtype) == ("s", 1):
        whole = values.view(np.int64)
        inside = np.where(np.isnat(values), whole, np.clip(whole, -_SECONDS, _SECONDS))
        values = inside.view(values.dtype).astype(f"{kind}8[us]")
    return pl.Series(np.ascontiguousarray(values))


def _text(column: Any) -> pl.Series:
    missing = column.isna().to_numpy()
    cells = [None if gap else str(value) for value, gap in zip(column.array, missing, strict=True)]
    return pl.Series(cells, dtype=pl.String)
