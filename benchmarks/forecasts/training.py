"""One run of a task: train by the command line, and score the test windows."""

from __future__ import annotations

import contextlib
import io
import resource
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.forecasts.tasks import ForecastTask
from gatewright.cli import main
from gatewright.errors import GatewrightError
from gatewright.progress import SILENT
from gatewright.runs.run import Run
from gatewright.tasks import registry

#: References of other packages that `gatewright evaluate` scores.
REFERENCES = ("autoets", "autoarima", "lightgbm")


def arguments(task: ForecastTask, path: Path) -> list[str]:
    """Return the command that trains a task's forecaster with the default recipe."""
    command = ["train", str(path), "--target", task.target, "--horizon", str(task.horizon)]
    command += ["--valid", str(task.valid), "--test", str(task.test), "--device", "cpu"]
    command += ["--past", *task.past] if task.past else []
    command += ["--id", task.series] if task.series else []
    return command + (["--fill", "forward"] if task.fill else [])


def trained(task: ForecastTask, path: Path, seed: int, options: list[str]) -> dict[str, Any]:
    """Train and evaluate; return scores, CPU seconds and the maximum of memory."""
    with tempfile.TemporaryDirectory() as directory:
        run = train(task, path, Path(directory) / "run", ["--seed", str(seed), *options])
        figures = _figures(task, run, ())
        used = resource.getrusage(resource.RUSAGE_SELF)
        validations = run.validations()
        encoder = run.best_model().spec.encoder
        return {
            "scores": {"model": _scores(figures["model"])},
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak_megabytes": round(used.ru_maxrss / 1024),
            "best_step": min(validations, key=lambda pair: pair[1])[0],
            "steps": validations[-1][0],
            "seasons": list(encoder.seasons),
        }


def references(task: ForecastTask, path: Path) -> dict[str, Any]:
    """Score simple forecasts and models of other packages on the windows of a task."""
    with tempfile.TemporaryDirectory() as directory:
        run = train(task, path, Path(directory) / "run", ["--steps", "1"])
        names = REFERENCES if task.series or task.season < 50 else ("lightgbm",)
        figures = _figures(task, run, names)
        return {"scores": {name: _scores(found) for name, found in figures.items() if name != "model"}}


def train(task: ForecastTask, path: Path, directory: Path, options: list[str]) -> Run:
    """Train by the command line into a new directory; options follow those of the task."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            main([*arguments(task, path), "--run", str(directory), *options])
    except SystemExit:
        raise GatewrightError(task.name, "a training that ends well", output.getvalue()[-1000:]) from None
    return Run.open(directory)


def _figures(task: ForecastTask, run: Run, names: tuple[str, ...]) -> dict[str, Any]:
    kind, model, data = registry.kind("forecast"), run.best_model(), run.data()
    evaluate = getattr(kind, "evaluate_next_to")  # noqa: B009 - of forecasters alone
    figures: dict[str, Any] = evaluate(names, model, data, task.windows, SILENT).figures["targets"]
    return figures[task.target]


def _scores(figures: dict[str, Any]) -> dict[str, float]:
    """Return the scores over all steps; losses are scaled by the seasonal-naive error of the training part."""
    overall = figures["overall"]
    names = {"mase": "mase", "sql": "scaled_quantile_loss", "coverage": "coverage"}
    return {short: overall[name] for short, name in names.items() if overall.get(name) is not None}
