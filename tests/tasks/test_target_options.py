"""Transforms and bounds of a run: one answer in the table's units; and what is refused before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.errors import DataError, GatewrightError
from gatewright.evaluation.report import evaluate_run, forecast_run
from gatewright.files import model_file
from gatewright.runs.run import Run
from gatewright.tasks.forecast import dataset
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train import launch

ROWS = 240


def table(path: Path) -> Path:
    """Counts with many zeros, and a positive series whose deviations grow with its level."""
    rng = np.random.default_rng(0)
    rows = np.arange(ROWS)
    sales = rng.poisson(np.exp(1 + np.sin(rows * 2 * np.pi / 6)))
    price = np.exp(0.02 * rows + 0.3 * np.sin(rows * 2 * np.pi / 6) + 0.05 * rng.normal(size=ROWS))
    lines = ["sales,price", *(f"{a},{b:.6f}" for a, b in zip(sales, price, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


OPTIONS = Options(
    DataOptions(
        target=("sales", "price"), time="none", context=14, horizon=6, season=("6",), valid="40", test="40",
        transform=("log1p", "boxcox"), min=("0", "none"),
    ),
    ModelOptions(hidden=16),
    TrainingOptions(steps=20, batch=16, lr=0.01, validate_every=10, device="cpu"),
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("transforms")
    return launch.train(table(folder / "table.csv"), OPTIONS, run=folder / "run")[0]


def read(run: Run, **changes: object) -> dataset.SeriesData:
    """Read the table of a run by other options, and build its model."""
    data = dataset.read(run.unchanged_source(), replace(run.options().data, **changes))
    dataset.build(data, run.options())
    return data


@pytest.mark.slow
def test_the_model_has_its_transforms_and_bounds(run: Run) -> None:
    file = model_file.read(run.model)
    encoder, scaler, head = file.spec.encoder, file.scaler, file.spec.head
    assert encoder.transform == ("log1p", "boxcox")
    values = run.data().table.series[0].values[:160]
    assert scaler is not None
    assert scaler.transform_number[0] == np.median(values[values[:, 0] > 0, 0])
    assert -0.2 <= scaler.transform_number[1] <= 0.2  # deviations in proportion to the level
    np.testing.assert_allclose(scaler.deviations, values.std(axis=0))
    np.testing.assert_allclose(scaler.mean[0], np.log1p(values[:, 0] / scaler.transform_number[0]).mean())
    assert head.minimum == (0.0, -np.finfo(float).max)  # type: ignore[union-attr]
    assert head.maximum == ()  # type: ignore[union-attr]
    assert run.data().options.min == ("0", "none")


@pytest.mark.slow
def test_figures_are_in_the_units_of_the_table(run: Run) -> None:
    _, figures = evaluate_run(run.path)
    values = run.data().table.series[0].values
    persistence = [np.abs(values[o + 1 : o + 7] - values[o]).mean(axis=0) for o in range(199, ROWS - 6)]
    for column, target in enumerate(("sales", "price")):
        found = {name: method["overall"]["mae"] for name, method in figures["targets"][target].items()}
        assert found["persistence"] == pytest.approx(np.mean(persistence, axis=0)[column])
        assert found["model"] < 0.8 * found["persistence"]


@pytest.mark.slow
def test_forecast_stream_and_recording_say_the_same(run: Run) -> None:
    text, _ = forecast_run(run.path, run.unchanged_source(), None, None)
    values = run.data().table.series[0].values
    expected = run.best_model().stream().run(values[-14:])[-1]
    found = pl.read_csv(text.encode()).drop("row").to_numpy().reshape(6, 2, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert expected[:, 0].min() >= 0
    recording = gw.look(run.path, steps=30)
    stream = run.best_model().stream()
    np.testing.assert_allclose(recording.predictions[:, 0], stream.run(values[186:216]), rtol=1e-5, atol=1e-9)
    assert recording.predictions[:, 0, :, 0].min() == 0.0  # the bound is not idle


@pytest.mark.slow
def test_a_value_that_was_not_allowed_in_training_is_refused_later(run: Run, tmp_path: Path) -> None:
    lines = run.unchanged_source().read_text().splitlines()
    lines[-3] = "4,0"
    path = tmp_path / "zero.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        DataError, match="column 'price', line 239: expected a value above 0, for --transform boxcox"
    ):
        forecast_run(run.path, path, None, None)


@pytest.mark.slow
def test_what_does_not_fit_the_table_is_refused(run: Run) -> None:
    for changes, message in (
        ({"transform": ("log",)}, r"column 'sales', line \d+: expected a value above 0, for --transform log"),
        ({"transform": ("log", "log", "log")}, r"--transform: expected one value, or one for each of 2 targets"),
        ({"min": ("2",)}, r"column 'sales', line \d+: expected a value of at least --min 2 in the training part"),
        ({"max": ("none", "5")}, r"column 'price', line \d+: expected a value of at most --max 5"),
        ({"min": ("0",), "max": ("0",)}, r"--max: expected a number above --min 0, got 0"),
    ):
        with pytest.raises(GatewrightError, match=message):
            read(run, **changes)
    assert read(run, min=("-1e9",), max=("none",)).units.minimum == (-1e9, -1e9)


@pytest.mark.slow
def test_python_names_the_bounds_as_python_does(run: Run) -> None:
    frame = pl.read_csv(run.unchanged_source())
    with pytest.raises(GatewrightError, match="expected a value of at least minimum 2 in the training part"):
        gw.Forecaster(minimum=2, context=14, steps=1).fit(frame, target="sales", time="none")
    with pytest.raises(GatewrightError, match=r"^minimum: expected a text"):
        gw.Forecaster(minimum={"sales": 0}, steps=1).fit(frame, target="sales", time="none")
    model = gw.Forecaster(transform="asinh", minimum=0, maximum=1000, context=14, hidden=4, steps=1, season="none")
    model.fit(frame, target="sales", time="none")
    assert model.model_.spec.encoder.transform == ("asinh",)
    assert model.model_.spec.head.minimum == (0.0,)
    assert model.model_.spec.head.maximum == (1000.0,)
