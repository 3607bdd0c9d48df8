"""The next values of a table's series, from a trained forecaster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.category_values import with_values
from gatewright.data.preprocessing import encode
from gatewright.data.public_holidays import counts
from gatewright.data.table import Series, Table
from gatewright.data.time_zones import LOCAL, Clock, Times, is_place, of_days, offset_of, to_local, to_utc
from gatewright.data.window_checks import listed
from gatewright.errors import DataError, GatewrightError, SpecError, shorten
from gatewright.nn.model import Model
from gatewright.spec import FILLS, ModelSpec, QuantileHead, SeriesEncoder
from gatewright.tasks.forecast.target_options import require_counts
from gatewright.tasks.forecast.windows import Windows, predict


def forecast(model: Model, table: Table, horizon: int | None = None, fill: str = "") -> pl.DataFrame:
    """Forecast what follows the last observed target of each series.

    Args:
        model: a trained forecaster.
        table: the series; inputs known in advance go on, for as many rows as the model forecasts, after the
            last observed target.
        horizon: steps to forecast, at most what the model was trained for; that if None.
        fill: "forward" or "mean" to fill missing inputs.

    Returns:
        A row a series and step: the series (if a column names it), the timestamp or the number of the row, and
        each quantile of each target as ``<target>_q<level>``, in the target's units, or ``<target>_mean``
        of a model that forecasts the mean.  Timestamps have the time zone of the
        table's; those of days and months at a place, and those without one, have none.

    Raises:
        SpecError: if the model does not forecast.
        GatewrightError: if the horizon is longer than the model's, or ``fill`` is none of the above.
        DataError: if the table has other columns or another step than the model, too few rows, no input known
            in advance where it is needed, or values that no finite forecast follows from.
    """
    encoder, head = require_forecaster(model, horizon, fill)
    table = fitted(table, encoder, head)
    frames = [_forecast_one(model, one, table, encoder, head, fill) for one in table.series]
    return pl.concat([frame.head(horizon or head.horizon) for frame in frames])


def forecastable(model: Model, table: Table) -> tuple[Table, list[str]]:
    """Leave out the series that are too short to forecast, where others are long enough.

    Returns:
        The table of the others, or the whole table if there are none; and the names of those left out.
    """
    encoder = model.spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    targets = len(encoder.targets)
    long = [one for one in table.series if rows_observed(one, targets) >= encoder.context]
    if not long:
        return table, []
    short = [one.name for one in table.series if rows_observed(one, targets) < encoder.context]
    return replace(table, series=tuple(long)), short


def late_targets(table: Table, spec: ModelSpec) -> list[str]:
    """Return notes on targets that are missing where a forecast begins, as far as it is the worse for it.

    A target without a value in the whole context is read as its mean.  A seasonal difference is that of the season
    before the row where the forecast begins, and is added to the last observed value, which may be of an earlier
    row: then the seasonal course is shifted by the rows between the two.
    """
    encoder = spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    targets, notes = len(encoder.targets), []
    for column, target in enumerate(encoder.targets):
        late, unseen = [], []
        for each in table.series:
            rows = rows_observed(each, targets)
            read = np.isfinite(each.values[max(0, rows - encoder.context) : rows, column])
            if not read.any():
                unseen.append(each.name or "the table")
            elif encoder.seasons and not read[-1]:
                late.append(each.name or "the table")
        if unseen and encoder.reads != "nothing":
            notes.append(f"{_no_value_in(target, encoder.context)}: {listed(unseen)}")
        if late:
            notes.append(f"{_no_value_in(target)}: {listed(late)}")
    return notes


def _no_value_in(target: str, context: int = 0) -> str:
    """Say what a forecast is without a value of a target in its last row, or in the whole context."""
    if context:
        where, result = f"the last {context} rows before", "the model takes the mean of the training part for it"
    else:
        where = "the last row before"
        result = "the seasonal part of the forecast is shifted by the rows since its last value"
    return f"{shorten(target)} has no value in {where} the forecast: {result}; fill it in"


def rows_observed(one: Series, targets: int) -> int:
    """Count the rows up to the last observed target."""
    observed = np.flatnonzero(np.isfinite(one.values[:, :targets]).any(axis=1))
    return int(observed[-1]) + 1 if len(observed) else 0


def require_forecaster(model: Model, horizon: int | None, fill: str) -> tuple[SeriesEncoder, QuantileHead]:
    """Return encoder and head of a model that can forecast so far.

    Raises:
        GatewrightError: see `forecast`.
    """
    encoder, head = model.spec.encoder, model.spec.head
    if not isinstance(encoder, SeriesEncoder) or not isinstance(head, QuantileHead):
        raise SpecError("model", "a forecaster", f"a model with an encoder of kind {encoder.kind!r}")
    if horizon is not None and not 1 <= horizon <= head.horizon:
        hint = f"1 to {head.horizon} steps (to go further, train with a longer --horizon)"
        raise GatewrightError("--horizon", hint, str(horizon))
    if fill not in FILLS:
        raise GatewrightError("--fill", "forward or mean", repr(fill))
    return encoder, head


def fitted(table: Table, encoder: SeriesEncoder, head: QuantileHead) -> Table:
    """Check that a table has the columns, step and counts that a model reads, and number categories as it does.

    Returns:
        The table; values of a category that the model does not know are unknown in it, with a note.

    Raises:
        DataError: if it has other columns or another step, or targets that are none of a head of counts.
    """
    columns = (table.roles.targets, table.roles.past, table.roles.known, table.roles.static)
    needed = (encoder.targets, encoder.past, encoder.known, encoder.static)
    for role, present, required in zip(("target", "past", "known", "static"), columns, needed, strict=True):
        if present != required:
            raise DataError(f"{role} columns", ", ".join(required) or "none", ", ".join(present) or "none")
    if (encoder.calendar or encoder.holidays) and table.clock.zone != encoder.time_zone:
        expected = f"timestamps {_named(encoder.time_zone)}, as in training"
        hint = "" if encoder.time_zone else "; write them without one, on the clock of the training's"
        raise DataError("time", expected, f"timestamps {_named(table.clock.zone)}{hint}")
    if table.step != encoder.step:
        raise DataError("time", f"one row every {encoder.step}, as in training", f"one every {table.step}")
    known = {each.column: each.values for each in encoder.categories}
    for name in encoder.columns[len(encoder.targets) :]:
        if (name in known) != (name in table.categories):
            kinds = ("numbers", "categories") if name in table.categories else ("categories", "numbers")
            raise DataError(f"column {shorten(name)}", f"{kinds[0]}, as in training", kinds[1])
    if head.counts:
        require_counts(table, head.distribution)
    return with_values(table, known)


def _named(zone: str) -> str:
    """Say whose clock a zone stands for."""
    if zone == "":
        return "without a time zone"
    return "that are dates" if zone == LOCAL else f"on the clock of {zone}"


def _forecast_one(
    model: Model, one: Series, table: Table, encoder: SeriesEncoder, head: QuantileHead, fill: str
) -> pl.DataFrame:
    rows, windows = window_at_end(model, one, table, fill)
    answer = predict(model, windows, np.array([encoder.context - 1]))[0]
    if not np.isfinite(answer).all():
        raise DataError(one.title, "values that the model can forecast from", "a forecast that is not finite")
    return forecast_frame(one, rows, table, head.names, answer)


def window_at_end(model: Model, one: Series, table: Table, fill: str) -> tuple[int, Windows]:
    """Return the number of rows up to the last observed target of a series, and the window that ends there.

    Args:
        model: a forecaster.
        one: the series.
        table: its table, as `fitted` returns it.
        fill: "forward" or "mean" to fill missing inputs.

    Raises:
        DataError: if there are too few rows, or no input known in advance where it is needed.
    """
    assert model.spec.forecaster is not None
    assert model.scaler is not None
    encoder, head = model.spec.forecaster
    rows = rows_observed(one, len(encoder.targets))
    if rows < encoder.context:
        expected = f"at least {encoder.context} rows up to the last observed target (the model's context)"
        raise DataError(one.title, expected, str(rows))
    window = _window(one, rows, table, encoder, head.horizon, fill)
    encoded = encode(window, encoder, model.scaler, fill)
    return rows, Windows([encoded], encoder, head.horizon, next(model.parameters()).device, model.scaler)


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
    horizon = len(answer)
    columns: list[tuple[str, object]] = []
    columns += [(name, [own] * horizon) for name, own in zip(table.roles.ids, one.ids, strict=True)]
    when, ahead = _when(one, rows, table, horizon)
    columns.append((when, ahead if one.times is None else _zoned(np.asarray(ahead), table.clock)))
    columns += more
    for index, target in enumerate(table.roles.targets):
        for place, name in enumerate(outputs):
            columns.append((f"{target}_{name}", answer[:, index, place]))
    frame = dict(columns)
    if len(frame) < len(columns):
        names = [name for name, _ in columns]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"column {twice!r}", "a name that no other column of the forecast has", "it twice")
    return pl.DataFrame(frame)


def times_of(one: Series, rows: NDArray[np.int64], table: Table) -> object:
    """Return the timestamps of some rows of a series with their time zone, or numbers of rows from 1.

    Args:
        one: the series.
        rows: their places in it, from 0.
        table: the table of the series.
    """
    return rows + 1 if one.times is None else _zoned(one.times[rows], table.clock)


def _when(one: Series, rows: int, table: Table, horizon: int) -> tuple[str, object]:
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


def _shown(times: Times, table: Table) -> str:
    offset = table.clock.offsets(times)[0] if table.clock.absolute else ""
    return f"{frequency.shown(table.clock.local(times)[0])}{offset}"


def _window(one: Series, rows: int, table: Table, encoder: SeriesEncoder, horizon: int, fill: str) -> Series:
    """Return the context that ends with some row, and ``horizon`` more rows with only what is known in advance."""
    first = len(encoder.targets) + len(encoder.past)
    last = first + len(encoder.known)
    ahead = np.full((horizon, one.values.shape[1]), np.nan)
    future = one.values[rows : rows + horizon]
    ahead[: len(future), first:last] = future[:, first:last]
    ahead[:, last:] = one.values[rows - 1, last:]
    _, when = _when(one, rows, table, horizon)
    if encoder.holidays:  # known without a row for them
        local = one.clock.local(np.asarray(when))
        ahead[:, last - len(encoder.holidays) : last] = counts(local, table.step, encoder.holidays)
    usable = np.isfinite(ahead[:, first:last])
    # A row without a category has an unknown one; a row that is not there has none.
    usable[: len(future), [name in table.categories for name in encoder.known]] = True
    if fill:
        usable[: len(future)] = True
    if not usable.all():
        row, column = map(int, np.argwhere(~usable)[0])
        expected = f"a value in each of the {horizon} rows after the last observed target of {one.title}"
        there = np.asarray(when)[row : row + 1]
        got = f"none in row {there[0]}" if one.times is None else f"none at {_shown(there, table)}"
        raise DataError(f"known input {encoder.known[column]!r}", expected, got)
    read = slice(rows - encoder.context, rows)
    times = None if one.times is None else np.concatenate([one.times[read], np.asarray(when)])
    lines: NDArray[np.int64] = np.concatenate([one.lines[read], np.zeros(horizon, dtype=np.int64)])
    return replace(one, times=times, values=np.concatenate([one.values[read], ahead]), lines=lines)
