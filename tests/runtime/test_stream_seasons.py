"""Streams of forecasters with seasons: the bits of the whole series, and of a definition in loops."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import Model, Stream
from gatewright.errors import StateError
from gatewright.runtime.state import State
from tests.support.seasons import differences, last_seen
from tests.support.stream_models import rows_of, series_model, table, whole_forecast

SEASONS = [(1,), (2, 5), (7,), (3, 4, 11)]


def seasonal_model(seasons: tuple[int, ...], **changes: Any) -> Model:
    return series_model(seasons=seasons, context=seasons[-1] + 1, **changes)


def scaled(model: Model, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The targets of rows in the units of the scaler."""
    assert model.scaler is not None
    targets = len(model.spec.encoder.targets)
    return (values[:, :targets] - model.scaler.mean[:targets]) / np.array(model.scaler.scale[:targets])


@pytest.mark.parametrize("seasons", SEASONS)
@pytest.mark.parametrize("reads", ["both", "change", "level"])
def test_a_stream_gives_the_bits_of_the_whole_series(seasons: tuple[int, ...], reads: str, tmp_path: Path) -> None:
    model = seasonal_model(seasons, reads=reads)
    model.save(tmp_path / "model.safetensors")
    stream, series = Stream.load(tmp_path), table(model, 43)
    assert series.times is not None
    expected, xs, times = whole_forecast(model, series, 40), rows_of(model, series, 40), series.times[:40]
    assert np.array_equal(stream.run(xs, times=times), expected)
    stream.reset()
    steps = [stream.step(x, time=when) for x, when in zip(xs, times, strict=True)]
    assert np.array_equal(np.stack(steps), expected)
    stream.reset()
    parts = [stream.run(xs[part], times=times[part]) for part in (slice(0, 7), slice(7, 8), slice(8, 40))]
    assert np.array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("weights", ["float32", "bf16", "bf16-float32", "int8", "int8-float32"])
@pytest.mark.parametrize("seasons", SEASONS)
def test_seasons_add_what_a_loop_adds(seasons: tuple[int, ...], weights: Any) -> None:
    """Whatever the head says; also before a season was read, and where targets are missing."""
    model = seasonal_model(seasons)
    series = table(model, 43)
    assert series.times is not None
    xs, times = rows_of(model, series, 40), series.times[:40]
    got = model.stream(weights=weights).run(xs, times=times)
    assert model.season is not None
    weight = model.season.weight.detach().double().numpy()
    with torch.no_grad():
        model.season.weight.zero_()
    bare = model.stream(weights=weights).run(xs, times=times)
    assert model.scaler is not None
    column, scale = scaled(model, series.values), np.array(model.scaler.scale[:2])
    for row in range(40):
        added = (weight * differences(column, row, seasons, 3)).sum(axis=0) * scale
        np.testing.assert_allclose(got[row], bare[row] + added[..., None], rtol=1e-5, atol=1e-3)
        if row < seasons[0]:
            assert np.array_equal(got[row], bare[row])
    assert np.abs(got[-1] - bare[-1]).max() > 1


def test_a_season_longer_than_a_chunk_of_steps_and_many_sessions() -> None:
    """A call of many steps is walked in chunks of 512 rows; threads share sessions."""
    model = seasonal_model((40, 700), calendar=(), known=(), static=(), past=())
    series = table(model, 1600)
    xs = rows_of(model, series, 1500)
    expected = whole_forecast(model, series, 1500)
    assert np.array_equal(model.stream().run(xs), expected)
    stream = model.stream(sessions=70, threads=2)
    starts = np.arange(70) * 10
    several = np.stack([xs[start : start + 800] for start in starts], axis=1)
    got = np.concatenate([stream.run(several[:750]), [stream.step(x) for x in several[750:]]])
    for session in (0, 1, 48, 69):
        alone = model.stream().run(several[:, session])
        assert np.array_equal(got[:, session], alone)


def test_copies_snapshots_and_resets_carry_the_recent_rows() -> None:
    model = seasonal_model((2, 5))
    stream, series = model.stream(), table(model, 43)
    xs = rows_of(model, series, 40)
    times = series.times
    assert times is not None
    fresh, before = model.stream(sessions=2), model.stream().state()
    assert before.recent.shape == (6, 2)
    assert np.isnan(before.recent).all()
    for cut in (1, 3, 5, 6, 13, 20):  # before and after the longest season
        stream.reset()
        assert stream.state() == before
        stream.run(xs[:cut], times=times[:cut])
        snapshot, copied = stream.snapshot(), copy.deepcopy(stream)
        column = scaled(model, series.values)
        expected = [
            [last_seen(column[:, k], row) if row >= 0 else np.nan for k in (0, 1)] for row in range(cut - 6, cut)
        ]
        np.testing.assert_allclose(stream.state().recent, expected, rtol=1e-6)
        rest = stream.run(xs[cut:], times=times[cut:40])
        assert np.array_equal(copied.run(xs[cut:], times=times[cut:40]), rest)
        fresh.restore(snapshot, 1)
        assert fresh.snapshot(1) == snapshot
        assert np.array_equal(fresh.run(xs[cut:], 1, times=times[cut:40]), rest)
    assert fresh.state(0) == before


def test_snapshots_of_other_models_keep_their_bytes() -> None:
    plain, seasonal = series_model().stream(), seasonal_model((2, 5)).stream()
    assert plain.snapshot()[:8] == b"gwstate\x01"
    assert seasonal.snapshot()[:8] == b"gwstate\x02"
    layers = 4 * 2 * 2 * 20 + 8 * 2
    assert len(seasonal.snapshot()) == len(plain.snapshot()) + 4 + 4 * 6 * 2
    assert len(plain.snapshot()) == 64 + layers + 16
    for first, second, version in ((plain, seasonal, 2), (seasonal, plain, 1)):
        with pytest.raises(StateError, match=f"expected version {version}"):
            second.restore(first.snapshot())


def test_a_state_that_no_session_can_have_is_refused() -> None:
    model = seasonal_model((2, 5))
    stream, series = model.stream(), table(model, 43)
    assert series.times is not None
    stream.run(rows_of(model, series, 3), times=series.times[:3])
    state = stream.state()
    late = state.recent.copy()
    late[-1, 0] = np.nan
    early = state.recent.copy()
    early[:3] = 1.0
    for changed, message in (
        (np.zeros((0, 0), np.float32), r"state.recent: expected float32 \(6, 2\), got float32 \(0, 0\)"),
        (state.recent.astype(np.float64), "state.recent: expected float32"),
        (np.full((6, 2), np.inf, np.float32), "state.recent: expected finite"),
        (late, "state.recent: expected NaN in the rows before"),
        (early, "state.recent: expected NaN in the rows before"),
    ):
        with pytest.raises(StateError, match=message):
            stream.set_state(dataclasses.replace(state, recent=changed))
    with pytest.raises(StateError, match=r"expected float32 \(6, 2\)"):
        stream.set_state(State(state.hidden, state.cell, state.last, 3))
    assert stream.state() == state
    snapshot = bytearray(stream.snapshot())
    snapshot[70] ^= 1
    with pytest.raises(StateError, match="damaged"):
        stream.restore(bytes(snapshot))
