"""Intervals that hold after training: how far a validation part says to widen or shift them, folded into the head.

A model's residuals in the training part, which its quantiles are learned from, are smaller than those that follow.
The validation part shows by how much, its latest rows more than the earlier ones: where errors grow or shrink,
those to come are most like the latest.  What is found there is a linear change of the quantiles around the median,
so the head's weights take it in, and streams, servers and C code need nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gatewright.files.model_file import ModelFile
from gatewright.spec import ModelSpec, QuantileHead, TableSpec
from gatewright.tasks.forecast.quantile_function import student_t

Values = NDArray[np.float64]

#: Name of a calibrated model's forecasts as they were before, next to other methods.
UNCALIBRATED = "uncalibrated"

#: Number of independent windows at which half of a change is believed: of the widths of all steps ahead together,
#: of what the width of a step deviates from all, and of offsets.
SHRINK, SHRINK_STEP, SHRINK_OFFSETS = 10.0, 20.0, 5.0

#: Part of a validation part after which a window counts half: errors to come are most like the latest ones.
HALF_LIFE = 0.25

#: Degrees of freedom of a width before any window of a validation part: what the training part says of it.
FREEDOM = 2.0

#: Largest factor of a width, and the inverse of the smallest.
LARGEST_WIDTH = 10.0

#: Output of a distribution that is the logarithm of its scale: a width is a factor of that.
LOG_SCALE = 1

#: Smallest half of an interval that a miss is measured by, in the units of the forecasts.
_LEAST_HALF = 1e-9


@dataclass(frozen=True)
class Calibration:
    """A change of quantiles around their median: ``median + width * (y - median) + offset``.

    Attributes:
        widths: factors, (horizon, targets).
        offsets: in the head's units (horizon, targets, quantiles); 0 for the median.
    """

    widths: Values
    offsets: Values

    def apply(self, forecast: Values, levels: Sequence[float]) -> Values:
        """Return calibrated forecasts, with quantiles in order.

        Args:
            forecast: (..., horizon, targets, quantiles).
            levels: of the quantiles.
        """
        median = forecast[..., [tuple(levels).index(0.5)]]
        return np.sort(median + self.widths[..., None] * (forecast - median) + self.offsets, axis=-1)

    def undo(self, forecast: Values, levels: Sequence[float]) -> Values:
        """Return forecasts as they were before `apply`; exact where no quantiles crossed.

        Args:
            forecast: (..., horizon, targets, quantiles).
            levels: of the quantiles.
        """
        median = forecast[..., [tuple(levels).index(0.5)]]
        return np.sort(median + (forecast - median - self.offsets) / self.widths[..., None], axis=-1)


def independent(origins: Sequence[NDArray[np.int64]], horizon: int) -> Values:
    """Return for each step ahead the number of windows whose errors do not share rows, (horizon,).

    Args:
        origins: of each series, the last rows that its windows read.
        horizon: steps ahead.

    >>> independent([np.arange(13)], 4).tolist()
    [13.0, 7.0, 5.0, 4.0]
    """
    ahead = np.arange(1, horizon + 1)
    counts = [np.minimum(len(rows), 1 + (rows[-1] - rows[0]) / ahead) for rows in origins if len(rows)]
    return np.sum(counts, axis=0) if counts else np.zeros(horizon)


def recency(origins: Sequence[NDArray[np.int64]]) -> Values:
    """Return how much each window counts, 1 for the last of a series, (windows,).

    Args:
        origins: of each series, the last rows that its windows read.

    >>> recency([np.array([0, 1, 2, 3])]).tolist()
    [0.125, 0.25, 0.5, 1.0]
    """
    ages = [(rows[-1] - rows) / (rows[-1] - rows[0] + 1) for rows in origins if len(rows)]
    return np.asarray(0.5 ** (np.concatenate(ages) / HALF_LIFE) if ages else np.zeros(0))


def calibrated(
    method: str, forecast: Values, target: Values, levels: Sequence[float], windows: Values, weights: Values
) -> Calibration:
    """Return the calibration that forecasts of a validation part ask for.

    Args:
        method: "width" for a factor, "conformal" for offsets, "none" for neither.
        forecast: (windows, horizon, targets, quantiles), in order.
        target: what came (windows, horizon, targets), NaN where missing.
        levels: of the quantiles.
        windows: result of `independent`.
        weights: result of `recency`.
    """
    _, horizon, targets, quantiles = forecast.shape
    none = Calibration(np.ones((horizon, targets)), np.zeros((horizon, targets, quantiles)))
    if method == "none" or quantiles == 1 or not np.isfinite(target).any():
        return none
    # As many windows of equal weights have a mean of the same variance (Kish 1965).
    windows = np.maximum(1.0, windows * weights.mean() ** 2 / (weights**2).mean())
    if method == "width":
        return replace(none, widths=_widths(forecast, target, levels, windows, weights))
    return replace(none, offsets=_offsets(forecast, target, levels, windows, weights))


def _widths(forecast: Values, target: Values, levels: Sequence[float], windows: Values, weights: Values) -> Values:
    """Return the factors by which the outermost interval holds its share (horizon, targets)."""
    scores = misses(forecast, target, levels)
    below, above = levels[0] < 0.5, levels[-1] > 0.5
    share = (levels[-1] if above else 1.0) - (levels[0] if below else 0.0)
    uncertainty = np.log(uncertain((1 + share) / 2 if below and above else share, windows[-1]))
    widths = np.ones(scores.shape[1:])
    for number in range(scores.shape[2]):
        own = scores[..., number]
        if not np.isfinite(own).any():
            continue  # a target without a value in the validation part
        of_all = _log_factor(own, share, np.broadcast_to(weights[:, None], own.shape))
        common = _shrunk(of_all, windows[-1], SHRINK)
        for step, column in enumerate(own.T):
            change = _log_factor(column, share, weights) - common if np.isfinite(column).any() else 0.0
            widths[step, number] = np.exp(common + _shrunk(change, windows[step], SHRINK_STEP) + uncertainty)
    return np.clip(widths, 1 / LARGEST_WIDTH, LARGEST_WIDTH)


def uncertain(level: float, windows: float) -> float:
    """Return the factor of a width for which a number of independent windows is all that is known of it.

    Errors in units of an estimated width have Student's t distribution, whose quantiles are further out than those
    of the normal distribution.

    Args:
        level: of the outermost quantile.
        windows: how many.

    >>> round(uncertain(0.9, 8.0), 3)
    1.071
    """
    return student_t(level, FREEDOM + windows) / NormalDist().inv_cdf(level)


def misses(forecast: Values, target: Values, levels: Sequence[float]) -> Values:
    """Return the factor of the outermost interval that just holds each value, (windows, horizon, targets).

    NaN where a value is missing.

    >>> misses(np.array([[[[1.0, 2.0, 4.0]]]]), np.array([[[0.5]]]), (0.1, 0.5, 0.9)).item()
    1.5
    """
    median = forecast[..., tuple(levels).index(0.5)]
    error = target - median
    above = np.maximum(forecast[..., -1] - median, _LEAST_HALF) if levels[-1] > 0.5 else np.inf
    below = np.maximum(median - forecast[..., 0], _LEAST_HALF) if levels[0] < 0.5 else np.inf
    return np.where(error > 0, error / above, -error / below)


def _log_factor(scores: Values, share: float, weights: Values) -> float:
    """Return the logarithm of the quantile of scores at a share."""
    factor = weighted_quantile(scores, share, weights)
    return float(np.log(np.clip(factor, 1 / LARGEST_WIDTH, LARGEST_WIDTH)))


def weighted_quantile(values: Values, share: float, weights: Values) -> float:
    """Return the quantile at a share of the values that are no NaN; each is at the middle of its own weight.

    Args:
        values: of any shape, one of them a number.
        share: between 0 and 1.
        weights: in the shape of the values, above 0.

    >>> weighted_quantile(np.array([1.0, 2.0, 3.0]), 0.75, np.array([1.0, 1.0, 2.0]))
    3.0
    """
    seen = np.isfinite(values)
    own = weights[seen]
    order = np.argsort(values[seen], kind="stable")
    ends = np.cumsum(own[order])
    return float(np.interp(share, (ends - own[order] / 2) / ends[-1], values[seen][order]))


def _offsets(
    forecast: Values, target: Values, levels: Sequence[float], windows: Values, weights: Values
) -> Values:
    """Return the offsets by which each quantile holds its share, (horizon, targets, quantiles).

    Shares have the conformal correction for a finite number of windows (Romano, Patterson & Candes 2019).
    """
    offsets = np.zeros(forecast.shape[1:])
    for place, level in enumerate(levels):
        if level == 0.5:
            continue
        sign = 1.0 if level > 0.5 else -1.0
        lacking = sign * (target - forecast[..., place])
        for step, number in np.ndindex(*offsets.shape[:2]):
            column = lacking[:, step, number]
            if np.isfinite(column).any():
                share = level if sign > 0 else 1 - level
                offset = weighted_quantile(column, min(1.0, share * (1 + 1 / float(windows[step]))), weights)
                offsets[step, number, place] = sign * _shrunk(offset, windows[-1], SHRINK_OFFSETS)
    return offsets


def _shrunk(change: float, windows: float, half: float) -> float:
    """Return a change as far as a number of independent windows carries it."""
    return float(change * windows / (windows + half))


def mean_ratio(wanted: Values, own: Values) -> Values:
    """Return the geometric mean over windows of the factors from some widths to others, (horizon, targets).

    Each factor is within the bounds of a calibration.

    Args:
        wanted: widths of intervals (windows, horizon, targets).
        own: likewise, of the same windows.

    >>> mean_ratio(np.array([[[2.0]], [[8.0]]]), np.array([[[1.0]], [[1.0]]])).round(9).item()
    4.0
    """
    if not len(own):
        return np.ones(own.shape[1:])
    factors = np.maximum(wanted, _LEAST_HALF) / np.maximum(own, _LEAST_HALF)
    bounded = np.clip(factors, 1 / LARGEST_WIDTH, LARGEST_WIDTH)
    return np.asarray(np.exp(np.log(bounded).mean(axis=0)))


def folded(file: ModelFile, calibration: Calibration) -> ModelFile:
    """Return the file of a forecaster whose head gives calibrated quantiles.

    Args:
        file: the model before; it is not changed.
        calibration: what to fold into the head.

    Returns:
        The file; its table, if it has one, says what was folded in.
    """
    head = file.spec.head
    assert isinstance(head, QuantileHead)
    sizes = file.spec.output_shape
    tensors = {}
    for name in ("head.weight", "head.bias"):
        rows = file.tensors[name].reshape(*sizes, -1).astype(np.float64)
        if head.family is None:
            centre = rows[:, :, [head.quantiles.index(0.5)]]
            rows = centre + calibration.widths[..., None, None] * (rows - centre)
            if name == "head.bias":
                rows += calibration.offsets[..., None]
        elif name == "head.bias":
            rows[:, :, LOG_SCALE] += np.log(calibration.widths)[..., None]
        tensors[name] = rows.reshape(file.tensors[name].shape).astype(np.float32)
    table = file.table
    if table is not None:
        table = replace(
            table,
            widths=_listed(calibration.widths, 1.0),
            offsets=_listed(calibration.offsets, 0.0),
        )
    return replace(file, tensors={**file.tensors, **tensors}, table=table)


def _listed(numbers: Values, nothing: float) -> tuple[float, ...]:
    """Return numbers as a tuple; an empty one where they change nothing."""
    return () if bool((numbers == nothing).all()) else tuple(map(float, numbers.ravel()))


def applied(calibration: Calibration, head: QuantileHead, forecast: Values) -> Values:
    """Return the output of a head as it is when a calibration is folded in.

    Args:
        calibration: what is folded in.
        head: of the model.
        forecast: (..., horizon, targets, outputs), with quantiles in order.
    """
    return calibration.apply(forecast, head.quantiles) if head.family is None else _wider(calibration, forecast, 1)


def undone(calibration: Calibration, head: QuantileHead, forecast: Values) -> Values:
    """Return the output of a calibrated head as it was before.

    Args:
        calibration: what is folded into the head.
        head: of the model.
        forecast: (..., horizon, targets, outputs), with quantiles in order.
    """
    return calibration.undo(forecast, head.quantiles) if head.family is None else _wider(calibration, forecast, -1)


def _wider(calibration: Calibration, outputs: Values, sign: int) -> Values:
    """Return the outputs of distributions whose scales are multiplied by the widths, or divided."""
    changed = outputs.copy()
    changed[..., LOG_SCALE] += sign * np.log(calibration.widths)
    return changed


def calibration_of(spec: ModelSpec, table: TableSpec | None) -> Calibration | None:
    """Return the calibration that a model has in its head; None without one.

    Args:
        spec: the model.
        table: its table, which says so.
    """
    if table is None or not (table.widths or table.offsets):
        return None
    head = spec.head
    assert isinstance(head, QuantileHead)
    sizes, widths, offsets = (*spec.output_shape[:2], len(head.quantiles)), table.widths, table.offsets
    return Calibration(
        np.array(widths).reshape(sizes[:2]) if widths else np.ones(sizes[:2]),
        np.array(offsets).reshape(sizes) if offsets else np.zeros(sizes),
    )


def described(calibration: Calibration | None, method: str) -> str:
    """Say in a line for a person what a calibration changed.

    >>> described(Calibration(np.full((2, 1), 1.25), np.zeros((2, 1, 3))), "width")
    'intervals calibrated on the validation part: widths times 1.25'
    """
    start = "intervals calibrated on the validation part"
    if calibration is None:
        return "" if method == "none" else f"{start}: no change"
    if (calibration.widths != 1.0).any():
        return f"{start}: widths times {_range(calibration.widths)}"
    return f"{start}: the lowest quantile by {_range(calibration.offsets[..., 0])}, the highest by " + (
        f"{_range(calibration.offsets[..., -1])} standard deviations"
    )


def _range(numbers: Values) -> str:
    """Return the least and the largest of some numbers, or one number."""
    low, high = f"{numbers.min():.2f}", f"{numbers.max():.2f}"
    return low if low == high else f"{low} to {high}"
