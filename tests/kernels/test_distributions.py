"""Quantiles of distributions: scipy's, over wide ranges of parameters and levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gatewright.native_module import _kernels
from gatewright.spec import FAMILIES
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = LazyModule("scipy.stats")

LEVELS = (1e-12, 1e-6, 1e-3, 0.025, 0.1, 0.25, 0.3, 0.4999, 0.5, 0.5001, 0.75, 0.9, 0.975, 0.999, 1 - 1e-6)
P = np.array(LEVELS)
Values = np.ndarray[Any, Any]


def quantiles(family: str, outputs: Values, unit: float = 1.0, levels: Sequence[float] = LEVELS) -> Values:
    rows = np.ascontiguousarray(outputs[:, None, :], np.float32)
    return np.asarray(_kernels.quantiles(rows, FAMILIES[family].number, list(levels), [unit])[:, 0])


def both_tails(law: Any, **arguments: Any) -> Values:
    """Scipy's quantiles, from the tail that is the shorter one."""
    return np.where(P < 0.5, law.ppf(P, **arguments), law.isf(1 - P, **arguments))


def test_normal() -> None:
    outputs = np.array([[3.0, log] for log in (-30, -5, 0, 2, 10)], np.float32)
    scale = 1e-4 + np.exp(outputs[:, 1:].astype(float))
    np.testing.assert_allclose(quantiles("normal", outputs), 3 + scale * both_tails(stats.norm), rtol=1e-14)


def test_student_t() -> None:
    raw = np.array([-50, -5, -1, 0, 1, 3, 10, 30, 98, 500, 5000, 2e4], np.float32)
    freedom = 2 + np.logaddexp(0, np.minimum(raw.astype(float), 1e4))[:, None]
    outputs = np.stack([np.zeros_like(raw), np.ones_like(raw), raw], axis=1)
    expected = (1e-4 + np.e) * both_tails(stats.t, df=freedom)
    np.testing.assert_allclose(quantiles("student-t", outputs), expected, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 100.0, 1e4])
def test_negative_binomial(unit: float) -> None:
    """Whole numbers without an exception, where these have up to 9 digits."""
    pairs = [(a, b) for a in (-20, -8, -3, 0, 1, 3, 10) for b in (-20, -10, -5, -2, 0, 2, 5)]
    outputs = np.array(pairs, np.float32)
    mean, dispersion = _mean_and_dispersion(outputs, unit)
    expected = both_tails(stats.nbinom, n=1 / dispersion, p=1 / (1 + mean * dispersion))
    assert expected.max() < 2e8
    got = quantiles("negative-binomial", outputs, unit)
    assert np.array_equal(got, expected)
    shares = np.array([[-60.0], [-1.0], [3.0]], np.float32)
    for share in shares:
        zeros = 1 / (1 + np.exp(-float(share[0])))
        inflated = quantiles("zero-inflated-negative-binomial", np.insert(outputs, 2, share, axis=1), unit)
        law = {"n": 1 / dispersion, "p": 1 / (1 + mean * dispersion)}
        # The smallest number that the share of the level is reached at, and not one before it.
        below = zeros + (1 - zeros) * stats.nbinom.cdf(inflated, **law)
        before = np.where(inflated > 0, zeros + (1 - zeros) * stats.nbinom.cdf(inflated - 1, **law), 0.0)
        assert (below >= P * (1 - 1e-9)).all()
        assert (before < P * (1 + 1e-9)).all()
        assert np.array_equal(inflated, got) == (share[0] == -60.0)


def test_counts_above_a_million_have_five_digits() -> None:
    outputs = np.array([[1.0, -20.0], [1.0, -3.0], [1.0, 1.0]], np.float32)
    mean, dispersion = _mean_and_dispersion(outputs, 3e7)
    expected = both_tails(stats.nbinom, n=1 / dispersion, p=1 / (1 + mean * dispersion))
    got, inner = quantiles("negative-binomial", outputs, 3e7), slice(2, -1)  # levels from 0.001 to 0.999
    np.testing.assert_allclose(got[:, inner], expected[:, inner], rtol=1e-5, atol=mean.max() / 1e6)


def _mean_and_dispersion(outputs: Values, unit: float) -> tuple[Values, Values]:
    raw = outputs.astype(float)
    return unit * (1e-6 + np.logaddexp(0, raw[:, [0]])), 1e-6 + np.exp(raw[:, [1]])


def test_mixture() -> None:
    """A quantile is where the share of the level is reached, to a billionth of the narrowest component."""
    rng = np.random.default_rng(1)
    outputs = (rng.normal(size=(60, 11)) * ([1, 2] + [3] * 3 + [2] * 3 + [3] * 3)).astype(np.float32)
    outputs[0, 2:] = 0
    outputs[1, 2:] = [-100, 0, 100, 0, 0, 0, 0, 0, 0]  # far apart
    outputs[2, 5:8] = -30  # narrow
    outputs[3, 8:] = [50, -50, 0]  # almost one
    got = quantiles("mixture", outputs)
    raw = outputs.astype(float)
    weight = np.exp(raw[:, 8:] - raw[:, 8:].max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    width = 1e-3 + np.exp(raw[:, 5:8])
    z = (got - raw[:, :1]) / (1e-4 + np.exp(raw[:, 1:2]))
    slack = 1e-9 * np.maximum(np.abs(z), width.min(axis=1, keepdims=True))

    def share(x: Values) -> Values:
        below = ((x[..., None] - raw[:, None, 2:5]) / width[:, None]) * np.where(P <= 0.5, 1, -1)[:, None]
        return np.asarray((weight[:, None] * stats.norm.cdf(below)).sum(axis=-1))

    wanted, ends = np.minimum(P, 1 - P), np.stack([share(z - slack), share(z + slack)])
    assert (ends.min(axis=0) <= wanted * (1 + 1e-11)).all()
    assert (ends.max(axis=0) >= wanted * (1 - 1e-11)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_finite_output_has_finite_quantiles_in_order(family: str) -> None:
    rng, size = np.random.default_rng(0), len(FAMILIES[family].outputs)
    extreme = rng.choice([3e38, -3e38, 0, 1e5, -1e5, 50, -50, 5, -5], size=(300, size))
    got = quantiles(family, extreme, 1e6)
    assert np.isfinite(got).all()
    assert (np.diff(got, axis=1) >= 0).all()
    for bad in (np.nan, np.inf, -np.inf):
        extreme[0, -1] = bad
        assert np.isnan(quantiles(family, extreme[:1])).all()
