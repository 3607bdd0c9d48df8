"""Forecasts in the form of the table that came: its library, and its types of ids and timestamps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.cell_text import is_text
from gatewright.data.dataframes import INDEX_NAME
from gatewright.data.frame import Frame
from gatewright.data.table import Table, groups_of
from gatewright.data.time_zones import Times, is_place, to_local, to_utc
from gatewright.estimators.written_times import numbers_like, texts_like

#: Name of the column with the last row before a forecast of a backtest.
CUTOFF = "cutoff"


def to_array(forecasts: pl.DataFrame, table: Table, several: int, flat: bool) -> NDArray[np.float64]:
    """Return forecasts as ([series,] horizon, [targets,] quantiles), NaN for a series without a forecast.

    Args:
        forecasts: a row a series and step.
        table: the series.
        several: length of the axis of series; 0 for none.
        flat: whether the answer has no axis of targets.
    """
    targets = table.roles.targets
    values = forecasts.select(forecasts.columns[-(forecasts.width - len(table.roles.ids) - 1) :]).to_numpy()
    shape = (len(table.series), -1, len(targets), values.shape[1] // len(targets))
    laid = np.ascontiguousarray(values.reshape(shape))
    laid = laid[:, :, 0] if flat else laid
    if not several:
        return laid[0]
    whole = np.full((several, *laid.shape[1:]), np.nan)
    whole[[int(series.ids[0]) for series in table.series]] = laid
    return whole


def typed(forecasts: pl.DataFrame, table: Table, frame: Frame) -> pl.DataFrame:
    """Return forecasts with the ids of the table themselves, and timestamps of its type."""
    rows = _rows(forecasts, table, frame)
    columns = [frame.cells[name].gather(rows).alias(name) for name in table.roles.ids]
    for name in _time_columns(forecasts, table):
        times = _times_like(forecasts[name], table, frame)
        columns.append(times.alias(name))
    return forecasts.with_columns(columns)


def to_pandas(forecasts: pl.DataFrame, table: Table, X: Any, frame: Frame) -> Any:
    """Return forecasts as a frame of pandas, with the labels, the ids and the type of times of ``X``."""
    import pandas as pd  # the caller has it

    labels = {str(label): label for label in X.columns}
    places = {str(label): number for number, label in enumerate(X.columns)}
    own = {name: X.iloc[:, number] for name, number in places.items()}
    if X.index.name is not None:
        own.setdefault(str(X.index.name), X.index.to_series())
        labels.setdefault(str(X.index.name), X.index.name)
    rows = _rows(forecasts, table, frame)
    time, columns = table.roles.time, {}
    for column in forecasts:
        if column.name in table.roles.ids:
            columns[column.name] = own[column.name].iloc[rows].reset_index(drop=True)
        elif column.name in _time_columns(forecasts, table):
            source = own.get(time, X.index.to_series())
            columns[column.name] = _pandas_times(column, table, source, frame)
        else:
            columns[column.name] = pd.Series(column.to_numpy())
    answer = pd.DataFrame(columns)
    if time in columns and time not in places:  # the index of the table
        answer = answer.set_index(time)
        answer.index = pd.Index(answer.index, name=X.index.name)
        if time == INDEX_NAME and X.index.name is None:
            answer.index.name = None
    answer.columns = pd.Index([labels.get(name, name) for name in answer.columns])
    return answer


def _rows(forecasts: pl.DataFrame, table: Table, frame: Frame) -> NDArray[np.int64]:
    """Return for each forecast the place of a row of its series in the table."""
    if not table.roles.ids:
        return np.zeros(len(forecasts), np.int64)
    ids = table.roles.ids
    first = pl.DataFrame({str(k): [each.ids[k] for each in table.series] for k in range(len(ids))})
    first = first.with_columns(pl.Series("row", _first_rows(table, frame)))
    keys = pl.DataFrame([forecasts[name].alias(str(k)) for k, name in enumerate(ids)])
    return keys.join(first, on=keys.columns, how="left", maintain_order="left")["row"].to_numpy()


def _first_rows(table: Table, frame: Frame) -> NDArray[np.int64]:
    """Return the place of a row of each series in the frame."""
    if frame.files:  # whose lines begin anew in each file
        places = {ids: int(rows[0]) for _, ids, rows in groups_of(frame, table.roles.ids)}
        return np.array([places[each.ids] for each in table.series], np.int64)
    lines = np.array([each.lines[np.argmax(each.lines > 0)] for each in table.series])
    return np.searchsorted(frame.lines, lines).astype(np.int64)


def _time_columns(forecasts: pl.DataFrame, table: Table) -> list[str]:
    """Return the names of the columns of timestamps."""
    return [
        name
        for name in (table.roles.time, CUTOFF)
        if name in forecasts.columns and name not in table.roles.columns and forecasts[name].dtype.is_temporal()
    ]


def _moments(column: pl.Series, table: Table, zone: str | None) -> tuple[Times, Times]:
    """Return timestamps as the table's clock shows them, and in UTC.

    Args:
        column: the timestamps.
        table: the table of the series.
        zone: the zone of the table's timestamps, which dates leave out.
    """
    times = column.to_physical().to_numpy().astype("datetime64[us]")
    clock = table.clock.zone
    if getattr(column.dtype, "time_zone", None) is not None:
        return to_local(times, clock), times
    place = clock if is_place(clock) else zone
    return times, to_utc(times, place)[0] if place else times


def _times_like(column: pl.Series, table: Table, frame: Frame) -> pl.Series:
    """Return timestamps in the way that the table has them; as they are, if no way is known."""
    source = frame.cells[table.roles.time]
    dtype = source.dtype
    if isinstance(dtype, pl.Datetime):
        local, utc = _moments(column, table, dtype.time_zone)
        if dtype.time_zone is None:
            return pl.Series(local).cast(dtype)
        return pl.Series(utc).dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone).cast(dtype)
    local, utc = _moments(column, table, None)
    if isinstance(dtype, pl.Date) and bool((local == local.astype("datetime64[D]")).all()):
        return pl.Series(local).cast(pl.Date)
    if is_text(source):
        return pl.Series(texts_like(column, local, utc, table, frame), dtype=pl.String)
    if dtype.is_numeric():
        numbers = numbers_like(local, utc, table, frame)
        return column if numbers is None else pl.Series(numbers).cast(dtype)
    return column


def _pandas_times(column: pl.Series, table: Table, source: Any, frame: Frame) -> Any:
    """Return timestamps with the type of a column or index of pandas."""
    import pandas as pd

    if isinstance(source.dtype, pd.CategoricalDtype):  # later times are none of its categories
        source = source.astype(source.dtype.categories.dtype)
    dtype = source.dtype
    if isinstance(dtype, pd.DatetimeTZDtype):
        local, utc = _moments(column, table, None)
        if column.dtype.time_zone is None and not is_place(table.clock.zone):  # type: ignore[attr-defined]
            first = np.ones(len(local), bool)  # of an hour that the clock shows twice
            zoned = pd.Series(local).dt.tz_localize(dtype.tz, ambiguous=first, nonexistent="shift_forward")
        else:
            zoned = pd.Series(utc).dt.tz_localize("UTC").dt.tz_convert(dtype.tz)
        return zoned.astype(dtype)
    if isinstance(dtype, pd.PeriodDtype):
        return pd.Series(_moments(column, table, None)[0]).dt.to_period(dtype.freq)
    if isinstance(dtype, np.dtype) and np.issubdtype(dtype, np.datetime64):
        return pd.Series(_moments(column, table, None)[0]).astype(dtype)
    if dtype.kind == "O" and isinstance(first := source.dropna().iloc[0], date):
        return pd.Series(list(map(_like(first), *_moments(column, table, None))), dtype=object)
    values = _times_like(column, table, frame)
    plain = pd.Series(values.to_list() if is_text(values) else values.dt.replace_time_zone(None).to_numpy()
                      if isinstance(values.dtype, pl.Datetime) else values.to_numpy())  # fmt: skip
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        utc = _moments(values, table, None)[1]
        plain = pd.Series(utc).dt.tz_localize("UTC").dt.tz_convert(values.dtype.time_zone)
    number = values.dtype.is_numeric() == (dtype.kind in "iuf")
    return plain.astype(dtype) if number else plain


def _like(first: date) -> Callable[[Any, Any], Any]:
    """Return what makes an object of the class of a date or time from one of local time and UTC."""
    import pandas as pd

    zone = getattr(first, "tzinfo", None)

    def moment(local: Any, utc: Any) -> Any:
        stamp = pd.Timestamp(local) if zone is None else pd.Timestamp(utc).tz_localize("UTC").tz_convert(zone)
        if isinstance(first, pd.Timestamp):
            return stamp
        return stamp.to_pydatetime() if isinstance(first, datetime) else stamp.date()

    return moment
