"""Streams of forecasters with distributions: the bits of the whole series, and the quantiles of their outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gatewright.spec import FAMILIES
from tests.support.lazy import LazyModule
from tests.support.stream_models import rows_of, series_model, table, whole_forecast

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = LazyModule("scipy.stats")


@pytest.mark.parametrize("distribution", FAMILIES)
def test_a_stream_gives_the_bits_of_the_whole_series(distribution: str) -> None:
    counts = FAMILIES[distribution].counts
    more = {} if counts else {"seasons": (2, 5), "transform": ("none", "asinh")}
    model = series_model(distribution=distribution, bounds={"minimum": (1.0, 2.0)}, **more)
    stream, series = model.stream(sessions=3, threads=2), table(model, 43)
    series.values[:, :2] = np.floor(np.abs(series.values[:, :2]))
    assert series.times is not None
    expected, xs, times = whole_forecast(model, series, 40), rows_of(model, series, 40), series.times[:40]
    together = stream.run(np.repeat(xs[:, None], 3, axis=1), times=times)
    assert expected.shape == (40, 3, 2, 4)  # a quantile for each level, whatever the head gives
    assert np.array_equal(together, np.repeat(expected[:, None], 3, axis=1))
    assert (np.diff(expected, axis=-1) >= 0).all()
    assert (expected >= [[1.0], [2.0]]).all()
    assert (expected == np.floor(expected)).all() == counts
    stream = model.stream()
    one = [stream.step(row, time=time) for row, time in zip(xs, times, strict=True)]
    assert np.array_equal(np.stack(one), expected)


@pytest.mark.parametrize("seasons", [(), (2, 5)])
def test_last_value_and_seasons_move_the_location_alone(seasons: tuple[int, ...]) -> None:
    """Of a normal distribution, location and scale follow from two quantiles: those of a head that has both."""
    model = series_model(distribution="normal", seasons=seasons)
    plain = series_model(seasons=seasons)  # three quantiles, whose first two are read as location and log scale
    sizes = (3, 2)
    with np.errstate(all="ignore"):
        for part in ("weight", "bias"):
            ours = getattr(model.head, part).data.view(*sizes, 2, -1)
            theirs = getattr(plain.head, part).data.view(*sizes, 3, -1)
            theirs[:, :, 0], theirs[:, :, 1], theirs[:, :, 2] = ours[:, :, 0], ours[:, :, 0], ours[:, :, 0]
    if seasons:
        plain.season.load_state_dict(model.season.state_dict())
    plain.lstm.load_state_dict(model.lstm.state_dict())
    series = table(model, 43)
    assert series.times is not None
    xs, times = rows_of(model, series, 40), series.times[:40]
    location, quantiles = plain.stream().run(xs, times=times)[..., 1], model.stream().run(xs, times=times)
    np.testing.assert_allclose(quantiles[..., 1], location, rtol=1e-5, atol=1e-5)
    z = stats.norm.ppf([0.05, 0.6, 0.999])
    apart = (quantiles[..., [0, 2, 3]] - quantiles[..., [1]]) / z
    np.testing.assert_allclose(apart[..., 1:], apart[..., [0, 0]], rtol=1e-9)
