"""Gradient-boosted trees over lags, by LightGBM: one model for all series, for each target and quantile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.preprocessing import last_observed
from gatewright.errors import GatewrightError
from gatewright.tasks.forecast.baselines import Naive
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.metrics import naive_error

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Number of trees, and maximum number of forecasts (windows times steps) that they learn from.
TREES, SAMPLES = 300, 100_000

#: Fewest and most lags: a season, within these.
LEAST_LAGS, MOST_LAGS = 7, 168


class LagTrees:
    """Quantile regression by boosted trees, on lags, the value one season before, the step ahead and the phase.

    Values count from the last observed one, in units of the mean absolute seasonal difference of the series: one
    model fits all series.

    Args:
        name: of the baseline; always "lightgbm".
        data: the table.
        series: numbers of the series that are forecast; all are learned from.
        progress: is given 1 for each of them, at the end.

    Raises:
        GatewrightError: if no series has enough rows before its test part.
    """

    def __init__(
        self, name: str, data: SeriesData, series: Sequence[int], progress: Callable[[int], None]
    ) -> None:
        self._data, self._season, self._horizon = data, data.sizes.season, data.settings.horizon
        self._lags = min(max(self._season, LEAST_LAGS), MOST_LAGS)
        self._targets = len(data.table.roles.targets)
        self._scales = np.stack([self._scale(number) for number in range(len(data.table.series))])
        origins = [
            np.arange(self._lags, max(self._lags, part.test - self._horizon), dtype=np.int64)
            for part in data.parts
        ]
        every = -(-sum(map(len, origins)) * self._horizon // SAMPLES) or 1
        self._models: list[list[Any]] = []
        for target in range(self._targets):
            parts = [self._samples(number, rows[::every], target) for number, rows in enumerate(origins)]
            inputs, answers = (np.concatenate(column) for column in zip(*parts, strict=True))
            seen = np.isfinite(answers)
            if not seen.any():
                expected = f"a series with over {self._lags + self._horizon} rows before the test part"
                raise GatewrightError(f"--baselines {name}", expected, "none")
            self._models.append([self._boost(inputs[seen], answers[seen], q) for q in data.settings.quantiles])
        progress(len(series))

    def _scale(self, number: int) -> Values:
        known = self._values(number)[: self._data.parts[number].test]
        scale = naive_error(known, self._season)
        return np.where(np.isfinite(scale), scale, 1.0)

    def _values(self, number: int) -> Values:
        return self._data.table.series[number].values[:, : self._targets]

    @staticmethod
    def _boost(inputs: Values, answers: Values, quantile: float) -> Any:
        import lightgbm

        settings = {
            "objective": "quantile", "alpha": quantile, "learning_rate": 0.05, "num_leaves": 31, "verbosity": -1,
            "seed": 0, "deterministic": True, "force_row_wise": True, "min_data_in_leaf": 5,
        }  # fmt: skip
        return lightgbm.train(settings, lightgbm.Dataset(inputs, answers), num_boost_round=TREES)

    def _inputs(self, number: int, origins: Rows, target: int) -> tuple[Values, Values]:
        """Return what the trees read (origins * horizon, inputs), and the last observed values (origins,)."""
        values = self._values(number)[:, [target]]
        last = last_observed(values)[:, 0]
        level, scale = last[origins], self._scales[number, target]
        rows = origins[:, None] - np.arange(self._lags)
        lags = np.where(rows < 0, np.nan, (values[np.maximum(rows, 0), 0] - level[:, None]) / scale)
        seasonal = (Naive(values, self._season).seasonal(origins, self._horizon)[..., 0] - level[:, None]) / scale
        ahead = np.arange(1, self._horizon + 1)
        phase = 2 * np.pi * (origins[:, None] + ahead) / self._season
        steps = np.broadcast_to(ahead.astype(np.float64), phase.shape)
        own = np.stack([seasonal, steps, np.sin(phase), np.cos(phase)], axis=-1)
        every = np.broadcast_to(lags[:, None], (len(origins), self._horizon, self._lags))
        return np.concatenate([every, own], axis=-1).reshape(len(origins) * self._horizon, -1), level

    def _samples(self, number: int, origins: Rows, target: int) -> tuple[Values, Values]:
        inputs, level = self._inputs(number, origins, target)
        truth = self._values(number)[origins[:, None] + np.arange(1, self._horizon + 1), target]
        return inputs, ((truth - level[:, None]) / self._scales[number, target]).ravel()

    def forecast(self, series: int, origins: Rows) -> Values:
        """Forecast from some origins: (origins, horizon, targets, quantiles), in units."""
        columns = []
        for target, models in enumerate(self._models):
            inputs, level = self._inputs(series, origins, target)
            answers = np.stack([model.predict(inputs) for model in models], axis=-1)
            shaped = np.sort(answers, axis=-1).reshape(len(origins), self._horizon, -1)
            columns.append(shaped * self._scales[series, target] + level[:, None, None])
        return np.stack(columns, axis=2)
