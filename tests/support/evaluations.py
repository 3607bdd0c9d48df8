"""An evaluation's forecasts, all of them at once, for tests that look at each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.tasks.forecast.evaluate import METHODS, choose, evaluate_forecast, forecast_batches


@dataclass(frozen=True)
class Tested:
    """Truth and forecasts of the series that have a window: (origins, horizon, targets, ...) of each."""

    names: list[str]
    without: list[str]
    origins: list[np.ndarray]
    truth: list[np.ndarray]
    forecasts: dict[str, list[np.ndarray]]


def forecast_test_part(model, data, windows=None) -> Tested:
    chosen = choose(model, data, windows)
    batches = list(forecast_batches(model, data, chosen))
    numbers = [number for number, origins in enumerate(chosen.origins) if len(origins)]
    return Tested(
        [data.table.series[number].name for number in numbers],
        chosen.without,
        [chosen.origins[number] for number in numbers],
        [np.concatenate([batch.truth for batch in batches if batch.series == number]) for number in numbers],
        {
            method: [
                np.concatenate([batch.forecasts[method] for batch in batches if batch.series == number])
                for number in numbers
            ]
            for method in METHODS
        },
    )


def evaluation_of(model, data, windows=None):
    return evaluate_forecast(model, data, choose(model, data, windows))[0]
