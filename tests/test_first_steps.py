"""What a stream forecasts after its first rows: the intervals of a model by default options hold what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gatewright import Stream
from gatewright.data.table import Series
from gatewright.train import forecasting
from gatewright.train.options import DataOptions, Options, TrainingOptions
from gatewright.train.start import train
from tests.training_runs import quiet

vega_datasets = pytest.importorskip("vega_datasets")

#: The run of README.
OPTIONS = Options(
    DataOptions(target=("temp_max",), past=("temp_min", "precipitation", "wind"), horizon=7),
    training=TrainingOptions(device="cpu"),
)


@pytest.fixture(scope="module")
def seattle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Series, int]:
    """A run on Seattle's weather, its series, and where the test part begins."""
    folder = tmp_path_factory.mktemp("seattle")
    pl.read_csv(vega_datasets.local_data.seattle_weather.filepath).write_csv(folder / "seattle.csv")
    run, _ = train(folder / "seattle.csv", OPTIONS, run=folder / "run", console=quiet())
    data = forecasting.read(folder / "seattle.csv", run.options().data)
    return run.path, data.table.series[0], data.parts[0].test


def test_the_first_forecasts_are_as_sure_as_they_may_be(seattle: tuple[Path, Series, int]) -> None:
    """Of the next day, for streams that begin on each day of the test part: 80% fall inside, give or take 8."""
    path, series, first = seattle
    steps = 40
    starts = np.arange(first, len(series.values) - steps)
    assert series.times is not None
    stream = Stream.load(path, sessions=len(starts))
    assert stream.context == 32
    inside = {}
    for step in range(steps):
        y = stream.step(series.values[starts + step], time=series.times[starts + step])
        low, high = y[:, 0, 0, 0], y[:, 0, 0, -1]
        came = series.values[starts + step + 1, 0]
        inside[step + 1] = float(((low <= came) & (came <= high)).mean())
    assert stream.steps_read(3) == steps
    for rows in (1, 3, 6, 12, 32, 40):
        assert abs(inside[rows] - 0.8) <= 0.08, inside
