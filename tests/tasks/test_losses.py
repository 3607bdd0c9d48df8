"""Losses of a forecaster, against torch's and the formulas of the papers in NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F

import gatewright as gw
from gatewright.data.preprocessing import Encoded
from gatewright.errors import DataError, GatewrightError, SpecError
from gatewright.evaluation.report import evaluate_run, forecast_run
from gatewright.nn.model import load
from gatewright.runs.run import Run
from gatewright.spec import QuantileHead
from gatewright.tasks import registry
from gatewright.tasks.forecast.losses import PointLoss
from gatewright.tasks.options import LOSSES, DataOptions, Options, TrainingOptions
from gatewright.train.launch import train
from tests.support.training_runs import FORECAST, quiet, write_table

POINT = [name for name in LOSSES if name not in ("quantile", "nll")]


def encoded(target: np.ndarray) -> Encoded:
    """A series of which only the targets are there."""
    target = target.astype(np.float32)
    empty, ages = np.zeros((len(target), 0), np.float32), np.zeros((len(target), 0), np.int32)
    return Encoded(empty, empty, target, target, ages, ages, ages, target.astype(np.float64))


def series() -> list[Encoded]:
    """Two series of two targets, one of which varies a hundred times as much; the third is constant."""
    draw = np.random.default_rng(0)
    rows = [draw.normal(size=(30, 2)) * scale for scale in ((1.0, 2.0), (100.0, 0.3), (0.0, 0.0))]
    rows[0][5] = np.nan
    return [encoded(each) for each in rows]


ENDS, SEASON = [20, 25, 20], 4


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Forecasts (steps, B, horizon, targets, 1), what came, with gaps, and the series of each window."""
    draw = torch.Generator().manual_seed(0)
    forecast, target = torch.randn(3, 5, 4, 2, 1, generator=draw), torch.randn(3, 5, 4, 2, generator=draw) * 3
    target[0, 1, 2] = torch.nan
    return forecast.requires_grad_(), target, np.array([0, 1, 2, 1, 0])


@pytest.mark.parametrize(
    ("name", "judge"),
    [("mae", F.l1_loss), ("mse", F.mse_loss), ("huber", F.huber_loss)],
)
def test_plain_losses_are_those_of_torch(name: str, judge, batch) -> None:
    forecast, target, of = batch
    loss = PointLoss(name, series(), ENDS, SEASON)(forecast, target, of)
    seen = target.isfinite()
    assert loss.predictions == seen.sum()
    (loss.total / loss.predictions).backward()
    found, forecast.grad = forecast.grad, None
    expected = judge(forecast[..., 0][seen], target[seen])
    expected.backward()
    assert float(loss.total.detach() / loss.predictions) == pytest.approx(float(expected.detach()), rel=1e-6)
    torch.testing.assert_close(found, forecast.grad)


def test_nse_is_the_squared_error_over_the_variance_of_each_basin(batch) -> None:
    forecast, target, of = batch
    loss = PointLoss("nse", series(), ENDS, SEASON)(forecast, target, of)
    # Kratzert et al. (2019), equation 3, of all windows: sum of (y^ - y)^2 / (s(b) + 0.1)^2.
    rows = [one.target[:end].astype(float) for one, end in zip(series(), ENDS, strict=True)]
    deviations = [np.nanstd(each, axis=0) for each in rows]
    expected = 0.0
    for window, number in enumerate(of):
        error = (target[:, window] - forecast[:, window, ..., 0]).detach().double().numpy()
        expected += np.nansum(error**2 / (deviations[number] + 0.1) ** 2)
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-5)
    assert loss.predictions == target.isfinite().sum()


def test_mase_is_the_absolute_error_over_the_seasonal_difference_of_each_series(batch) -> None:
    forecast, target, of = batch
    loss = PointLoss("mase", series(), ENDS, SEASON)(forecast, target, of)
    scales = [
        np.nanmean(np.abs(one.target[SEASON:end].astype(float) - one.target[: end - SEASON]), axis=0)
        for one, end in zip(series()[:2], ENDS, strict=False)
    ]
    weights = np.array([1 / scales[0], 1 / scales[1]])
    weights = np.stack([*weights, np.median(weights, axis=0)])  # the constant series has no scale of its own
    expected = 0.0
    for window, number in enumerate(of):
        error = (target[:, window] - forecast[:, window, ..., 0]).detach().double().numpy()
        expected += np.nansum(np.abs(error) * weights[number])
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-5)


