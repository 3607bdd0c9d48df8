"""Forecasts that any model has to beat: persistence, seasonal-naive and drift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gatewright.data.preprocessing import last_observed

Values = NDArray[np.float64]


class Naive:
    """The forecasts that need no model, of one series.

    Args:
        values: (rows, targets), NaN where missing.
        season: rows in a season.

    >>> naive = Naive(np.array([[1.0], [2.0], [3.0], [np.nan]]), season=2)
    >>> naive.persistence(np.array([3]), 2).ravel(), naive.seasonal(np.array([3]), 3).ravel()
    (array([3., 3.]), array([3., 2., 3.]))
    """

    def __init__(self, values: Values, season: int) -> None:
        self._last, self._season = last_observed(values), season
        seen = np.isfinite(values)
        rows = np.arange(len(values), dtype=np.float64)[:, None]
        self._last_row = last_observed(np.where(seen, rows, np.nan))
        self._first_row = seen.argmax(axis=0)
        self._first = values[self._first_row, np.arange(values.shape[1])]
        self._seasonal = np.empty_like(values)
        for phase in range(min(season, len(values))):
            self._seasonal[phase::season] = last_observed(values[phase::season])

    def persistence(self, origins: NDArray[np.int64], horizon: int) -> Values:
        """Forecast the last observed value, NaN if nothing was observed: (origins, horizon, targets).

        Args:
            origins: last known row of each forecast.
            horizon: steps ahead.
        """
        return np.repeat(self._last[origins][:, None], horizon, axis=1)

    def seasonal(self, origins: NDArray[np.int64], horizon: int) -> Values:
        """Forecast the value one season before: (origins, horizon, targets).

        Where that was not observed, the season before it counts, and so on; then the last observed value.

        Args:
            origins: last known row of each forecast.
            horizon: steps ahead.
        """
        ahead = np.arange(1, horizon + 1)
        rows = origins[:, None] + ahead - self._season * -(-ahead // self._season)
        forecast = self._seasonal[np.maximum(rows, 0)]
        forecast[rows < 0] = np.nan
        return np.where(np.isnan(forecast), self.persistence(origins, horizon), forecast)

    def drift(self, origins: NDArray[np.int64], horizon: int) -> Values:
        """Forecast the straight line through the first and the last observed value: (origins, horizon, targets).

        The random walk with drift (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 5.2): the drift
        is the mean change of a row.  NaN if nothing was observed; the value itself if only one was.

        Args:
            origins: last known row of each forecast.
            horizon: steps ahead.
        """
        rows = self._last_row[origins]
        slope = (self._last[origins] - self._first) / np.maximum(rows - self._first_row, 1)
        ahead = origins[:, None, None] + np.arange(1, horizon + 1)[None, :, None] - rows[:, None]
        return self._last[origins][:, None] + slope[:, None] * ahead
