"""How good forecasts are: sums over observed values, and the measures that follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Measures = dict[str, float | None]

#: What `measure` gives, in order.
MEASURES = (
    "observed", "windows", "mae", "rmse", "mse", "mae_standardised", "rmse_standardised", "mse_standardised",
    "nse", "quantile_loss", "coverage", "coverage_expected", "few_windows",
)  # fmt: skip

#: The share of a few windows that lies inside an interval says little about the interval.
FEW_WINDOWS = 30


class Tally:
    """Sums over the observed values of one series, or of several, for each step and target.

    Args:
        horizon: steps ahead.
        targets: how many.
        quantiles: the levels; 0.5 is the point forecast.
        centre: a value near the mean of each target (targets,), so that its spread is not lost in rounding.
    """

    def __init__(
        self, horizon: int, targets: int, quantiles: tuple[float, ...], centre: Values | float = 0.0
    ) -> None:
        size = (horizon, targets)
        self._quantiles, self._centre = quantiles, np.broadcast_to(centre, targets)
        self._interval = False
        self._windows = np.zeros(targets, dtype=np.int64)
        self._seen = np.zeros(size, dtype=np.int64)
        self._absolute, self._squared, self._loss, self._inside = (np.zeros(size) for _ in range(4))
        self._offset, self._offset_squared = np.zeros(size), np.zeros(size)
        self._least, self._most = np.full(size, np.inf), np.full(size, -np.inf)

    @np.errstate(over="ignore", invalid="ignore")
    def add(self, truth: Values, forecast: Values) -> None:
        """Count forecasts in.

        Args:
            truth: (windows, horizon, targets), NaN where missing.
            forecast: (windows, horizon, targets, quantiles), or (..., 1) for forecasts of one value.
        """
        seen = np.isfinite(truth)
        levels = np.array(self._quantiles)
        self._interval = forecast.shape[-1] > 1
        self._windows += seen.any(axis=1).sum(axis=0)
        self._seen += seen.sum(axis=0)
        error = np.where(seen, truth - forecast[..., self._point], 0.0)
        self._absolute += np.abs(error).sum(axis=0)
        self._squared += (error**2).sum(axis=0)
        over = np.where(seen[..., None], truth[..., None] - forecast, 0.0)
        self._loss += np.maximum(levels * over, (levels - 1) * over).mean(axis=-1).sum(axis=0)
        self._inside += ((forecast[..., 0] <= truth) & (truth <= forecast[..., -1])).sum(axis=0)
        offset = np.where(seen, truth - self._centre, 0.0)
        self._offset += offset.sum(axis=0)
        self._offset_squared += (offset**2).sum(axis=0)
        self._least = np.minimum(self._least, np.where(seen, truth, np.inf).min(axis=0, initial=np.inf))
        self._most = np.maximum(self._most, np.where(seen, truth, -np.inf).max(axis=0, initial=-np.inf))

    @property
    def _point(self) -> int:
        return self._quantiles.index(0.5) if self._interval else 0

    @np.errstate(over="ignore", invalid="ignore")
    def merge(self, other: Tally) -> None:
        """Count another series in; the spread of several series together is not kept."""
        self._interval = other._interval
        self._windows += other._windows
        for name in ("_seen", "_absolute", "_squared", "_loss", "_inside"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def mean_error(self) -> Values:
        """Return the mean absolute error of each step and target (horizon, targets), NaN where nothing came."""
        with np.errstate(invalid="ignore"):
            return self._absolute / self._seen

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def efficiencies(self) -> Values:
        """Return the NSE (Nash & Sutcliffe 1970) of one series (1 + horizon, targets): of all steps, and of each.

        NaN for a constant truth, which has none.
        """

        def rows(sums: NDArray[Any], whole: Any) -> NDArray[Any]:
            return np.concatenate([whole(sums, axis=0, keepdims=True), sums])

        count, squared, offset, offset_squared = (
            rows(sums, np.sum) for sums in (self._seen, self._squared, self._offset, self._offset_squared)
        )
        spread = offset_squared - offset * offset / count
        # Rounding gives a constant a tiny spread.
        varies = (rows(self._least, np.min) < rows(self._most, np.max)) & (spread > 0)
        return np.where(varies, 1 - squared / spread, np.nan)

    @np.errstate(over="ignore", invalid="ignore")
    def measures(self, steps: slice, target: int, scale: float, efficiencies: Values) -> Measures:
        """Return the measures of `measure` over some steps.

        Args:
            steps: which steps ahead.
            target: which target.
            scale: its standard deviation in the training part.
            efficiencies: the NSE of each series, NaN if it is undefined.
        """
        figures: Measures = dict.fromkeys(MEASURES)
        seen = self._seen[steps, target]
        count = int(seen.sum())
        figures["observed"] = count
        figures["windows"] = int(seen[0]) if len(seen) == 1 else int(self._windows[target])
        if count == 0:
            return figures
        mae, mse = (float(sums[steps, target].sum()) / count for sums in (self._absolute, self._squared))
        rmse = mse**0.5
        known = efficiencies[np.isfinite(efficiencies)]
        figures |= {
            "mae": mae,
            "rmse": rmse,
            "mse": mse,
            "mae_standardised": mae / scale,
            "rmse_standardised": rmse / scale,
            "mse_standardised": (rmse / scale) * (rmse / scale),
            "nse": float(np.median(known)) if len(known) else None,
            "quantile_loss": float(self._loss[steps, target].sum()) / count,
        }
        if self._interval:
            figures["coverage"] = float(self._inside[steps, target].sum()) / count
            figures["coverage_expected"] = self._quantiles[-1] - self._quantiles[0]
            figures["few_windows"] = (figures["windows"] or 0) < FEW_WINDOWS
        return {
            name: None if value is None or not np.isfinite(value) else value for name, value in figures.items()
        }


def measure(truth: list[Values], forecast: list[Values], quantiles: tuple[float, ...], scale: float) -> Measures:
    """Measure forecasts against what came, over observed values.

    Args:
        truth: of each series (windows) or (windows, horizon), NaN where missing.
        forecast: of each series (..., quantiles), or (..., 1) for a forecast of one value.
        quantiles: the levels; 0.5 is the point forecast.
        scale: standard deviation of the target in the training part.

    Returns:
        How many values, and windows with such, were observed; MAE, RMSE and MSE in units and in standard
        deviations; NSE (Nash & Sutcliffe 1970), the median over series; quantile loss in units, the mean over
        levels, for which a forecast of one value stands at every level; coverage of the interval between the
        outermost levels, with the share it should have, and whether it is from fewer than `FEW_WINDOWS` windows.
        None where a measure does not exist or is not finite.

    >>> measure([np.array([1.0, 2.0, np.nan])], [np.array([[1.0], [3.0], [9.0]])], (0.5,), 2.0)["mae"]
    0.5
    """
    horizon = truth[0].shape[1] if truth[0].ndim > 1 else 1
    total, efficiencies = Tally(horizon, 1, quantiles), [np.empty(0)]
    for one, answer in zip(truth, forecast, strict=True):
        tally = Tally(horizon, 1, quantiles, centre_of(one.reshape(-1, 1)))
        tally.add(one.reshape(-1, horizon, 1), answer.reshape(-1, horizon, 1, answer.shape[-1]))
        total.merge(tally)
        efficiencies.append(tally.efficiencies()[0])
    return total.measures(slice(None), 0, scale, np.concatenate(efficiencies))


@np.errstate(over="ignore", invalid="ignore")
def centre_of(values: Values) -> Values:
    """Return a value near the mean of each column (columns,); 0 where nothing was observed.

    >>> centre_of(np.array([[1.0, np.nan], [3.0, np.nan]])).tolist()
    [2.0, 0.0]
    """
    seen = np.isfinite(values)
    centre = np.where(seen, values, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(np.isfinite(centre), centre, 0.0)
