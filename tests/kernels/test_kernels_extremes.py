"""Extreme numbers and extreme sizes: saturated gates, NaN in one row, subnormal numbers, indices past 2^31."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from gatewright import kernels
from tests.support.kernel_cases import (
    DTYPES,
    FORWARD,
    TARGETS,
    assert_close,
    assert_same_bits,
    backward,
    both,
    forward,
    judged,
    made,
)


@pytest.fixture(params=TARGETS, autouse=True)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


@pytest.fixture(params=DTYPES, ids=["f32", "f64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("value", [1e4, -1e4, 30.0, -30.0])
@pytest.mark.parametrize("P", [0, 3])
def test_saturated_gates_are_what_the_equations_give(dtype: Any, value: float, P: int) -> None:
    problem = made(6, 4, 5, 33, P, dtype=dtype, record=True)
    x = problem.x.copy()
    x[:, 1] = value
    x[2, 2] = value
    x[3:5, 3, 2] = -value
    # Eighths, so that sums of large terms are exact in both types.
    eighths = {name: np.round(getattr(problem.weights, name) * 8) / 8 for name in ("W_ih", "b_ih", "b_hh")}
    problem = dataclasses.replace(problem, x=x, weights=problem.weights._replace(**eighths))
    assert_close(both(problem), judged(problem))


def test_gates_that_are_all_closed_or_open_keep_the_cell(dtype: Any) -> None:
    problem = made(50, 3, 2, 9, dtype=dtype, bias=True)
    b = np.repeat(np.array([-1e4, 1e4, 0, 1e4], dtype), 9)
    weights = problem.weights._replace(b_ih=b, b_hh=np.zeros_like(b))
    problem = dataclasses.replace(problem, weights=weights, dy=None, dh_n=None)
    found = both(problem)
    assert (found["cell"] == problem.c_0).all()
    assert found["dc_0"].tobytes() == problem.dc_n.tobytes()
    assert not found["dx"].any()


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=24, max_size=24),
    st.sampled_from([1.0, 1e-20, 1e-38]),
    st.sampled_from(DTYPES),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_finite_input_gives_nan(values: list[float], scale: float, dtype: Any) -> None:
    problem = made(4, 2, 3, 9, dtype=dtype)
    x = np.array(values, dtype).reshape(4, 2, 3)
    # No sum of products overflows, so no two infinities meet.
    largest = np.finfo(dtype).max
    x = np.clip(x * dtype(scale), -largest / 100, largest / 100)
    found = both(dataclasses.replace(problem, x=x))
    for name in FORWARD:
        assert np.isfinite(found[name]).all(), name
    for name in ("y", "gates"):
        assert np.abs(found[name]).max() <= 1


def test_subnormal_numbers_are_numbers(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    problem = made(3, 2, 4, 9, dtype=dtype, bias=False)
    zeros = [np.zeros_like(array) for array in (problem.x, problem.h_0, problem.weights.W_hh)]
    weights = problem.weights._replace(W_hh=zeros[2])
    c_0 = np.full_like(problem.c_0, 8 * tiny)
    small = dataclasses.replace(problem, x=zeros[0], h_0=zeros[1], c_0=c_0, weights=weights)
    found = forward(small)
    # Half of the cell state is forgotten each step, and half of it is shown.
    np.testing.assert_array_equal(found.cell[:, 0, 0], np.array([4, 2, 1]) * tiny)
    np.testing.assert_array_equal(found.y[:2, 0, 0], np.array([2, 1]) * tiny)
    gradients = backward(dataclasses.replace(small, dy=None, dh_n=None, dc_n=c_0), found)
    np.testing.assert_array_equal(gradients.dc_0, np.full_like(c_0, tiny))


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("P", [0, 5])
@pytest.mark.parametrize("where", ["x", "h_0", "c_0", "dy", "dh_n"])
def test_what_is_not_finite_stays_in_its_row(dtype: Any, bad: float, P: int, where: str) -> None:
    for D, reverse in ((3, False), (20, True)):
        good = made(5, 13, D, 33, P, dtype=dtype, reverse=reverse)
        expected = both(good)
        for row in (0, 5, 12):
            array = getattr(good, where).copy()
            array[..., row, 1] = bad
            found = both(dataclasses.replace(good, **{where: array}), threads=2)
            others = np.delete(np.arange(13), row)
            for name in ("y", "gates", "cell", "dx"):
                assert_same_bits({name: found[name][:, others]}, {name: expected[name][:, others]})
            for name in ("h_n", "c_n", "dh_0", "dc_0"):
                assert_same_bits({name: found[name][others]}, {name: expected[name][others]})
            if np.isnan(bad):
                shown = {"dy": "dx", "dh_n": "dx", "c_0": "cell"}.get(where, "gates")
                assert np.isnan(found[shown][:, row]).any()


def test_nan_reaches_all_that_depends_on_it(dtype: Any) -> None:
    problem = made(6, 3, 5, 33, dtype=dtype)
    x = problem.x.copy()
    x[2, 1, 3] = np.nan
    found = both(dataclasses.replace(problem, x=x))
    assert np.isfinite(found["y"][:2]).all()
    assert np.isnan(found["y"][2:, 1]).all()
    assert np.isnan(found["c_n"][1]).all()
    assert np.isnan(found["dW_hh"]).all()


@pytest.mark.slow
def test_more_steps_than_16_bits_count(dtype: Any) -> None:
    T = 70_000
    x = np.random.default_rng(0).standard_normal((T, 1, 1)).astype(dtype)
    problem = dataclasses.replace(made(1, 1, 1, 1, dtype=dtype), x=x, dy=x)
    whole = both(problem)
    half = T // 2
    first = forward(dataclasses.replace(problem, x=x[:half]))
    second = dataclasses.replace(problem, x=x[half:], dy=x[half:], h_0=first.h_n, c_0=first.c_n)
    last = both(second)
    assert_same_bits({"y": whole["y"][half:]}, {"y": last["y"]})
    np.testing.assert_array_equal(whole["dx"][half + 1 :], last["dx"][1:])
    packed = forward(dataclasses.replace(problem, x=x[:, 0], batch_sizes=[1] * T))
    assert packed.y.tobytes() == whole["y"].tobytes()
    # A row that is as long as all others are short.
    rows = [2] * 3 + [1] * (T - 3)
    two = made(0, 2, 1, 1, dtype=dtype, batch_sizes=rows, reverse=True)
    found = both(two)
    place = two.place(0)
    alone = both(two.row(0))
    assert_same_bits(
        {"y": found["y"][place], "dx": found["dx"][place]}, {"y": alone["y"][:, 0], "dx": alone["dx"][:, 0]}
    )


@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("axis", ["step", "row", "backwards"])
def test_indices_past_2_to_the_31_are_right(tmp_path: Path, axis: str, B: int) -> None:
    # A sparse file: of its 34 GB and less only the rows that are read take memory.
    T, D, far = 4, 9, 2**31 + 6
    size = far * (T if axis != "row" else B) + 200
    strides = {"step": (far, 20), "row": (20, far), "backwards": (-far, 20)}[axis]
    start = far * (T - 1) if axis == "backwards" else 0
    problem = made(T, B, D, 17, dtype=np.float32, record=False)
    try:
        file = np.memmap(tmp_path / "sparse", np.float32, "w+", shape=(size,))
    except OSError:
        pytest.skip("the file system has no sparse files so large")
    views = {}
    for name, at in (("x", 0), ("dy", 100)):
        array = getattr(problem, name)
        views[name] = as_strided(file[start + at :], array.shape, [4 * stride for stride in (*strides, 1)])
        views[name][...] = array
    assert_same_bits(both(dataclasses.replace(problem, **views)), both(problem))
