"""Streams of forecasters with the scale of a window: the bits of the whole series, whatever its size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import Model, Stream
from gatewright.data.preprocessing import encode
from gatewright.errors import GatewrightError, StateError
from gatewright.spec import SeriesEncoder
from gatewright.tasks.forecast.windows import Windows, predict
from tests.support.stream_models import rows_of, series_model, table, whole_forecast

#: Beyond the context, 12, older rows count less.
ROWS = 40


def window_model(**changes: Any) -> Model:
    return series_model(scale="window", **changes)


@pytest.mark.parametrize(("seasons", "reads"), [((), "change"), ((2, 5), "level"), ((2, 5), "both")])
@pytest.mark.parametrize("transform", [(), ("asinh", "none")])
def test_a_stream_gives_the_bits_of_the_whole_series(
    seasons: tuple[int, ...], reads: str, transform: tuple[str, ...]
) -> None:
    model = window_model(seasons=seasons, reads=reads, transform=transform)
    stream, series = model.stream(), table(model, ROWS + 3)
    assert series.times is not None
    expected, xs, times = whole_forecast(model, series, ROWS), rows_of(model, series, ROWS), series.times[:ROWS]
    assert np.isfinite(expected).all()
    assert np.array_equal(stream.run(xs, times=times), expected)
    stream.reset()
    steps = [stream.step(x, time=time) for x, time in zip(xs[:17], times, strict=False)]
    snapshot = stream.snapshot()
    stream.run(xs[::-1], times=times)
    stream.restore(snapshot)
    rest = stream.copy().run(xs[17:], times=times[17:])
    assert np.array_equal(np.concatenate([steps, rest]), expected)


@pytest.mark.parametrize("seasons", [(), (2, 5)])
def test_windows_give_the_bits_of_a_stream(seasons: tuple[int, ...]) -> None:
    """Each window, in a batch of any size, is a stream that begins with its first row."""
    model = window_model(seasons=seasons)
    encoder, series = model.spec.encoder, table(model, ROWS + 3)
    assert isinstance(encoder, SeriesEncoder)
    assert model.scaler is not None
    assert series.times is not None
    windows = Windows([encode(series, encoder, model.scaler)], encoder, 3, "cpu", model.scaler)
    origins = np.arange(encoder.context - 1, ROWS)
    got = predict(model, windows, origins)
    assert np.array_equal(predict(model, windows, origins, batch=7), got)
    xs = rows_of(model, series, ROWS)
    for origin in (origins[0], origins[9], origins[-1]):
        own = slice(origin + 1 - encoder.context, origin + 1)
        expected = model.stream().run(xs[own], times=series.times[own])[-1]
        assert np.array_equal(got[origin - origins[0]], expected)


def test_forecasts_have_the_size_of_the_series() -> None:
    """By a power of two to the bit; and of constant rows they are finite."""
    model = window_model(seasons=(2, 5), calendar=())
    assert model.scaler is not None
    model.scaler = replace(model.scaler, least_scale=(1e-30, 1e-30))
    stream, xs = model.stream(sessions=2), rows_of(model, table(model, ROWS + 3), ROWS)
    xs[0, :2] = 3.0, -5.0  # before the first value, a forecast is the training part's
    both = np.stack([xs, xs], axis=1)
    both[:, 1, :2] *= 2.0**-21
    y = stream.run(both)
    assert np.array_equal(y[:, 0] * 2.0**-21, y[:, 1])
    both[:, 0, :2], both[:, 1, :2] = 0.0, 12.5
    stream.reset()
    y = stream.run(both)
    assert np.isfinite(y).all()
    errors = np.abs(y[-1] - both[-1, :, None, :2, None])
    assert errors[0].max() < 1e-20 < errors[1].min()  # the level leads to expect a little change


def test_a_state_that_could_not_be_is_refused() -> None:
    model = window_model(calendar=())
    stream = model.stream()
    fresh, xs = stream.state(), rows_of(model, table(model, 23), 20)
    stream.run(xs)
    state = stream.state()
    assert state.last.shape == (12,)
    assert np.isnan(fresh.last[[0, 1, 2, 7]]).all()
    for place, number in ((2, np.nan), (3, -1.0), (4, -1.0), (6, 13.0), (6, 0.0), (5, np.nan), (0, np.nan)):
        last = state.last.copy()
        last[place] = number
        with pytest.raises(StateError, match=r"state\.last: expected the last observed values, and for each what"):
            stream.set_state(replace(state, last=last))
    assert stream.state() == state
    stream.set_state(fresh)
    stream.set_state(state)
    with pytest.raises(GatewrightError, match="within 1e20"):
        stream.step(np.where(np.arange(len(xs[0])) == 0, 1e39, xs[0]))


def test_a_model_file_has_version_4_only_with_it(tmp_path: Any) -> None:
    plain, window = series_model(), window_model()
    assert '"scale":"window"' in window.spec.to_json()
    assert "window" not in plain.spec.to_json()
    assert (plain.spec.version(), window.spec.version()) == (0, 4)
    window.save(tmp_path / "model.safetensors")
    loaded = Stream.load(tmp_path / "model.safetensors")
    assert loaded.fingerprint == window.fingerprint
    with torch.no_grad():
        assert loaded.state().last.shape == (12,)
