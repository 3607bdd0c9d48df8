"""The scale of the targets: chosen, kept, and good for series of unlike sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.errors import DataError, GatewrightError
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.forecast import auto_scale, auto_transform
from gatewright.tasks.options import DataOptions, Options, TrainingOptions

ROWS, HORIZON = 160, 4
#: Sizes of series: one is drowned by another in any common scale.
SIZES = (1.0, 3000.0, 1e6)


def signed(sizes: tuple[float, ...]) -> pl.DataFrame:
    """Series around 0 with a cycle that persistence does not follow."""
    rng = np.random.default_rng(0)
    rows = np.arange(ROWS)
    frames = []
    for number, size in enumerate(sizes):
        y = np.sin(rows * 2 * np.pi / (9 + number)) + 0.1 * rng.normal(size=ROWS)
        frames.append(pl.DataFrame({"id": f"of {size:g}", "y": size * y}))
    return pl.concat(frames)


def read(frame: pl.DataFrame, **options: Any) -> Any:
    kind = registry.kind("forecast")
    base = DataOptions(target=("y",), id=("id",), time="none", context=14, horizon=HORIZON, season=("none", "6"))
    resolved = kind.resolve(Options(replace(base, **options)))
    return kind.read(kind.source_of(frame), resolved.data)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[gw.Forecaster, Path]:
    run = tmp_path_factory.mktemp("scale") / "run"
    model = gw.Forecaster(
        horizon=HORIZON, context=14, season=("none", 6), hidden=16, steps=80, lr=0.02, dropout=0, validate_every=40
    )
    return model.fit(signed(SIZES), time="none", id="id", run_dir=run), run


def test_each_series_of_a_signed_panel_beats_persistence(fitted: tuple[gw.Forecaster, Path]) -> None:
    model, run = fitted
    assert model.model_.spec.encoder.scale == "window"
    figures = model.evaluate(signed(SIZES))["targets"]["y"]
    own, persistence = (figures[method]["by_series"] for method in ("model", "persistence"))
    assert len(own) == len(SIZES)
    for name, measures in own.items():
        assert measures["mase"] < 0.5 * persistence[name]["mase"]
    assert Run(run).options().data.scale == "window"


def test_forecasts_are_those_of_a_stream_also_of_a_series_that_is_new(fitted: tuple[gw.Forecaster, Path]) -> None:
    model, _ = fitted
    rows = signed((64.0,))
    forecast = model.predict(rows)
    stream = model.stream()
    expected = stream.run(rows["y"].to_numpy()[-14:, None])[-1, :, 0]
    np.testing.assert_array_equal(forecast.select("y_q0.1", "y_q0.5", "y_q0.9").to_numpy(), expected)
    assert np.abs(expected).max() < 2 * 64
    persistence = np.abs(rows["y"].to_numpy()[14:] - rows["y"].to_numpy()[13:-1]).mean()
    y = model.stream().run(rows["y"].to_numpy()[:, None])[13:-1, 0, 0, 1]
    assert np.abs(y - rows["y"].to_numpy()[14:]).mean() < 0.7 * persistence


def test_a_run_that_goes_on_keeps_the_scale(fitted: tuple[gw.Forecaster, Path]) -> None:
    _, run = fitted
    again = Run.open(run, signed(SIZES)).data()
    assert again.units.scale == "window"
    assert again.options.scale == "window"


def test_series_that_need_none_have_the_scale_of_the_training_part() -> None:
    data = read(signed((1.0, 1.2)))
    assert (data.units.scale, data.units.scale_note, data.options.scale) == ("global", "", "global")
    panel = read(signed(SIZES))
    assert panel.units.scale_note.startswith("scale: of each window (")
    assert read(signed(SIZES), scale="global").options.scale == "global"
    assert read(signed((1.0, 1.2)), scale="window").units.scale == "window"


def test_the_scale_of_a_window_takes_the_place_of_a_logarithm_that_was_chosen() -> None:
    """But not of one that was asked for."""
    frame = signed(SIZES).with_columns(y=pl.col("y").abs() + pl.col("y").abs().max().over("id") * 0.1)
    data = read(frame)
    assert (data.options.scale, data.units.names) in (("window", ()), ("global", ("asinh",)))
    assert read(frame, transform=("log",)).options.transform == ("log",)


def test_larger_models_decide_where_the_smallest_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With each seed the scale of a window has to be better, by 3% in the mean, or by less where changes drift."""
    data, given = read(signed((1.0, 1.2))), DataOptions(scale="auto", transform=("auto",))
    monkeypatch.setattr(auto_scale, "LEAST_HORIZONS", 1)

    def choice(of_global: tuple[float, float], of_window: tuple[float, float], drift: float = 1.0) -> str:
        def losses(data: Any, seed: int) -> Any:
            return np.array([(of_window if data.units.scale == "window" else of_global)[seed]])

        monkeypatch.setattr(auto_scale, "_large_losses", losses)
        monkeypatch.setattr(auto_scale, "_drift", lambda _: drift)
        chosen = auto_scale.with_scale(data, given)
        assert chosen.options.scale == chosen.units.scale
        return str(chosen.units.scale)

    assert choice((1.0, 1.1), (0.9, 0.95)) == "window"
    assert choice((1.0, 1.1), (0.9, 1.11)) == "global"
    assert choice((1.0, 1.0), (0.98, 0.98)) == "global"
    assert choice((1.0, 1.0), (0.99, 0.99), drift=1.2) == choice((1.0, 1.0), (0.99, 0.99), drift=0.8) == "window"
    assert choice((1.0, 1.0), (1.01, 1.0), drift=2.0) == "global"


