"""Persistence, seasonal-naive, drift and n-grams against loops that say what they are."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gatewright.tasks.forecast.baselines import Naive
from gatewright.tasks.language.ngram import ngram_nats

VALUES = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(1, 3)),
    elements=st.sampled_from([math.nan, 1.0, 2.0, 3.0, 4.0, 5.0]),
)


def last_value(column, row):
    while row >= 0 and math.isnan(column[row]):
        row -= 1
    return column[row] if row >= 0 else math.nan


def last_season(column, origin, ahead, season):
    row = origin + ahead
    while row >= 0 and (row > origin or math.isnan(column[row])):
        row -= season
    return column[row] if row >= 0 else last_value(column, origin)


@given(VALUES, st.integers(1, 7), st.integers(1, 12))
def test_series_baselines_are_what_they_say(values, horizon, season):
    origins = np.arange(len(values))
    naive = Naive(values, season)
    steady, seasonal = naive.persistence(origins, horizon), naive.seasonal(origins, horizon)
    assert steady.shape == seasonal.shape == (len(values), horizon, values.shape[1])
    for origin, step, column in np.ndindex(*steady.shape):
        cells = values[:, column]
        np.testing.assert_equal(steady[origin, step, column], last_value(cells, origin))
        np.testing.assert_equal(seasonal[origin, step, column], last_season(cells, origin, step + 1, season))


def on_the_line(column, origin, ahead):
    seen = [(row, value) for row, value in enumerate(column[: origin + 1]) if not math.isnan(value)]
    if not seen:
        return math.nan
    (first, start), (last, end) = seen[0], seen[-1]
    return end + (0 if first == last else (end - start) / (last - first) * (origin + ahead - last))


@given(VALUES, st.integers(1, 7))
def test_drift_is_the_line_through_the_first_and_the_last_value(values, horizon):
    origins = np.arange(len(values))
    drift = Naive(values, 1).drift(origins, horizon)
    assert drift.shape == (len(values), horizon, values.shape[1])
    for origin, step, column in np.ndindex(*drift.shape):
        expected = on_the_line(values[:, column], origin, step + 1)
        np.testing.assert_allclose(drift[origin, step, column], expected, rtol=1e-12)


@given(VALUES, st.integers(1, 5), st.integers(1, 12))
def test_series_baselines_know_nothing_after_the_origin(values, horizon, season):
    origin = len(values) // 2
    changed = values.copy()
    changed[origin + 1 :] = 99.0
    before, after = Naive(values, season), Naive(changed, season)
    for name in ("persistence", "seasonal", "drift"):
        was, now = (getattr(naive, name)(np.array([origin]), horizon) for naive in (before, after))
        np.testing.assert_equal(now, was)


def test_a_season_longer_than_the_series_is_persistence():
    values = np.arange(5.0)[:, None]
    assert Naive(values, season=2**31 - 1).seasonal(np.array([3]), 2).ravel().tolist() == [3.0, 3.0]


def witten_bell(train, context, symbol, symbols):
    """p(symbol | context) by the definition, from the longest context to none."""
    grams = Counter(tuple(train[i : i + len(context) + 1]) for i in range(len(train) - len(context)))
    shorter = 1 / symbols if not context else witten_bell(train, context[1:], symbol, symbols)
    count = sum(n for gram, n in grams.items() if gram[:-1] == tuple(context))
    kinds = sum(gram[:-1] == tuple(context) for gram in grams)
    if count == 0:
        return shorter
    return (grams[(*context, symbol)] + kinds * shorter) / (count + kinds)


@settings(max_examples=60)
@given(st.data(), st.integers(2, 5), st.integers(1, 5))
def test_an_n_gram_is_interpolated_witten_bell(data, symbols, order):
    symbol = st.integers(0, symbols - 1)
    train = data.draw(st.lists(symbol, min_size=order, max_size=40))
    test = data.draw(st.lists(symbol, min_size=1, max_size=8))
    nats = ngram_nats(np.array(train), np.array(test), symbols, order)
    text = train + test
    for place, value in enumerate(nats):
        at = len(train) + place
        expected = witten_bell(train, tuple(text[at - order + 1 : at]), text[at], symbols)
        assert math.exp(-value) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=60)
@given(st.data(), st.integers(2, 6), st.integers(1, 5))
def test_the_probabilities_of_all_symbols_are_one_after_any_context(data, symbols, order):
    symbol = st.integers(0, symbols - 1)
    train = np.array(data.draw(st.lists(symbol, min_size=1, max_size=50)))
    context = data.draw(st.lists(symbol, min_size=0, max_size=6))
    chances = [
        math.exp(-ngram_nats(train, np.array([*context, one]), symbols, order)[-1]) for one in range(symbols)
    ]
    assert math.fsum(chances) == pytest.approx(1, abs=1e-12)
    assert min(chances) > 0


def test_a_longer_context_helps_where_it_tells():
    train = np.array([1, 2, 3, 1, 2, 4] * 50)
    nats = {order: ngram_nats(train, train[:60], 5, order).mean() for order in (1, 2, 3, 5)}
    assert nats[1] > nats[2] > nats[3] > nats[5]
