"""Between the quantiles of a forecast and beyond them: its values at normal scores, and the scores of values.

A score is a quantile of the standard normal distribution: 0 stands for the median, 1.28 for the quantile 0.9.  The
values of a forecast are linear in the score between two of its quantiles, and go on beyond the outermost ones as
between the last two.  So quantiles of a normal distribution give that distribution, the levels 0.1, 0.5 and 0.9
alone two halves of normal ones, and the tails are normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gatewright.spec.distributions import FAMILIES

Values = NDArray[np.float64]

#: Largest score, on either side: beyond, one value would outweigh a thousand others in a correlation.
LARGEST_SCORE = 3.0

#: Smallest distance between two quantiles that is taken for one.
_LEAST = 1e-9


def knots(levels: Sequence[float]) -> Values:
    """Return the scores of quantile levels.

    >>> knots((0.1, 0.5, 0.9)).round(4).tolist()
    [-1.2816, 0.0, 1.2816]
    """
    return np.array([NormalDist().inv_cdf(level) for level in levels])


def student_t(level: float, freedom: float) -> float:
    """Return a quantile of Student's t distribution.

    Args:
        level: between 0 and 1.
        freedom: degrees of freedom, above 2.

    >>> round(student_t(0.975, 10.0), 5)
    2.22814
    """
    from gatewright.native_module import _kernels  # the command line shows its help without it

    above, log_scale = freedom - 2, 16.0
    # The native module takes what a head gives: it adds 2 to the softplus of a number, and to a scale the least
    # one, which is nothing next to a large scale.
    outputs = np.array([[[0.0, log_scale, above + np.log(-np.expm1(-above))]]], np.float32)
    quantiles = _kernels.quantiles(outputs, FAMILIES["student-t"].number, [level], [1.0])
    return float(quantiles[0, 0, 0] / np.exp(log_scale))


def values_at(forecast: Values, scores: Values, levels: Sequence[float]) -> Values:
    """Return the values of forecasts at normal scores, in the shape of the scores.

    Args:
        forecast: sorted quantiles (..., quantiles), at least two.
        scores: (draws, ...).
        levels: of the quantiles.

    >>> values_at(np.array([8.0, 10.0, 14.0]), np.array([-2.5631, 0.0, 0.6408]), (0.1, 0.5, 0.9)).round(3).tolist()
    [6.0, 10.0, 12.0]
    """
    places = knots(levels)
    lower = np.clip(np.searchsorted(places, scores, side="right") - 1, 0, len(places) - 2)
    # (quantiles, ...): one gather for each end of the piece that a score is in.
    columns = np.moveaxis(forecast, -1, 0)
    below = np.take_along_axis(columns, lower, axis=0)
    above = np.take_along_axis(columns, lower + 1, axis=0)
    share = (scores - places[lower]) / (places[lower + 1] - places[lower])
    return below + share * (above - below)


def scores_of(forecast: Values, target: Values, levels: Sequence[float]) -> Values:
    """Return the normal scores of values that came, from minus to plus `LARGEST_SCORE`; NaN where one is missing.

    Where several quantiles are equal, their value has the middle of their scores.

    Args:
        forecast: sorted quantiles (..., quantiles), at least two.
        target: (...).
        levels: of the quantiles.

    >>> scores_of(np.array([8.0, 10.0, 14.0]), np.array(6.0), (0.1, 0.5, 0.9)).round(4).item()
    -2.5631
    """
    upward, downward = (
        _scores_from(forecast, target, knots(levels), (compare(forecast, target[..., None])).sum(axis=-1) - 1)
        for compare in (np.less_equal, np.less)
    )
    return np.clip((upward + downward) / 2, -LARGEST_SCORE, LARGEST_SCORE)


def _scores_from(forecast: Values, target: Values, places: Values, lower: NDArray[np.int64]) -> Values:
    """Return scores by the piece between the quantile ``lower`` (...) and the next one."""
    known, piece = np.clip(lower, 0, len(places) - 1), np.clip(lower, 0, len(places) - 2)
    own, below, above = (
        np.take_along_axis(forecast, end[..., None], axis=-1)[..., 0] for end in (known, piece, piece + 1)
    )
    slope = (places[piece + 1] - places[piece]) / np.maximum(above - below, _LEAST)
    return places[known] + (target - own) * slope
