"""What any model has to beat: persistence and seasonal-naive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gatewright.data.preprocessing import last_observed

Values = NDArray[np.float64]


class Naive:
    """The two forecasts that need no model, of one series.

    Args:
        values: (rows, targets), NaN where missing.
        season: rows in a season.

    >>> naive = Naive(np.array([[1.0], [2.0], [3.0], [np.nan]]), season=2)
    >>> naive.persistence(np.array([3]), 2).ravel(), naive.seasonal(np.array([3]), 3).ravel()
    (array([3., 3.]), array([3., 2., 3.]))
    """

    def __init__(self, values: Values, season: int) -> None:
        self._last, self._season = last_observed(values), season
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
