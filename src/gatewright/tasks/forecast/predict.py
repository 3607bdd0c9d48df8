"""The next values of a table's series, from a trained forecaster."""

from __future__ import annotations

import numpy as np
import polars as pl

from gatewright.data.preprocessing import encode
from gatewright.data.table import Series, Table
from gatewright.errors import DataError
from gatewright.nn.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.tasks.forecast.fitted_table import fitted, require_context, require_forecaster, rows_observed
from gatewright.tasks.forecast.forecast_frame import forecast_frame
from gatewright.tasks.forecast.rows_ahead import rows_with_ahead
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
    require_context(one, rows, encoder)
    window = rows_with_ahead(one, slice(rows - encoder.context, rows), table, encoder, head.horizon, fill)
    encoded = encode(window, encoder, model.scaler, fill)
    return rows, Windows([encoded], encoder, head.horizon, next(model.parameters()).device, model.scaler)
