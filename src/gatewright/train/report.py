"""What is done with a finished run: evaluated, and asked for forecasts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewright import atomic
from gatewright.data.table import read_table
from gatewright.errors import RunError
from gatewright.forecast import forecast
from gatewright.model import load
from gatewright.train import forecasting, language
from gatewright.train.evaluate import evaluate_forecast, evaluate_language, forecast_test_part
from gatewright.train.run import Run


def evaluate_run(path: Path) -> tuple[Run, dict[str, Any]]:
    """Evaluate a run's best model on the test part of what it learned from.

    Returns:
        The run, and what was written into its ``evaluation.json``.

    Raises:
        GatewrightError: if there is no such run, it has no model, or its source is gone or has changed.
    """
    run = Run.open(path)
    model = load(run.require_model())
    kind, source = run.kind, run.unchanged_source()
    options = run.options().data
    if kind == "language":
        evaluation = evaluate_language(model, language.read(source, options))
    else:
        from gatewright.train.plot import plot_forecasts

        data = forecasting.read(source, options)
        tested = forecast_test_part(model, data)
        evaluation = evaluate_forecast(model, data, tested)
        plot_forecasts(run.plot, model, data, tested, evaluation)
    atomic.write_bytes(run.evaluation, json.dumps(evaluation, indent=2).encode())
    return run, evaluation


def forecast_run(path: Path, data: Path, horizon: int | None, fill: str | None) -> str:
    """Forecast what follows a table, by a run's best model; return CSV text.

    Raises:
        GatewrightError: if the run cannot forecast, or the table does not fit it.
    """
    run = Run.open(path)
    if run.kind != "forecast":
        raise RunError("run", "a run that forecasts", f"{path}, a {run.kind} model")
    model = load(run.require_model())
    options = run.options().data
    if fill is not None:
        options = replace(options, fill=fill)
    table = read_table(data, forecasting.roles(options), options.fill)
    return forecast(model, table, horizon, options.fill).write_csv()
