"""The Diebold-Mariano test: whether one forecast is better than another by more than chance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError

#: Probability of the interval of the difference.
LEVEL = 0.95


class DieboldMariano(NamedTuple):
    """Outcome of a test.

    Attributes:
        difference: mean difference of the losses.
        statistic: the corrected statistic; None if there are too few forecasts, or the differences do not vary.
        p_value: two-sided, from Student's t with ``origins - 1`` degrees of freedom; None as above.
        origins: number of forecasts.
        lags: number of autocovariances in the variance.
        kernel: "rectangular", or "bartlett" where the variance by the former is not positive.
        low: lower end of the 95% interval of the difference; None as above.
        high: its upper end.
    """

    difference: float
    statistic: float | None
    p_value: float | None
    origins: int
    lags: int
    kernel: str
    low: float | None = None
    high: float | None = None


def diebold_mariano(
    differences: NDArray[np.float64], horizon: int, places: NDArray[np.int64] | None = None
) -> DieboldMariano:
    """Test whether two forecasts have the same expected loss.

    Diebold & Mariano (1995), with the small-sample correction of Harvey, Leybourne & Newbold (1997): forecasts
    that look ``horizon`` steps ahead from neighbouring origins overlap, so their differences are correlated up to
    ``horizon - 1`` steps apart; the variance of the mean takes these autocovariances in.

    Args:
        differences: loss of one forecast minus that of the other, in the order of time (forecasts,).
        horizon: steps ahead.
        places: the time step of each origin, increasing; one after another if None.

    Raises:
        GatewrightError: if a difference is not finite, or the horizon is less than 1.

    >>> diebold_mariano(np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]), horizon=1).statistic
    6.708203932499369
    """
    if horizon < 1:
        raise GatewrightError("horizon", "at least 1 step", str(horizon))
    if not np.isfinite(differences).all():
        raise GatewrightError("differences", "finite losses", "a NaN or an infinity")
    count = len(differences)
    places = np.arange(count) if places is None else places
    mean = float(differences.mean()) if count else math.nan
    centred = differences - mean
    covariances = [float(centred @ centred) / count] if count else [0.0]
    while len(covariances) < count:
        lag = len(covariances)
        close = places[lag:] - places[:-lag] < horizon
        if not close.any():
            break
        covariances.append(float((centred[lag:] * centred[:-lag])[close].sum()) / count)
    lags = len(covariances) - 1
    undefined = DieboldMariano(mean, None, None, count, lags, "rectangular")
    # Rounding gives equal differences a tiny variance.
    if count < 2 or lags + 1 >= count or differences.min() == differences.max():
        return undefined
    kernel, variance = "rectangular", covariances[0] + 2 * sum(covariances[1:])
    if variance <= 0:
        weights = 1 - np.arange(1, lags + 1) / (lags + 1)
        kernel, variance = "bartlett", covariances[0] + 2 * float(weights @ np.array(covariances[1:]))
    if variance <= 0:
        return undefined
    ahead = lags + 1
    correction = (count + 1 - 2 * ahead + ahead * (ahead - 1) / count) / count
    if correction <= 0:
        return undefined
    statistic = mean / math.sqrt(variance / count) * math.sqrt(correction)
    half = _half_width(LEVEL, count - 1) * math.sqrt(variance / count) / math.sqrt(correction)
    p_value = 1 - _within(abs(statistic), count - 1)
    return DieboldMariano(mean, statistic, p_value, count, lags, kernel, mean - half, mean + half)


def _half_width(level: float, freedom: int) -> float:
    """Return t such that Student's t lies within -t ... t with a probability, by bisection.

    >>> round(_half_width(0.95, 10), 6)
    2.228139
    """
    low, high = 0.0, 1.0
    while _within(high, freedom) < level:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """Return the probability that Student's t lies within -t ... t (Abramowitz & Stegun 1964, 26.7.3-4)."""
    angle = math.atan(t / math.sqrt(freedom))
    squared = math.cos(angle) ** 2
    odd = freedom % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for number in range(freedom // 2):
        total += term
        term *= squared * (2 * number + 1 + odd) / (2 * number + 2 + odd)
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return min(1.0, inside)
