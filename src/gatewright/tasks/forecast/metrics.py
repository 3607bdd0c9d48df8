"""The quality of forecasts: sums over observed values, and the measures that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Measures = dict[str, float | None]

#: What `measure` gives, in order.
MEASURES = (
    "observed", "windows", "mae", "rmse", "mse", "mae_standardised", "rmse_standardised", "mse_standardised",
    "mase", "smape", "nse", "kge", "quantile_loss", "scaled_quantile_loss", "wql", "coverage", "coverage_expected",
    "interval_width", "few_windows",
)  # fmt: skip

#: Measures that each series has on its own, and how those of several series become one.
OF_SERIES: dict[str, Callable[[Values], Any]] = {
    "mase": np.mean, "nse": np.median, "kge": np.median, "scaled_quantile_loss": np.mean,
}  # fmt: skip

#: The share of a few windows that lies inside an interval says little about the interval.
FEW_WINDOWS = 30

#: Sums of a tally that those of another series are added to; spreads and extremes are of one series.
_ADDED = ("_seen", "_absolute", "_squared", "_pinball", "_inside", "_symmetric", "_magnitude", "_width")


class Tally:
    """Sums over the observed values of one series, or of several, for each step and target.

    Args:
        horizon: steps ahead.
        targets: how many.
        quantiles: the levels; 0.5 is the point forecast.
        centre: a value near the mean of each target (targets,), so that its spread is not lost in rounding.
        naive_error: `naive_error` of the series (targets,), NaN if it is undefined.
    """

    def __init__(
        self,
        horizon: int,
        targets: int,
        quantiles: tuple[float, ...],
        centre: Values | float = 0.0,
        naive_error: Values | float = np.nan,
    ) -> None:
        size = (horizon, targets)
        self._quantiles, self._centre = quantiles, np.broadcast_to(centre, targets)
        self._naive_error = np.broadcast_to(naive_error, targets)
        self._interval = False
        self._windows = np.zeros(targets, dtype=np.int64)
        self._seen = np.zeros(size, dtype=np.int64)
        self._absolute, self._squared, self._inside = (np.zeros(size) for _ in range(3))
        self._symmetric, self._magnitude, self._width = (np.zeros(size) for _ in range(3))
        self._pinball = np.zeros((*size, len(quantiles)))
        # Of truth and point forecast, as offsets from the centre: sums, sums of squares and of products, extremes.
        self._offset, self._offset_squared, self._product = (
            np.zeros((2, *size)),
            np.zeros((2, *size)),
            np.zeros(size),
        )
        self._least, self._most = np.full((2, *size), np.inf), np.full((2, *size), -np.inf)

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
        point = forecast[..., self._point]
        error = np.where(seen, truth - point, 0.0)
        self._absolute += np.abs(error).sum(axis=0)
        self._squared += (error**2).sum(axis=0)
        size = np.abs(truth) + np.abs(point)
        self._symmetric += (2 * np.abs(error) / np.where(seen & (size > 0), size, 1.0)).sum(axis=0)
        self._magnitude += np.where(seen, np.abs(truth), 0.0).sum(axis=0)
        over = np.where(seen[..., None], truth[..., None] - forecast, 0.0)
        self._pinball += np.maximum(levels * over, (levels - 1) * over).sum(axis=0)
        self._inside += ((forecast[..., 0] <= truth) & (truth <= forecast[..., -1])).sum(axis=0)
        self._width += np.where(seen, forecast[..., -1] - forecast[..., 0], 0.0).sum(axis=0)
        self._add_spread(seen, np.stack([truth, point]))

    def _add_spread(self, seen: NDArray[np.bool_], pair: Values) -> None:
        """Count truth and point forecast (2, windows, horizon, targets) into the sums of their spreads."""
        offset = np.where(seen, pair - self._centre, 0.0)
        self._offset += offset.sum(axis=1)
        self._offset_squared += (offset**2).sum(axis=1)
        self._product += (offset[0] * offset[1]).sum(axis=0)
        self._least = np.minimum(self._least, np.where(seen, pair, np.inf).min(axis=1, initial=np.inf))
        self._most = np.maximum(self._most, np.where(seen, pair, -np.inf).max(axis=1, initial=-np.inf))

    @property
    def _point(self) -> int:
        return self._quantiles.index(0.5) if self._interval else 0

    @np.errstate(over="ignore", invalid="ignore")
    def merge(self, other: Tally) -> None:
        """Count another series in; the spread of several series together is not kept."""
        self._interval = other._interval
        self._windows += other._windows
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def mean_error(self) -> Values:
        """Return the mean absolute error of each step and target (horizon, targets), NaN where nothing came."""
        with np.errstate(invalid="ignore"):
            return self._absolute / self._seen

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def of_series(self) -> dict[str, Values]:
        """Return the measures of `OF_SERIES` of one series, of all steps and of each: (1 + horizon, targets).

        NaN where a measure is undefined.
        """
        count, squared, absolute, loss, product = (
            _rows(sums) for sums in (self._seen, self._squared, self._absolute, self._loss, self._product)
        )
        (truth, point), (truth_spread, point_spread) = self._moments(count)
        covariance = product - _rows(self._offset[0]) * _rows(self._offset[1]) / count
        correlation = np.clip(covariance / np.sqrt(truth_spread * point_spread), -1, 1)
        ratio = np.sqrt(point_spread / truth_spread)
        bias = np.where(truth == 0, np.nan, point / truth)
        distance = np.sqrt((correlation - 1) ** 2 + (ratio - 1) ** 2 + (bias - 1) ** 2)
        return {
            "mase": absolute / count / self._naive_error,
            "nse": 1 - squared / truth_spread,
            "kge": 1 - distance,
            "scaled_quantile_loss": loss / count / self._naive_error,
        }

    @property
    def _loss(self) -> Values:
        """Sums of the quantile loss, the mean over the levels."""
        return self._pinball.mean(axis=-1)

    def _moments(self, count: NDArray[Any]) -> tuple[list[Values], list[Values]]:
        """Return means and sums of squares around them, of truth and point forecast; NaN for a constant."""
        means, spreads = [], []
        for offset, offset_squared, least, most in zip(
            self._offset, self._offset_squared, self._least, self._most, strict=True
        ):
            total = _rows(offset)
            means.append(self._centre + total / count)
            spread = _rows(offset_squared) - total * total / count
            # Rounding gives a constant a tiny spread.
            varies = (_rows(least, np.min) < _rows(most, np.max)) & (spread > 0)
            spreads.append(np.where(varies, spread, np.nan))
        return means, spreads

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def pinball(self, steps: slice, target: int) -> list[float | None]:
        """Return the pinball loss of each level over some steps, the mean over observed values."""
        count = int(self._seen[steps, target].sum())
        losses = self._pinball[steps, target].sum(axis=0) / count
        return [float(loss) if np.isfinite(loss) else None for loss in losses]

    @np.errstate(over="ignore", invalid="ignore")
    def measures(self, steps: slice, target: int, scale: float, of_series: Mapping[str, Values]) -> Measures:
        """Return the measures of `measure` over some steps.

        Args:
            steps: which steps ahead.
            target: which target.
            scale: its standard deviation in the training part.
            of_series: the measures of `OF_SERIES` of each series (series,), NaN where they are undefined.
        """
        figures: Measures = dict.fromkeys(MEASURES)
        seen = self._seen[steps, target]
        count = int(seen.sum())
        figures["observed"] = count
        figures["windows"] = int(seen[0]) if len(seen) == 1 else int(self._windows[target])
        if count == 0:
            return figures

        def total(sums: Values) -> float:
            return float(sums[steps, target].sum())

        mae, mse, loss = total(self._absolute) / count, total(self._squared) / count, total(self._loss) / count
        rmse, magnitude = mse**0.5, total(self._magnitude) / count
        figures |= {
            "mae": mae,
            "rmse": rmse,
            "mse": mse,
            "mae_standardised": mae / scale,
            "rmse_standardised": rmse / scale,
            "mse_standardised": (rmse / scale) * (rmse / scale),
            "smape": 100 * total(self._symmetric) / count,
            "quantile_loss": loss,
            "wql": 2 * loss / magnitude if magnitude else None,
        }
        for name, mean in OF_SERIES.items():
            known = of_series[name][np.isfinite(of_series[name])]
            # Of a single series, a mean and a median are its value; NumPy takes a tenth of a millisecond for that.
            figures[name] = float(known[0] if len(known) == 1 else mean(known)) if len(known) else None
        if self._interval:
            figures["coverage"] = total(self._inside) / count
            figures["coverage_expected"] = self._quantiles[-1] - self._quantiles[0]
            figures["interval_width"] = total(self._width) / count
            figures["few_windows"] = (figures["windows"] or 0) < FEW_WINDOWS
        return {
            name: None if value is None or not np.isfinite(value) else value for name, value in figures.items()
        }


def _rows(sums: NDArray[Any], whole: Any = np.sum) -> NDArray[Any]:
    """Return sums of all steps, and of each: (1 + horizon, targets)."""
    return np.concatenate([whole(sums, axis=0, keepdims=True), sums])


def measure(
    truth: list[Values],
    forecast: list[Values],
    quantiles: tuple[float, ...],
    scale: float,
    naive_errors: Sequence[float] | None = None,
) -> Measures:
    """Measure forecasts against what came, over observed values.

    With the truth y, the point forecast f and the forecast q of level p:

    - ``mae``, ``rmse``, ``mse`` in units, and in standard deviations of the training part;
    - ``mase``: MAE over the series' `naive_error` (Hyndman & Koehler 2006), the mean over series;
    - ``smape``: mean of 200 |y - f| / (|y| + |f|), in percent (Makridakis 1993, as in the M4 competition); a zero
      that was forecast as zero counts 0;
    - ``nse``: 1 - sum (y - f)^2 / sum (y - mean y)^2 (Nash & Sutcliffe 1970), the median over series;
    - ``kge``: 1 - sqrt((r - 1)^2 + (a - 1)^2 + (b - 1)^2), with the correlation r of f and y, the ratio a of their
      standard deviations and b of their means (Gupta et al. 2009), the median over series;
    - ``quantile_loss``: the mean over levels of the pinball loss max(p (y - q), (p - 1) (y - q)) (Koenker &
      Bassett 1978); a forecast of one value stands at every level;
    - ``scaled_quantile_loss``: that over the series' `naive_error`, the mean over series;
    - ``wql``: twice the quantile loss over the mean of |y|, over all series together: the weighted quantile loss,
      a discrete form of the CRPS (Gneiting & Ranjan 2011);
    - ``coverage``: the share of y between the outermost levels, and ``coverage_expected`` what it should be;
      ``interval_width``: the mean distance between these levels, in units.

    Args:
        truth: of each series (windows) or (windows, horizon), NaN where missing.
        forecast: of each series (..., quantiles), or (..., 1) for a forecast of one value.
        quantiles: the levels; 0.5 is the point forecast.
        scale: standard deviation of the target in the training part.
        naive_errors: `naive_error` of each series.

    Returns:
        The measures above; the number of values (``observed``) and of ``windows`` with observed values; whether
        the interval is judged by fewer than `FEW_WINDOWS` windows (``few_windows``).  None where a measure is
        undefined or not finite: NSE and KGE of a constant, KGE of a mean of zero, scaled measures of a scale of
        zero.  Means and medians over series leave out those where it is undefined.

    >>> measure([np.array([1.0, 2.0, np.nan])], [np.array([[1.0], [3.0], [9.0]])], (0.5,), 2.0)["mae"]
    0.5
    """
    horizon = truth[0].shape[1] if truth[0].ndim > 1 else 1
    total, of_series = Tally(horizon, 1, quantiles), []
    errors = [np.nan] * len(truth) if naive_errors is None else naive_errors
    for one, answer, error in zip(truth, forecast, errors, strict=True):
        tally = Tally(horizon, 1, quantiles, centre_of(one.reshape(-1, 1)), error)
        tally.add(one.reshape(-1, horizon, 1), answer.reshape(-1, horizon, 1, answer.shape[-1]))
        total.merge(tally)
        of_series.append(tally.of_series())
    together = {name: np.array([own[name][0, 0] for own in of_series]) for name in OF_SERIES}
    return total.measures(slice(None), 0, scale, together)


@np.errstate(over="ignore", invalid="ignore")
def naive_error(values: Values, season: int) -> Values:
    """Return the mean absolute difference from the value one season before, by which MASE is scaled.

    Args:
        values: rows before the forecasts (rows, targets), NaN where missing.
        season: rows in a season.

    Returns:
        (targets,): NaN where no two values are a season apart, or none differ.

    >>> naive_error(np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0], [3.0, 5.0]]), season=2).tolist()
    [2.0, nan]
    """
    if len(values) <= season:
        return np.full(values.shape[1], np.nan)
    distance = np.abs(values[season:] - values[:-season])
    known = np.isfinite(distance)
    mean = np.where(known, distance, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(np.isfinite(mean) & (mean > 0), mean, np.nan)


@np.errstate(over="ignore", invalid="ignore")
def centre_of(values: Values) -> Values:
    """Return a value near the mean of each column (columns,); 0 where nothing was observed.

    >>> centre_of(np.array([[1.0, np.nan], [3.0, np.nan]])).tolist()
    [2.0, 0.0]
    """
    seen = np.isfinite(values)
    centre = np.where(seen, values, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(np.isfinite(centre), centre, 0.0)
