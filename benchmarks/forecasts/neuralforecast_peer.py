"""The LSTM of neuralforecast: trained on the rows before the test part, scored on the same windows.

Its defaults train for 1,000 steps and keep the last weights.  SETTINGS has them, a fifth of the steps, and early
stopping; the setting with the lowest loss is the one that time and memory are compared with.
"""

from __future__ import annotations

import logging
import resource
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.forecasts.tasks import ForecastTask

Values = NDArray[np.float64]

#: Arguments of its LSTM, by label.
SETTINGS: dict[str, dict[str, Any]] = {
    "nf-default": {},
    "nf-200-steps": {"max_steps": 200},
    "nf-early-stop": {"val_check_steps": 50, "early_stop_patience_steps": 5},
}

_LEVELS = (0.1, 0.5, 0.9)


def trained(task: ForecastTask, path: Path, seed: int, label: str) -> dict[str, Any]:
    """Train and forecast; return scores, CPU seconds and the maximum of memory, as `training.trained` does."""
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM

    logging.disable(logging.WARNING)
    rows = _rows(task, path)
    model = LSTM(
        h=task.horizon, loss=MQLoss(quantiles=list(_LEVELS)), random_seed=seed + 1,
        hist_exog_list=list(task.past) or None, enable_progress_bar=False, logger=False,
        enable_checkpointing=False, accelerator="cpu", alias="lstm", **SETTINGS[label],
    )  # fmt: skip
    forecasts = NeuralForecast(models=[model], freq=1).cross_validation(
        rows, val_size=task.valid, test_size=task.test, step_size=1, n_windows=None
    )
    scores = _scores(task, rows, forecasts)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "scores": {"model": scores},
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_megabytes": round(used.ru_maxrss / 1024),
    }


def _rows(task: ForecastTask, path: Path) -> pl.DataFrame:
    """Return the table in the columns that neuralforecast reads, with numbers of rows as times."""
    table = pl.read_csv(path)
    name = pl.col(task.series).cast(pl.String) if task.series else pl.lit("all")
    rows = table.select(
        name.alias("unique_id"), *(pl.col(past).cast(pl.Float64) for past in task.past),
        pl.col(task.target).cast(pl.Float64).alias("y"),
    )  # fmt: skip
    return rows.with_columns(pl.int_range(pl.len()).over("unique_id").alias("ds"))


def _scores(task: ForecastTask, rows: pl.DataFrame, forecasts: pl.DataFrame) -> dict[str, float]:
    """Return the scores over all steps; losses are scaled by the seasonal-naive error of the training part."""
    quantiles = [column for column in forecasts.columns if column.startswith("lstm")]
    windows = forecasts.partition_by("unique_id", "cutoff", maintain_order=True)
    count = len(windows) if task.windows is None else min(task.windows, len(windows))
    drawn = np.arange(count) * (len(windows) - 1) // max(1, count - 1)
    scale = {}
    for series in rows.partition_by("unique_id", maintain_order=True):
        known = series["y"].to_numpy()[: -task.valid - task.test]
        scale[str(series["unique_id"][0])] = float(np.abs(known[task.season :] - known[: -task.season]).mean())
    losses: dict[str, list[Values]] = {name: [] for name in scale}
    errors: dict[str, list[Values]] = {name: [] for name in scale}
    held = []
    for place in drawn:
        window = windows[place]
        name, truth = str(window["unique_id"][0]), window["y"].to_numpy()
        answer = np.sort(window.select(quantiles).to_numpy(), axis=1)
        missed = truth[:, None] - answer
        losses[name].append(np.maximum(missed * _LEVELS, missed * (np.array(_LEVELS) - 1)) / scale[name])
        errors[name].append(np.abs(missed[:, 1]) / scale[name])
        held.append((answer[:, 0] <= truth) & (truth <= answer[:, 2]))
    return {
        "mase": float(np.mean([np.mean(error) for error in errors.values() if error])),
        "sql": float(np.mean([np.mean(loss) for loss in losses.values() if loss])),
        "coverage": float(np.mean(held)),
    }
