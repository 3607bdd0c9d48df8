"""sigmoid and tanh of the kernels: their greatest error over the whole range, and what they do at its ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gatewright import kernels
from tests.support.kernel_cases import DTYPES, TARGETS

#: In ULP, as `native/kernels/activations.h` states it.
BOUND = 2.5
FUNCTIONS = (kernels.sigmoid, kernels.tanh)

extended = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="a judge of float64 needs a longer type than float64"
)


@pytest.fixture(params=TARGETS, autouse=True)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


def judge(function: Callable[..., Any], x: np.ndarray, wide: Any) -> np.ndarray:
    """The same in a type with at least 11 bits more; exp never sees a positive number."""
    a = x.astype(wide)
    if function is kernels.sigmoid:
        e = np.exp(-np.abs(a))
        return np.where(a < 0, e, 1) / (1 + e)
    return np.copysign(-np.expm1(-2 * np.abs(a)) / (1 + np.exp(-2 * np.abs(a))), a)


def errors(function: Callable[..., Any], x: np.ndarray, wide: Any) -> np.ndarray:
    """Distances from the judge, in units of the last place of the judge's value; none is there for NaN."""
    got = function(x)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        expected = judge(function, x, wide)
        unit = np.spacing(np.abs(expected).astype(x.dtype))
        distance = np.abs(got.astype(wide) - expected) / unit.astype(wide)
    nan = np.isnan(x)
    np.testing.assert_array_equal(np.isnan(got), nan)
    return distance[~nan]


def assert_in_range(function: Callable[..., Any], x: np.ndarray) -> None:
    got, real = function(x), ~np.isnan(x)
    least = 0 if function is kernels.sigmoid else -1
    assert (got[real] >= least).all()
    assert (got[real] <= 1).all()
    if function is kernels.tanh:
        np.testing.assert_array_equal(np.signbit(got[real]), np.signbit(x[real]))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_greatest_error_over_all_of_float32(function: Callable[..., Any]) -> None:
    greatest = 0.0
    for first in range(0, 2**32, 2**29):  # an odd stride meets every exponent with ever other fractions
        bits = np.arange(first, first + 2**29, 997, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        greatest = max(greatest, errors(function, x, np.float64).max())
        assert_in_range(function, x)
    near = np.random.default_rng(0).uniform(-12, 12, 500_000).astype(np.float32)
    greatest = max(greatest, errors(function, near, np.float64).max())
    assert 0.5 < greatest <= BOUND


@extended
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_greatest_error_over_all_of_float64(function: Callable[..., Any]) -> None:
    draw = np.random.default_rng(0)
    anywhere = draw.integers(0, 2**64, 200_000, dtype=np.uint64).view(np.float64)
    scales = np.concatenate([draw.normal(0, 10.0**n, 40_000) for n in range(-8, 4)])
    whole = draw.uniform(-760, 760, 200_000)
    greatest = 0.0
    for x in (anywhere, scales, whole):
        greatest = max(greatest, float(errors(function, x, np.longdouble).max()))
        assert_in_range(function, x)
    assert 0.5 < greatest <= BOUND


@extended
def test_the_greatest_error_of_tanh_in_float64() -> None:
    # Where a search over many more numbers found it, with and without fused multiply-adds.
    found = [0.20605606710467483, 0.21120411760441166, 0.20462799993299638]
    x = np.concatenate([found, np.random.default_rng(0).uniform(0.17, 0.36, 300_000)])
    assert errors(kernels.tanh, x, np.longdouble).max() <= 3


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
def test_the_ends_of_the_range_are_exact(dtype: Any) -> None:
    limits = np.finfo(dtype)
    tiny, largest = limits.smallest_subnormal, limits.max
    x = np.array([-np.inf, -largest, -tiny, -0.0, 0.0, tiny, limits.tiny, largest, np.inf, np.nan], dtype)
    half, one = dtype(0.5), dtype(1)
    np.testing.assert_array_equal(kernels.sigmoid(x), [0, 0, half, half, half, half, half, one, one, np.nan])
    expected = np.array([-1, -1, -tiny, -0.0, 0.0, tiny, limits.tiny, 1, 1, np.nan], dtype)
    assert kernels.tanh(x)[:-1].tobytes() == expected[:-1].tobytes()
    assert np.isnan(kernels.tanh(x)[-1])


@pytest.mark.parametrize(("dtype", "first"), [(np.float32, 9.0109138), (np.float64, 19.0615474653984966)])
def test_tanh_is_one_from_where_it_rounds_to_one(dtype: Any, first: float) -> None:
    x = np.concatenate([np.linspace(first, 30, 1000), np.geomspace(30, 1e30, 100)]).astype(dtype)
    np.testing.assert_array_equal(kernels.tanh(x), 1)
    np.testing.assert_array_equal(kernels.tanh(-x), -1)


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
def test_subnormal_results_are_not_flushed(dtype: Any) -> None:
    limits = np.finfo(dtype)
    x = np.linspace(np.log(float(limits.tiny)), np.log(float(limits.smallest_subnormal)), 1000)[1:-1].astype(dtype)
    got = kernels.sigmoid(x)
    assert (got > 0).all()
    assert (got < limits.tiny).all()
    assert np.abs(got - np.exp(x.astype(np.longdouble))).max() <= BOUND * limits.smallest_subnormal


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
def test_a_value_does_not_depend_on_its_place(function: Callable[..., Any], dtype: Any) -> None:
    x = np.random.default_rng(0).normal(0, 5, 67).astype(dtype)
    x[[3, 20, 41]] = np.nan, np.inf, -np.inf
    whole = function(x)
    for n in range(len(x)):
        assert function(x[n:]).tobytes() == whole[n:].tobytes()
        assert function(x[: n + 1]).tobytes() == whole[: n + 1].tobytes()
    assert function(x[:0]).shape == (0,)