def test_mase_needs_a_series_that_varies() -> None:
    with pytest.raises(DataError, match="differ from those 4 rows before, for --loss mase"):
        PointLoss("mase", series()[2:], ENDS[2:], SEASON)


@pytest.mark.parametrize("name", POINT)
def test_a_loss_of_one_value_refuses_quantiles(name: str) -> None:
    kind = registry.kind("forecast")
    told = Options(DataOptions(quantiles=(0.1, 0.5)), training=TrainingOptions(loss=name))
    with pytest.raises(GatewrightError, match=f"--quantiles: expected none with --loss {name}, which gives one"):
        kind.resolve(told)
    resolved = kind.resolve(replace(told, data=DataOptions()))
    assert resolved.data.quantiles == (0.5,)
    assert kind.resolve(resolved) == resolved


def test_a_mean_of_transformed_values_is_refused() -> None:
    kind = registry.kind("forecast")
    with pytest.raises(GatewrightError, match="--transform: expected none with --loss nse: a mean of transformed"):
        kind.resolve(Options(DataOptions(transform=("log",)), training=TrainingOptions(loss="nse")))
    kind.resolve(Options(DataOptions(transform=("log",)), training=TrainingOptions(loss="mae")))


def test_a_head_of_another_point_than_the_median_has_one_output() -> None:
    with pytest.raises(SpecError, match=r"quantiles: expected \(0.5,\) with a mean"):
        QuantileHead(point="mean")
    with pytest.raises(SpecError, match="point"):
        QuantileHead(quantiles=(0.5,), point="mode")
    assert QuantileHead().to_json() == '{"horizon":1,"kind":"quantiles","quantiles":[0.1,0.5,0.9]}'
    assert QuantileHead(quantiles=(0.5,), point="mean").version() == 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("losses")
    options = replace(FORECAST, training=replace(FORECAST.training, loss="nse", steps=12, validate_every=6))
    train(write_table(folder / "table.csv"), options, run=folder / "run", console=quiet())
    return folder / "run"


def to_come(run: Path) -> pl.DataFrame:
    """The table of the run, whose last three targets are to be forecast."""
    table = pl.read_csv(run.parent / "table.csv")
    load = table["load"].to_list()[:-3] + [None] * 3
    return table.with_columns(pl.Series("load", load))


@pytest.mark.slow
def test_a_run_with_a_loss_of_one_value_has_no_interval(run: Path) -> None:
    model = load(run)
    assert model.spec.head == QuantileHead(3, (0.5,), point="mean")
    assert gw.Stream.load(run / "model.safetensors").quantiles == (0.5,)
    assert registry.kind("forecast").unit_of(Run.open(run).options()) == "NSE"
    figures = evaluate_run(run)[1]["targets"]["load"]["model"]["overall"]
    assert figures["coverage"] is None
    assert figures["interval_width"] is None
    assert figures["quantile_loss"] == pytest.approx(figures["mae"] / 2)
    to_come(run).write_csv(run.parent / "now.csv")
    text, _ = forecast_run(run, run.parent / "now.csv", None, None)
    assert text.splitlines()[0] == "time,load_mean"


@pytest.mark.slow
def test_training_goes_on_only_with_a_loss_of_the_same_point(run: Path) -> None:
    table = pl.read_csv(run.parent / "table.csv")
    columns = {"target": "load", "known": "wind", "time": "time"}
    with pytest.raises(GatewrightError, match="loss: expected mse or nse, as the initial model, got quantile"):
        gw.Forecaster(steps=1, valid="80", test="80").fit(table, init=run, **columns)
    fitted = gw.Forecaster(loss="mse", steps=1, valid="80", test="80").fit(table, init=run, **columns)
    assert fitted.predict(to_come(run)).columns == ["time", "load_mean"]
    assert fitted.plot(to_come(run)).axes[0].get_legend_handles_labels()[1] == ["load", "mean"]
