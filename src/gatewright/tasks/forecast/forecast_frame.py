"""Forecasts as a frame: a row for each series and step, with its time or number; and times as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.table import Series, Table
from gatewright.data.time_zones import LOCAL, Clock, Times, is_place, of_days, offset_of, to_local, to_utc
from gatewright.errors import DataError


def forecast_frame(
    one: Series,
    rows: int,
    table: Table,
    outputs: Sequence[str],
    answer: NDArray[np.float64],
    more: Sequence[tuple[str, object]] = (),
) -> pl.DataFrame:
    """Return forecasts as a frame: ids, time (or number of the row), more columns, quantiles of each target.

    Args:
        one: the series.
        rows: number of rows before the forecast.
        table: the table of the series.
        outputs: names of the quantiles, as `QuantileHead.names`.
        answer: the forecasts (horizon, targets, quantiles), in units.
        more: names and cells of further columns.

    Raises:
        DataError: if two columns would have one name.
    """
    return forecasts_frame([one], np.array([rows]), table, outputs, answer[None], more)


def forecasts_frame(
    series: Sequence[Series],
    rows: NDArray[np.int64],
    table: Table,
    outputs: Sequence[str],
    answers: NDArray[np.float64],
    more: Sequence[tuple[str, object]] = (),
    before: NDArray[np.int64] | int = 0,
) -> pl.DataFrame:
    """Return forecasts of several series, as `forecast_frame` does of one.

    Args:
        series: the series.
        rows: number of rows of each before the forecast.
        table: the table of the series.
        outputs: names of the quantiles, as `QuantileHead.names`.
        answers: the forecasts (series, horizon, targets, quantiles), in units.
        more: names and cells of further columns, a row for each series and step.
        before: number of rows of each before those of the table, of a table without timestamps.

    Raises:
        DataError: if two columns would have one name.
    """
    horizon = answers.shape[1]
    columns: list[tuple[str, object]] = []
    for place, name in enumerate(table.roles.ids):
        own = pl.Series([each.ids[place] for each in series], dtype=pl.String)
        columns.append((name, own.gather(np.repeat(np.arange(len(series)), horizon))))
    columns.append(_ahead_column(series, rows, table, horizon, before))
    columns += more
    for index, target in enumerate(table.roles.targets):
        for place, name in enumerate(outputs):
            columns.append((f"{target}_{name}", np.ascontiguousarray(answers[:, :, index, place]).ravel()))
    frame = dict(columns)
    if len(frame) < len(columns):
        names = [name for name, _ in columns]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"column {twice!r}", "a name that no other column of the forecast has", "it twice")
    return pl.DataFrame(frame)


def _ahead_column(
    series: Sequence[Series], rows: NDArray[np.int64], table: Table, horizon: int, before: NDArray[np.int64] | int
) -> tuple[str, object]:
    """Return the name and the cells of the column that says when."""
    ahead = np.arange(1, horizon + 1)
    if series[0].times is None:
        return "row", ((rows + before)[:, None] + ahead).ravel()
    last = np.array([one.times[row - 1] for one, row in zip(series, rows, strict=True) if one.times is not None])
    times = frequency.after(last[:, None], table.step, ahead)
    return table.roles.time, _zoned(times.ravel(), table.clock)


def times_of(one: Series, rows: NDArray[np.int64], table: Table) -> object:
    """Return the timestamps of some rows of a series with their time zone, or numbers of rows from 1.

    Args:
        one: the series.
        rows: their places in it, from 0.
        table: the table of the series.
    """
    return rows + 1 if one.times is None else _zoned(one.times[rows], table.clock)


def ahead_of(one: Series, rows: int, table: Table, horizon: int) -> tuple[str, object]:
    """Name and values of the column that says when: timestamps, or row numbers from 1."""
    ahead = np.arange(1, horizon + 1)
    if one.times is None:
        return "row", rows + ahead
    return table.roles.time, frequency.after(one.times[rows - 1], table.step, ahead)


def _zoned(times: Times, when: Clock) -> pl.Series:
    """Return times as a column with their time zone, as far as polars has it."""
    if when.zone in ("", LOCAL) or (is_place(when.zone) and not when.absolute):
        return pl.Series(times)
    utc = pl.Series(times if when.absolute else to_utc(times, when.zone)[0]).dt.replace_time_zone("UTC")
    hours, rest = divmod(0 if is_place(when.zone) else offset_of(when.zone) or 0, 3600)
    if is_place(when.zone) or hours == rest == 0 or rest or not -12 <= hours <= 14:
        return utc.dt.convert_time_zone(when.zone if is_place(when.zone) else "UTC")
    return utc.dt.convert_time_zone(f"Etc/GMT{-hours:+d}")  # with the signs of POSIX: east is negative


def as_written(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return forecasts as a CSV file has them: timestamps as `written` says, and numbers as the model has them.

    Args:
        frame: the forecasts.
        table: the table that they follow.
    """
    times = [
        pl.Series(name, written(frame[name], table)) for name in frame.columns if frame[name].dtype == pl.Datetime
    ]
    # The model computes in float32; more digits would only look like more.
    return frame.with_columns(*times).with_columns(pl.col(pl.Float64).cast(pl.Float32))


def written(column: pl.Series, table: Table) -> list[str]:
    """Return the timestamps of a forecast as text: on the clock and with the offset of those in the table.

    ``2018-06-26 20:00:00``, with its offset where the table's time zone is known, or ``2018-06-26`` where a step
    is days and the table's timestamps name no zone.
    """
    when = table.clock
    times = column.to_physical().to_numpy().astype("datetime64[us]")
    local = times if getattr(column.dtype, "time_zone", None) is None else to_local(times, when.zone)
    offsets = [""] * len(local)
    if table.zoned or not of_days(table.step):
        offsets = when.offsets(times if when.absolute else local)
    if of_days(table.step) and not any(offsets) and bool((local == local.astype("datetime64[D]")).all()):
        return [str(day) for day in local.astype("datetime64[D]")]
    fraction = bool((local != local.astype("datetime64[s]")).any())
    texts = np.datetime_as_string(local, unit="us" if fraction else "s").tolist()
    return [text.replace("T", " ") + offset for text, offset in zip(texts, offsets, strict=True)]


def shown(times: Times, table: Table) -> str:
    """Return the first of some times as an error shows it."""
    offset = table.clock.offsets(times)[0] if table.clock.absolute else ""
    return f"{frequency.shown(table.clock.local(times)[0])}{offset}"
