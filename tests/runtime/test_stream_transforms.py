"""Streams of forecasters with transforms and bounds: the bits of the whole series, and of a model without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gatewright import Stream
from gatewright.errors import GatewrightError
from tests.data.test_target_units import FORMULAS
from tests.support.stream_models import NUMBERS, rows_of, series_model, table, whole_forecast

CASES = [("log", "none"), ("log1p", "asinh"), ("boxcox", "log")]


@pytest.mark.parametrize("transform", CASES)
@pytest.mark.parametrize("seasons", [(), (2, 5)])
def test_a_stream_gives_the_bits_of_the_whole_series(
    transform: tuple[str, str], seasons: tuple[int, ...], tmp_path: Path
) -> None:
    model = series_model(transform=transform, seasons=seasons, bounds={"minimum": (1.0, 2.0)})
    model.save(tmp_path / "model.safetensors")
    stream, series = Stream.load(tmp_path), table(model, 43)
    series.values[:, :2] = np.abs(series.values[:, :2])
    assert series.times is not None
    expected, xs, times = whole_forecast(model, series, 40), rows_of(model, series, 40), series.times[:40]
    assert np.array_equal(stream.run(xs, times=times), expected)
    assert (expected[..., 0, :] >= 1.0).all()
    assert (expected[..., 1, :] >= 2.0).all()
    assert (expected.min(axis=(0, 1, 3)) == [1.0, 2.0]).any()  # the bounds are not idle
    stream.reset()
    first, snapshot = stream.run(xs[:17], times=times[:17]), stream.snapshot()
    stream.reset()
    stream.restore(snapshot)
    rest = stream.run(xs[17:], times=times[17:])
    assert np.array_equal(np.concatenate([first, rest]), expected)


@pytest.mark.parametrize("transform", CASES)
def test_it_is_the_plain_model_on_transformed_rows(transform: tuple[str, str]) -> None:
    """By NumPy's formulas before it, and their inverses after it."""
    model, plain = series_model(transform=transform, seasons=(2, 5)), series_model(seasons=(2, 5))
    plain.scaler = type(plain.scaler)(
        *(getattr(model.scaler, name) for name in ("columns", "mean", "scale", "change_scale"))
    )
    series = table(model, 43)
    series.values[:, :2] = np.abs(series.values[:, :2])
    assert series.times is not None
    xs = rows_of(model, series, 40)
    got = model.stream().run(xs, times=series.times[:40])
    before = xs.copy()
    for column, name in enumerate(transform):
        before[:, column] = FORMULAS[name][0](xs[:, column], NUMBERS.get(name, 0.0))
    z = plain.stream().run(before, times=series.times[:40])
    for column, name in enumerate(transform):
        expected = FORMULAS[name][1](z[:, :, column], NUMBERS.get(name, 0.0))
        np.testing.assert_allclose(got[:, :, column], expected, rtol=1e-4)


def test_a_value_that_the_transform_does_not_allow_is_refused_and_changes_nothing() -> None:
    stream = series_model(transform=("log", "asinh"), calendar=(), known=(), static=(), past=()).stream()
    stream.step([3.0, -4.0])
    before = stream.state()
    for row, message in (
        ([0.0, 1.0], r"transform of the target allows: a number above 0, at most 1e38, got 0.0 in column 0"),
        ([2.0, 1e39], r"a number from -1e38 to 1e38, got 1e\+39 in column 1"),
    ):
        with pytest.raises(GatewrightError, match=message):
            stream.step(row)
    assert stream.state() == before
    stream.step([np.nan, np.nan])
