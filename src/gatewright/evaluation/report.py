"""What is done with a finished run: an evaluation, and forecasts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewright.errors import GatewrightError, RunError
from gatewright.files import atomic
from gatewright.files.atomic import writing
from gatewright.progress import SILENT, Waits
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.base import SamplePaths
from gatewright.tasks.options import DataOptions


def evaluate_run(
    path: Path | Run, windows: int | None = None, waits: Waits = SILENT, baselines: Sequence[str] = ()
) -> tuple[Run, dict[str, Any]]:
    """Evaluate a run's best model on the test part of what it learned from.

    Args:
        path: the run or its directory.
        windows: how many windows of a forecaster's test part to draw, evenly; all if None.
        waits: reports progress.
        baselines: models of other packages to compare a forecaster with: "autoets", "autoarima", "lightgbm".

    Returns:
        The run, and what was written into its ``evaluation.json``.

    Raises:
        GatewrightError: if there is no such run, it has no model, its source is gone or has changed, or the
            evaluation cannot be written.
    """
    run = path if isinstance(path, Run) else Run.open(path)
    kind, model = registry.kind(run.kind), run.best_model()
    if windows is not None and not kind.forecasts:
        raise GatewrightError("--windows", "a run that forecasts", f"{run.path}, a {kind.name} model")
    evaluation = kind.evaluate_next_to(baselines, model, run.data(waits=waits), windows, waits)
    if evaluation.draw is not None:
        with writing(run.plot), waits.during(f"drawing {run.plot}"):
            evaluation.draw(run.plot)
    with writing(run.evaluation):
        atomic.write_bytes(run.evaluation, json.dumps(evaluation.figures, indent=2, allow_nan=False).encode())
    return run, evaluation.figures


def predict_run(
    path: Path | Run, data: Any, fill: str | None = None, waits: Waits = SILENT
) -> tuple[str, list[str]]:
    """Predict the class of each sequence, by a run's best model.

    Args:
        path: the run or its directory.
        data: the path of a table or a ``.ts`` file, a data frame, or `gatewright.data.sequences.Sequences`.
        fill: how missing values are filled; as in training if None.
        waits: reports progress.

    Returns:
        CSV text, and notes for a person; see `gatewright.tasks.classify.csv_output.predict_table`.

    Raises:
        GatewrightError: if the run does not classify, or the sequences do not fit it.
    """
    run = path if isinstance(path, Run) else Run.open(path)
    kind = registry.kind(run.kind)
    if not kind.classifies:
        raise RunError("run", "a run that classifies", f"{run.path}, a {kind.name} model")
    model, options = run.best_model(), _reading(run, fill)
    with run.reading():
        return kind.predict(model, data, options, waits)


def forecast_run(
    path: Path | Run,
    data: Path,
    horizon: int | None,
    fill: str | None,
    waits: Waits = SILENT,
    paths: SamplePaths | None = None,
) -> tuple[str, list[str]]:
    """Forecast what follows a table, by a run's best model.

    Args:
        path: the run or its directory.
        data: the table.
        horizon: steps to forecast; all that the model can if None.
        fill: how missing inputs are filled; as in training if None.
        waits: reports progress.
        paths: sample paths in place of quantiles, if they are wanted.

    Returns:
        CSV text, and notes for a person; see `gatewright.tasks.forecast.csv_output.forecast_table`.

    Raises:
        GatewrightError: if the run cannot forecast, or the table does not fit it.
    """
    run = path if isinstance(path, Run) else Run.open(path)
    kind = registry.kind(run.kind)
    if not kind.forecasts:
        raise RunError("run", "a run that forecasts", f"{run.path}, a {kind.name} model")
    model, options = run.best_model(), _reading(run, fill)
    with run.reading():
        return kind.forecast(model, data, options, horizon, waits, paths)


def _reading(run: Run, fill: str | None) -> DataOptions:
    """Return the options by which a run reads data; ``fill`` None fills missing inputs as in training."""
    options = run.options().data
    return options if fill is None else replace(options, fill=fill)
