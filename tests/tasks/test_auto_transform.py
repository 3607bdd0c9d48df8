"""The transform that the data decide on: chosen, said, kept - and none where none is needed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import gatewright as gw
from gatewright.data.target_units import Transform
from gatewright.errors import DataError
from gatewright.tasks import registry
from gatewright.tasks.forecast import auto_transform
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.options import DataOptions, Options, TrainingOptions

ROWS, HORIZON = 180, 4


def walk(seed: int, scale: float, drift: float = 0.0) -> Any:
    """A positive series with a season of 6, whose deviations grow with its level."""
    rng = np.random.default_rng(seed)
    rows = np.arange(ROWS)
    steps = 0.05 * rng.normal(size=ROWS) + drift
    return scale * np.exp(np.cumsum(steps) + 0.3 * np.sin(rows * 2 * np.pi / 6))


def panel(*scales: float) -> pl.DataFrame:
    frames = [pl.DataFrame({"id": f"of {scale:g}", "y": walk(n, scale)}) for n, scale in enumerate(scales)]
    return pl.concat(frames)


def read(frame: pl.DataFrame, **options: Any) -> Any:
    kind = registry.kind("forecast")
    base: dict[str, Any] = {"target": ("y",), "time": "none", "context": 14, "horizon": HORIZON, "season": ("6",)}
    resolved = kind.resolve(Options(DataOptions(**{**base, **options})))
    return kind.read(kind.source_of(frame), resolved.data)


def test_a_panel_of_unlike_series_gets_a_logarithm_that_takes_all_numbers() -> None:
    frame = panel(1.0, 3000.0, 1e6)
    data = read(frame, id=("id",))
    [transform] = data.units.transforms
    training = np.concatenate([s.values[: p.valid, 0] for s, p in zip(data.table.series, data.parts, strict=True)])
    assert transform.name == "asinh"
    assert transform.number == pytest.approx(training.min() / 4, rel=0.01)
    assert data.options.transform == (str(transform),)
    assert data.units.note.startswith(f"transform: {transform} of y (")
    again = read(frame, id=("id",), transform=data.options.transform)  # as a run reads it when it goes on
    assert again.units.transforms == data.units.transforms


def test_series_that_need_none_get_none() -> None:
    rng = np.random.default_rng(0)
    season = np.sin(np.arange(ROWS) * 2 * np.pi / 6)
    signed = 3 * season + 0.1 * rng.normal(size=ROWS)
    for values in (100 + 10 * season + rng.normal(size=ROWS), signed, signed**3):
        data = read(pl.DataFrame({"y": values}))
        assert data.options.transform == ("none",)
        assert data.units.note == ""
        assert data.units.names == ()


@pytest.mark.parametrize("level", [1e10, 1e12])
def test_a_candidate_that_loses_the_values_is_left_out(level: float) -> None:
    values = level + 2e-12 * level * np.random.default_rng(0).normal(size=ROWS)
    frame = pl.DataFrame({"y": values})
    assert [str(each) for each in read(frame).units.transforms] == ["none"]
    tried = f"asinh:{level / 4:g}"  # the candidate
    with pytest.raises(DataError, match=f"values that --transform {re.escape(tried)} can tell apart"):
        auto_transform.start_losses(read(frame, transform=(tried,)), (Transform.of(tried),))


def test_values_below_zero_have_no_candidates() -> None:
    """A logarithm of sizes forecasts values across 0 from far away: large series far out, next to small ones."""
    season = np.sin(np.arange(ROWS) * 2 * np.pi / 6)
    frame = pl.concat([pl.DataFrame({"id": f"{scale:g}", "y": scale * season}) for scale in (1.0, 3000.0)])
    data = read(frame, id=("id",))
    assert auto_transform._candidates(data, 0) == []
    assert data.options.transform == ("none",)
    above = read(frame.with_columns(pl.col("y").abs()), id=("id",))
    assert [each.name for each in auto_transform._candidates(above, 0)][-1] == "log1p"


def test_each_target_gets_its_own_unless_it_is_set() -> None:
    rng = np.random.default_rng(1)
    steep = walk(2, 1.0, drift=0.03)
    frame = pl.DataFrame({"y": steep, "z": rng.normal(size=ROWS).cumsum()})
    data = read(frame, target=("y", "z"))
    assert [each.name for each in data.units.transforms] == ["asinh", "none"]
    assert read(frame, target=("y", "z"), transform=("none", "auto")).options.transform == ("none", "none")
    assert read(frame, target=("y", "z"), transform=("auto", "log1p:2")).options.transform[1] == "log1p:2.0"


def test_the_loss_is_that_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the table's units, over the seasonal differences of each series, whatever its scale."""
    data = read(panel(1.0, 3000.0), id=("id",))
    seen = []
    forecast = ForecastTask.forecast

    def kept(self: ForecastTask, most: int, **parts: bool) -> Any:
        seen.append(forecast(self, most, **parts))
        return seen[-1]

    monkeypatch.setattr(ForecastTask, "forecast", kept)
    [found] = auto_transform.start_losses(data, data.units.transforms)
    losses = []
    for which, row, answer in zip(*seen[0], strict=True):
        values = data.table.series[which].values[:, 0]
        known = values[: data.parts[which].valid]
        scale = np.abs(known[6:] - known[:-6]).mean()
        for ahead in range(HORIZON):
            for level, quantile in zip((0.1, 0.5, 0.9), answer[ahead, 0], strict=True):
                error = values[row + 1 + ahead] - quantile
                losses.append(max(level * error, (level - 1) * error) / scale)
    assert found == pytest.approx(np.mean(losses), rel=1e-9)