def test_no_model_is_started_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the transforms that were chosen is known where a scale is chosen."""
    started: dict[Any, Any] = {}
    start_losses = auto_transform.start_losses

    def seen(data: Any, transforms: Any) -> Any:
        key = data.units.scale, transforms
        assert key not in started
        started[key] = data, start_losses(data, transforms)
        return started[key][1]

    monkeypatch.setattr(auto_transform, "start_losses", seen)
    monkeypatch.setattr(auto_scale, "start_losses", seen)
    chosen = read(signed((1.0, 1.2)).with_columns(pl.col("y").exp()), transform=("auto",))
    assert chosen.units.scale == "global"
    assert {key[0] for key in started} == {"global", "window"}
    _, known = started["global", chosen.units.transforms]
    np.testing.assert_array_equal(start_losses(chosen, chosen.units.transforms), known)


def test_drift_is_that_of_the_sizes_of_changes() -> None:
    data = read(signed((1.0, 1.2, 1.4)))
    series = [
        replace(each, values=np.where(np.arange(ROWS)[:, None] >= part.valid, 3.0, 1.0) * each.values)
        for each, part in zip(data.table.series, data.parts, strict=True)
    ]
    drifted = replace(data, table=replace(data.table, series=tuple(series)))
    assert auto_scale._drift(drifted) == pytest.approx(3 * auto_scale._drift(data), rel=0.1)


def test_a_larger_model_at_the_start_is_repeatable() -> None:
    data = read(signed((1.0, 1.2)))
    found = auto_scale._large_losses(data, 0)
    assert found < auto_transform.start_losses(data, data.units.transforms)  # which have fewer units
    np.testing.assert_array_equal(auto_scale._large_losses(data, 0), found)


def test_where_there_is_no_window_the_scale_is_global() -> None:
    kind = registry.kind("forecast")
    for options, reason in (
        (Options(DataOptions(reads="nothing")), "global with --reads nothing"),
        (
            Options(training=TrainingOptions(loss="nse")),
            "global with --loss nse, which has a scale for each series",
        ),
    ):
        assert kind.resolve(options).data.scale == "global"
        assert kind.resolve(replace(options, data=replace(options.data, scale="global"))).data.scale == "global"
        with pytest.raises(GatewrightError, match=f"--scale: expected {reason}, got window"):
            kind.resolve(replace(options, data=replace(options.data, scale="window")))
    assert kind.of_earlier(Options()).data.scale == "global"


def test_values_beyond_the_sums_of_a_window_are_refused() -> None:
    frame = signed((1e38, 5e38))
    with pytest.raises(
        DataError, match=r"column 'y', .* expected a value from -1e\+38 to 1e\+38, for scale window"
    ):
        gw.Forecaster(scale="window", context=14, season="none", steps=1).fit(frame, time="none", id="id")
