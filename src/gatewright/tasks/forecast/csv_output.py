"""Forecasts as CSV."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from gatewright.data.table import Table, read_table
from gatewright.data.window_checks import listed
from gatewright.nn.model import Model
from gatewright.progress import SILENT, Waits
from gatewright.tasks.base import SamplePaths
from gatewright.tasks.forecast.dataset import roles
from gatewright.tasks.forecast.fitted_table import fitted, forecastable, late_targets, require_forecaster
from gatewright.tasks.forecast.forecast_frame import as_written
from gatewright.tasks.forecast.predict import forecast
from gatewright.tasks.forecast.sample_paths import require_paths, sample_paths
from gatewright.tasks.options import DataOptions
from gatewright.tasks.spreadsheet import with_harmless_names


def forecast_table(
    model: Model,
    source: Path,
    options: DataOptions,
    horizon: int | None,
    waits: Waits = SILENT,
    paths: SamplePaths | None = None,
) -> tuple[str, list[str]]:
    """Forecast what follows the series of a table.

    Args:
        model: the forecaster.
        source: path of the table.
        options: how it is read.
        horizon: steps to forecast; all that the model can if None.
        waits: reports progress.
        paths: sample paths in place of quantiles, if they are wanted.

    Returns:
        CSV text; and notes for a person: series that are left out because they are too short, and names that are
        written otherwise than they are.

    Raises:
        GatewrightError: if the model cannot forecast, or the table does not fit it.
    """
    encoder, head = require_forecaster(model, horizon, options.fill or "")
    if paths is not None:
        require_paths(model, paths)
    with waits.during(f"reading {source.name}"):
        table = read_table(source, roles(options, fixed=True), options.fill or "", encoder.step)
        table = fitted(table, encoder, head)
    table, short = forecastable(model, table)
    notes = list(table.notes)
    if table.empty:
        notes.append(f"left out, no observed target: {listed(table.empty)}")
    if short:
        takes = f"{encoder.context} rows (the model's context) up to the last observed target"
        notes.append(f"left out, fewer than {takes}: {listed(short)}")
    notes += late_targets(table, model.spec)
    with waits.during(f"forecasting {len(table.series):,} series"):
        fill = options.fill or ""
        rows = sample_paths(model, table, paths, horizon, fill) if paths else forecast(model, table, horizon, fill)
        frame, changed = with_harmless_names(rows)
        return to_csv(frame, table), notes + changed


def to_csv(frame: pl.DataFrame, table: Table) -> str:
    """Write forecasts as CSV, as `gatewright.tasks.forecast.forecast_frame.as_written` says.

    Args:
        frame: what `forecast` returned.
        table: the table that it follows.
    """
    return as_written(frame, table).write_csv()
