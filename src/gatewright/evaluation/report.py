"""What is done with a finished run: evaluated, and asked for forecasts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from gatewright.data.table import Table, read_table
from gatewright.data.window_checks import listed
from gatewright.errors import GatewrightError, RunError
from gatewright.evaluation.spreadsheet import with_harmless_names
from gatewright.files import atomic
from gatewright.files.atomic import writing
from gatewright.progress import SILENT, Waits
from gatewright.runs.models import run_model
from gatewright.runs.run import Run
from gatewright.spec import SeriesEncoder
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.evaluate import choose, evaluate_forecast
from gatewright.tasks.forecast.predict import forecast, forecastable, require_fit, require_forecaster, written
from gatewright.tasks.language import dataset as text_data
from gatewright.tasks.language.evaluate import evaluate_language


def evaluate_run(path: Path, windows: int | None = None, waits: Waits = SILENT) -> tuple[Run, dict[str, Any]]:
    """Evaluate a run's best model on the test part of what it learned from.

    Args:
        path: the run's directory.
        windows: how many windows of a forecaster's test part to draw, evenly; all if None.
        waits: says what takes long.

    Returns:
        The run, and what was written into its ``evaluation.json``.

    Raises:
        GatewrightError: if there is no such run, it has no model, its source is gone or has changed, or the
            evaluation cannot be written.
    """
    run = Run.open(path)
    model = run_model(run)
    with waits.during("comparing the table with what the run learned from"):
        source, options = run.unchanged_source(), run.options().data
    if run.kind == "language":
        if windows is not None:
            raise GatewrightError("--windows", "a run that forecasts", f"{path}, a {run.kind} model")
        with waits.during(f"reading and scoring {source.name}"):
            evaluation = evaluate_language(model, text_data.read(source, options))
    else:
        from gatewright.tasks.forecast.plot import plot_forecasts

        encoder = model.spec.encoder
        assert isinstance(encoder, SeriesEncoder)
        with waits.during(f"reading {source.name}"):
            data = series_data.read(source, options, encoder.step)
        require_fit(data.table, encoder)
        chosen = choose(model, data, windows)
        with waits.counting("evaluating", chosen.count, "windows") as advance:
            evaluation, drawn = evaluate_forecast(model, data, chosen, advance)
        with writing(run.plot), waits.during(f"drawing {run.plot}"):
            plot_forecasts(run.plot, model, data, drawn, sum(map(bool, map(len, chosen.origins))))
    with writing(run.evaluation):
        atomic.write_bytes(run.evaluation, json.dumps(evaluation, indent=2, allow_nan=False).encode())
    return run, evaluation


def forecast_run(
    path: Path, data: Path, horizon: int | None, fill: str | None, waits: Waits = SILENT
) -> tuple[str, list[str]]:
    """Forecast what follows a table, by a run's best model.

    Returns:
        CSV text; and in lines for a person, which series it leaves out because they are too short, and which names
        are written otherwise than they are.

    Raises:
        GatewrightError: if the run cannot forecast, or the table does not fit it.
    """
    run = Run.open(path)
    if run.kind != "forecast":
        raise RunError("run", "a run that forecasts", f"{path}, a {run.kind} model")
    model = run_model(run)
    options = run.options().data
    if fill is not None:
        options = replace(options, fill=fill)
    require_forecaster(model, horizon, options.fill)
    encoder = model.spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    with waits.during(f"reading {data.name}"):
        table = read_table(data, series_data.roles(options), options.fill, encoder.step)
    table, short = forecastable(model, table)
    notes = list(table.notes)
    if table.empty:
        notes.append(f"left out, no observed target: {listed(table.empty)}")
    if short:
        takes = f"{encoder.context} rows (the model's context) up to the last observed target"
        notes.append(f"left out, fewer than {takes}: {listed(short)}")
    with waits.during(f"forecasting {len(table.series):,} series"):
        frame, changed = with_harmless_names(forecast(model, table, horizon, options.fill))
        return to_csv(frame, table), notes + changed


def to_csv(frame: pl.DataFrame, table: Table) -> str:
    """Write forecasts as CSV; their timestamps as `gatewright.tasks.forecast.predict.written` says.

    Args:
        frame: what `forecast` returned.
        table: the table that it follows.
    """
    times = [
        pl.Series(name, written(frame[name], table)) for name in frame.columns if frame[name].dtype == pl.Datetime
    ]
    # The model computes in float32; more digits would only look like more.
    return frame.with_columns(*times).with_columns(pl.col(pl.Float64).cast(pl.Float32)).write_csv()
