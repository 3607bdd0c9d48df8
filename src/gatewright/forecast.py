"""The next values of a table's series, from a trained forecaster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import clock
from gatewright.data.series import encode
from gatewright.data.table import Series, Table
from gatewright.errors import DataError, GatewrightError, SpecError
from gatewright.model import Model
from gatewright.spec import FILLS, QuantileHead, SeriesEncoder
from gatewright.windows import Windows, predict


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
        each quantile of each target as ``<target>_q<level>``, in the target's units.

    Raises:
        SpecError: if the model does not forecast.
        GatewrightError: if the horizon is longer than the model's, or ``fill`` is none of the above.
        DataError: if the table has other columns or another step than the model, too few rows, no input known
            in advance where it is needed, or values that no finite forecast follows from.
    """
    encoder, head = require_forecaster(model, horizon, fill)
    require_fit(table, encoder)
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


def require_fit(table: Table, encoder: SeriesEncoder) -> None:
    """Check that a table has the columns and the step that a model reads.

    Raises:
        DataError: if it has not.
    """
    found = (table.roles.targets, table.roles.past, table.roles.known, table.roles.static)
    needed = (encoder.targets, encoder.past, encoder.known, encoder.static)
    for role, have, want in zip(("target", "past", "known", "static"), found, needed, strict=True):
        if have != want:
            raise DataError(f"{role} columns", ", ".join(want) or "none", ", ".join(have) or "none")
    if table.step != encoder.step:
        raise DataError("time", f"one row every {encoder.step}, as in training", f"one every {table.step}")


def _forecast_one(
    model: Model, one: Series, table: Table, encoder: SeriesEncoder, head: QuantileHead, fill: str
) -> pl.DataFrame:
    assert model.scaler is not None
    targets = len(encoder.targets)
    rows = rows_observed(one, targets)
    if rows < encoder.context:
        expected = f"at least {encoder.context} rows up to the last observed target (the model's context)"
        raise DataError(one.title, expected, str(rows))
    window = _window(one, rows, table, encoder, head.horizon, fill)
    encoded = encode(window, encoder, model.scaler, fill)
    windows = Windows([encoded], encoder, head.horizon, next(model.parameters()).device)
    answer = predict(model, windows, np.array([rows - 1]))[0]
    answer = answer * np.array(model.scaler.scale[:targets])[:, None]
    answer += np.array(model.scaler.mean[:targets])[:, None]
    if not np.isfinite(answer).all():
        raise DataError(one.title, "values that the model can forecast from", "a forecast that is not finite")
    when, ahead = _when(one, rows, table, head.horizon)
    columns: list[tuple[str, object]] = []
    columns += [(name, [own] * head.horizon) for name, own in zip(table.roles.ids, one.ids, strict=True)]
    columns.append((when, ahead))
    for index, target in enumerate(encoder.targets):
        for place, level in enumerate(head.quantiles):
            columns.append((f"{target}_q{level}", answer[:, index, place]))
    frame = dict(columns)
    if len(frame) < len(columns):
        names = [name for name, _ in columns]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"column {twice!r}", "a name that no other column of the forecast has", "it twice")
    return pl.DataFrame(frame)


def _when(one: Series, rows: int, table: Table, horizon: int) -> tuple[str, object]:
    """Name and values of the column that says when: timestamps, or row numbers from 1."""
    ahead = np.arange(1, horizon + 1)
    if one.times is None:
        return "row", rows + ahead
    return table.roles.time, clock.after(one.times[rows - 1], table.step, ahead)


def _window(one: Series, rows: int, table: Table, encoder: SeriesEncoder, horizon: int, fill: str) -> Series:
    """Return the first rows, and ``horizon`` more with only what is known in advance."""
    first = len(encoder.targets) + len(encoder.past)
    last = first + len(encoder.known)
    ahead = np.full((horizon, one.values.shape[1]), np.nan)
    given = one.values[rows : rows + horizon]
    ahead[: len(given), first:last] = given[:, first:last]
    ahead[:, last:] = one.values[rows - 1, last:]
    _, when = _when(one, rows, table, horizon)
    usable = np.isfinite(ahead[:, first:last])
    if fill:
        usable[: len(given)] = True
    if not usable.all():
        row, column = map(int, np.argwhere(~usable)[0])
        expected = f"a value in each of the {horizon} rows after the last observed target of {one.title}"
        there = np.asarray(when)[row]
        got = f"none in row {there}" if one.times is None else f"none at {clock.shown(there)}"
        raise DataError(f"known input {encoder.known[column]!r}", expected, got)
    times = None if one.times is None else np.concatenate([one.times[:rows], np.asarray(when)])
    lines: NDArray[np.int64] = np.concatenate([one.lines[:rows], np.zeros(horizon, dtype=np.int64)])
    return replace(one, times=times, values=np.concatenate([one.values[:rows], ahead]), lines=lines)