def test_a_loss_that_gives_a_mean_goes_without() -> None:
    kind = registry.kind("forecast")
    for loss, expected in (("mse", ("none",)), ("mae", ("auto",)), ("quantile", ("auto",))):
        resolved = kind.resolve(Options(DataOptions(target=("y",)), training=TrainingOptions(loss=loss)))
        assert resolved.data.transform == expected
    mixed = Options(DataOptions(transform=("none", "auto")), training=TrainingOptions(loss="mse"))
    assert kind.resolve(mixed).data.transform == ("none", "none")


def test_no_random_number_is_drawn() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    read(panel(1.0, 3000.0), id=("id",))
    assert torch.equal(torch.rand(2), expected)


def test_few_of_many_series_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_transform, "MOST_ROWS", 2 * ROWS)
    data = read(panel(1.0, 3000.0, 10.0, 1e6), id=("id",))
    few = auto_transform.few_series(data)
    assert [one.name for one in few.table.series] == ["of 1", "of 10"]
    assert data.units.transforms[0].name == "asinh"
    none = replace(data, windows=np.zeros_like(data.windows))
    assert auto_transform.few_series(none) is none


@pytest.mark.slow
def test_small_series_next_to_large_ones_are_forecast_better_than_by_persistence() -> None:
    frame = panel(1.0, 3000.0, 3e9)
    model = gw.Forecaster(horizon=HORIZON, context=14, season=6, hidden=16, steps=20, validate_every=10)
    model.fit(frame, target="y", id="id", time="none")
    assert model.options_.data.transform[0].startswith("asinh:")
    series = model.evaluate(frame)["targets"]["y"]
    for name in ("of 1", "of 3000", "of 3e+09"):
        found = {method: series[method]["by_series"][name]["quantile_loss"] for method in ("model", "persistence")}
        assert found["model"] < 0.8 * found["persistence"], (name, found)
    # A value that a logarithm would refuse is read like any other.
    zero = frame.with_columns(y=pl.when(pl.int_range(pl.len()) == ROWS - 1).then(0.0).otherwise("y"))
    assert np.isfinite(model.predict(zero).select(pl.selectors.starts_with("y_")).to_numpy()).all()
    strict = gw.Forecaster(horizon=HORIZON, context=14, season=6, transform="log", steps=1)
    with pytest.raises(DataError, match="expected a value above 0, for transform log"):
        strict.fit(zero, target="y", id="id", time="none")
