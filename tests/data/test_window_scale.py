"""The scale of a window: a loop over rows judges the native module."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.data.window_scale import LEAST_OF_ALL, Window, fitted
from gatewright.spec import Scaler, SeriesEncoder

NAN = math.nan
ENCODER = SeriesEncoder(("a", "b"), context=5, reads="both", scale="window")
SCALER = Scaler(
    ("a", "b"),
    (3.0, -1.0),
    (2.0, 4.0),
    (0.5, 0.25),
    least_scale=(0.01, 0.02),
    scale_ratio=(0.3, 0.0),
    scale_factor=(2.5, 4.0),
)


def by_loop(values: list[float], target: int) -> list[tuple[float, float, float, float, float]]:
    """Change, level, last value, scale and what seasonal differences are of, row by row."""
    least, ratio, factor = (numbers[target] for numbers in SCALER.windows)
    unit = SCALER.scale[target]
    last, first = NAN, NAN
    seen = moves = sizes = above = 0.0
    rows = []
    for value in values:
        before = last
        if not math.isnan(value):
            if seen == ENCODER.context:
                moves, sizes, above, seen = moves * 0.8, sizes * 0.8, above * 0.8, seen - 1
            first = value if math.isnan(first) else first
            moves += 0.0 if math.isnan(last) else abs(value - last)
            seen, sizes, above, last = seen + 1, sizes + abs(value), above + value - first, value
        if math.isnan(first):
            rows.append((0.0, 0.0, SCALER.mean[target], factor * SCALER.change_scale[target], NAN))
            continue
        move = max(least, (moves + 32 * max(least, ratio * sizes / seen)) / (seen - 1 + 32))
        change, scale = (value - before) / move, factor * move
        rows.append(
            (
                0.0 if math.isnan(change) else change,
                (last - first - above / seen) / scale,
                last,
                scale,
                (last - first) / unit,
            )
        )
    return rows


@given(
    st.lists(
        st.lists(st.sampled_from([NAN, 0.0, 1.5, -2.0, 700.0]), min_size=9, max_size=9), min_size=2, max_size=2
    )
)
def test_a_loop_gives_the_same(columns: list[list[float]]) -> None:
    window = Window.of(np.array(columns).T[:, None], ENCODER, SCALER)
    for target, column in enumerate(columns):
        got = np.stack([np.float64(each[:, 0, target]) for each in window], axis=1)
        np.testing.assert_allclose(got, by_loop(column, target), rtol=1e-6, atol=1e-12)


def test_each_row_of_a_batch_is_alone() -> None:
    values = np.random.default_rng(0).normal(size=(12, 4, 2)).cumsum(axis=0)
    values[np.random.default_rng(1).random(values.shape) < 0.2] = NAN
    together = Window.of(values, ENCODER, SCALER)
    for row in range(4):
        for one, all_of in zip(Window.of(values[:, [row]], ENCODER, SCALER), together, strict=True):
            np.testing.assert_array_equal(one[:, 0], all_of[:, row])


def test_it_follows_the_size_of_a_series_to_the_bit() -> None:
    """By a power of two, above the smallest scale."""
    scaler = dataclasses.replace(SCALER, scale_ratio=(0.3, 0.1))
    values = np.random.default_rng(0).normal(size=(12, 3, 2)).cumsum(axis=0) + 5
    small, large = Window.of(values, ENCODER, scaler), Window.of(values * 2.0**20, ENCODER, scaler)
    np.testing.assert_array_equal(small.change, large.change)
    np.testing.assert_array_equal(small.level, large.level)
    np.testing.assert_array_equal(small.scale * 2.0**20, large.scale)


def test_a_series_that_does_not_move_has_a_scale() -> None:
    still = Window.of(np.zeros((9, 1, 2)), ENCODER, SCALER)
    assert (still.scale[:, 0] == np.multiply(SCALER.least_scale, SCALER.scale_factor)).all()
    assert not still.change.any()
    assert not still.level.any()


def test_the_training_part_sets_the_smallest_scale_and_the_first_one() -> None:
    calm, wild = np.array([[1.0], [2.0], [NAN], [1.0], [2.0]]), np.array([[1000.0], [5000.0]])
    least, ratio, factor = fitted([calm, wild, np.full((3, 1), 7.0)], [2000.0])
    assert least == pytest.approx([0.1])  # of a series that moves by 1
    assert ratio == pytest.approx([np.mean([1 / 1.5, 4000 / 3000])])
    assert factor == (0.5,)  # of both series
    assert fitted([np.array([[5.0]])], [3.0]) == ((pytest.approx(0.3),), (0.0,), (1.0,))
    assert fitted([np.array([[0.0], [1e-30]])], [3.0])[0] == (3.0 * LEAST_OF_ALL,)
