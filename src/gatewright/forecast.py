"""The next values of a table's series, from a trained forecaster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gatewright.data import clock
from gatewright.data.series import encode
from gatewright.data.table import Series, Table
from gatewright.errors import DataError, GatewrightError, SpecError
from gatewright.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.windows import Windows, predict

if TYPE_CHECKING:
    from numpy.typing import NDArray


def forecast(model: Model, table: Table, horizon: int | None = None, fill: str = "") -> pl.DataFrame:
    """Forecast what follows the last observed target of each series.

    Args:
        model: a trained forecaster.
        table: the series; inputs known in advance go on for ``horizon`` rows after the last observed target.
        horizon: steps to forecast, at most what the model was trained for; that if None.
        fill: "forward" or "mean" to fill missing inputs.

    Returns:
        A row a series and step: the series (if there are several), the timestamp or row number, and each
        quantile of each target as ``<target>_q<level>``.

    Raises:
        SpecError: if the model does not forecast.
        GatewrightError: if the horizon is longer than the model's.
        DataError: if the table has another step, or too few rows.
    """
    encoder, head = model.spec.encoder, model.spec.head
    if not isinstance(encoder, SeriesEncoder) or not isinstance(head, QuantileHead):
        raise SpecError("model", "a forecaster", f"a model with an encoder of kind {encoder.kind!r}")
    if horizon is not None and not 1 <= horizon <= head.horizon:
        hint = f"1 to {head.horizon} steps (to go further, train with a longer --horizon)"
        raise GatewrightError("--horizon", hint, str(horizon))
    if table.step != encoder.step:
        raise DataError("time", f"one row every {encoder.step}, as in training", f"one every {table.step}")
    frames = [_forecast_one(model, one, table, encoder, head, fill) for one in table.series]
    answer = pl.concat(frames)
    if horizon is not None:
        answer = answer.filter(pl.int_range(pl.len()) % head.horizon < horizon)
    return answer


def _forecast_one(
    model: Model, one: Series, table: Table, encoder: SeriesEncoder, head: QuantileHead, fill: str
) -> pl.DataFrame:
    assert model.scaler is not None
    targets = len(encoder.targets)
    origin = int(np.flatnonzero(np.isfinite(one.values[:, :targets]).any(axis=1))[-1])
    if origin + 1 < encoder.context:
        expected = f"at least {encoder.context} rows up to the last observed target (the model's context)"
        raise DataError(one.title, expected, f"{origin + 1}")
    window = _window(one, origin, table, encoder, head.horizon)
    encoded = encode(window, encoder, model.scaler, fill)
    windows = Windows([encoded], encoder, head.horizon, next(model.parameters()).device)
    answer = predict(model, windows, np.array([len(window.values) - 1 - head.horizon]))[0]
    answer = (
        answer * np.array(model.scaler.scale[:targets])[:, None] + np.array(model.scaler.mean[:targets])[:, None]
    )
    columns: dict[str, object] = {}
    if table.roles.series:
        columns[table.roles.series] = [one.name] * head.horizon
    ahead = np.arange(1, head.horizon + 1)
    if one.times is None:
        columns["row"] = origin + 1 + ahead
    else:
        columns[table.roles.time] = clock.after(one.times[origin], table.step, ahead)
    for index, target in enumerate(encoder.targets):
        for place, level in enumerate(head.quantiles):
            columns[f"{target}_q{level:g}"] = answer[:, index, place]
    return pl.DataFrame(columns)


def _window(one: Series, origin: int, table: Table, encoder: SeriesEncoder, horizon: int) -> Series:
    """Return all rows up to the origin, and ``horizon`` rows with only what is known in advance."""
    first = len(encoder.targets) + len(encoder.past)
    last = first + len(encoder.known)
    ahead = np.full((horizon, one.values.shape[1]), np.nan)
    given = one.values[origin + 1 : origin + 1 + horizon]
    ahead[: len(given), first:last] = given[:, first:last]
    ahead[:, last:] = one.values[origin, last:]
    known = np.isfinite(ahead[:, first:last])
    if not known.all():
        row, column = map(int, np.argwhere(~known)[0])
        expected = f"a value in each of the {horizon} rows after the last observed target of {one.title}"
        raise DataError(f"known input {encoder.known[column]!r}", expected, f"none in row {row + 1} of them")
    values: NDArray[np.float64] = np.concatenate([one.values[: origin + 1], ahead])
    times = None
    if one.times is not None:
        later = clock.after(one.times[origin], table.step, np.arange(1, horizon + 1))
        times = np.concatenate([one.times[: origin + 1], later])
    return Series(one.name, times, values, np.zeros(len(values), dtype=np.int64))
