"""What a stream forecasts after its first rows: the intervals of a model by default options hold what they say."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from gatewright import Model, Stream
from gatewright.data.table import Series
from gatewright.spec import CellSpec
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.step_counters import POWERS, without_clocks
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.forecast.windows import absolute
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import resume, train
from tests.support.training_runs import FORECAST, quiet, train_in_process, weights, write_table

pytestmark = pytest.mark.slow

vega_datasets = pytest.importorskip("vega_datasets")

#: The run of README.
OPTIONS = Options(
    DataOptions(target=("temp_max",), past=("temp_min", "precipitation", "wind"), horizon=7),
    training=TrainingOptions(device="cpu"),
)


@pytest.fixture(scope="module")
def seattle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Series, int]:
    """A run on Seattle's weather, its series, and where the rows begin that it did not learn from."""
    folder = tmp_path_factory.mktemp("seattle")
    pl.read_csv(vega_datasets.local_data.seattle_weather.filepath).write_csv(folder / "seattle.csv")
    run, _ = train(folder / "seattle.csv", OPTIONS, run=folder / "run", console=quiet())
    data = series_data.read(folder / "seattle.csv", run.options().data)
    return run.path, data.table.series[0], data.parts[0].valid


def test_the_first_forecasts_are_as_sure_as_they_may_be(seattle: tuple[Path, Series, int]) -> None:
    """Streams begin on each day after the training part: of the next days 80% fall inside, give or take 8."""
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


def task(**sizes: Any) -> tuple[Model, ForecastTask]:
    """A model and its task, on an hourly wave."""
    torch.manual_seed(0)
    times = np.datetime64("2024-01-01T00", "us") + np.arange(300) * np.timedelta64(1, "h")
    wave = np.sin(np.arange(300) * 2 * np.pi / 24) + np.random.default_rng(0).normal(scale=0.1, size=300)
    table = pl.DataFrame({"time": times, "y": wave})
    options = registry.kind("forecast").resolve(
        Options(DataOptions(target=("y",), context=24, horizon=2), ModelOptions(**sizes))
    )
    with tempfile.TemporaryDirectory() as folder:
        table.write_parquet(Path(folder) / "wave.parquet")
        data = series_data.read(Path(folder) / "wave.parquet", options.data)
    spec, scaler = series_data.build(data, replace(options, data=data.options))
    model = Model(spec, scaler=scaler)
    return model, ForecastTask(model, data, 16, 0, Share(0, 1), torch.device("cpu"))


@pytest.mark.parametrize("sizes", [{"hidden": 20}, {"hidden": 24, "layers": 2}, {"hidden": 40, "proj": 18}])
def test_clocks_decay_whatever_is_read_and_learn_nothing(sizes: dict[str, int]) -> None:
    model, learning = task(**sizes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for step in range(3):
        loss = learning.loss(model, step)
        (loss.total / loss.predictions).backward()
        optimizer.step()
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())
    steps = np.arange(24)
    decays = np.array([0.01 ** (2 * power / 24) for power in POWERS])
    expected = np.tanh(np.column_stack([np.ones(24), decays ** steps[:, None]]))
    for scale in (0.0, 1.0, 100.0):
        x = scale * torch.randn(24, 5, model.spec.input_size)
        h = model.lstm(x)[0][..., -len(POWERS) - 1 :].detach().numpy()
        assert np.abs(h - expected[:, None]).max() < 1e-5


def values_of(cell: CellSpec, decays: np.ndarray, steps: int) -> np.ndarray:
    """The hidden states of the clocks by their recurrence: c = keep c + write, h = act(c)."""
    z, c, h, rows = cell.zoneout_cell, np.zeros(len(decays) + 1), np.zeros(len(decays) + 1), []
    act = {"tanh": np.tanh, "identity": lambda c: c, "hard_tanh": lambda c: np.clip(c, -1, 1)}[
        cell.output_activation
    ]
    size = min(1.0, 0.9 * cell.cell_clip) if cell.cell_clip else 1.0
    keep = np.maximum(np.array([0.0, *decays]), z)
    for _ in range(steps):
        c = keep * c + (1 - keep) * size
        h = cell.zoneout_hidden * h + (1 - cell.zoneout_hidden) * act(c)
        rows.append(h)
    return np.array(rows)


@pytest.mark.parametrize(
    "cell",
    [
        "peephole",
        "coupled",
        "input_gate=false gate_activation=hard_sigmoid candidate_activation=identity",
        "output_gate=false cell_clip=0.5 output_activation=hard_tanh candidate_activation=hard_tanh",
        "zoneout_cell=0.3 zoneout_hidden=0.2 peephole coupled",
        "hidden_dropout=0.4 weight_drop=0.3",
        "kind=slstm heads=2",
        "kind=slstm forget_gate_activation=exponential",
    ],
)
def test_clocks_of_other_cells_run_whatever_is_read_learn_nothing_and_add_nothing_late(cell: str) -> None:
    model, learning = task(hidden=24, cell=tuple(cell.split()))
    features = model.spec.lstm.cell.in_evaluation()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for step in range(3):
        loss = learning.loss(model, step)
        (loss.total / loss.predictions).backward()
        optimizer.step()
        optimizer.zero_grad()
    decays, steps = np.array([0.01 ** (2 * power / 24) for power in POWERS]), 24
    if features.is_slstm:
        expected = np.column_stack([np.ones(steps), decays ** np.arange(steps)[:, None]])
    else:
        expected = values_of(features, decays, steps)
    model.eval()
    n = len(POWERS) + 1
    for scale in (0.0, 1.0, 100.0):
        x = scale * torch.randn(steps, 5, model.spec.input_size)
        h = model.lstm(x)[0][..., -n:].detach().numpy()
        assert np.abs(h - expected[:, None]).max() < 1e-5

    learning.validate()
    assert model.head.weight[:, -n:].any()
    model.train()  # whatever random choices do, the clocks are at rest
    y, _ = model.lstm(torch.randn(120, 5, model.spec.input_size))
    added = (y[..., -n:] @ model.head.weight[:, -n:].T).detach()
    assert added[-1].abs().max() < 1e-5 * model.head.weight[:, -n:].abs().max()
    model.eval()
    y, _ = model.lstm(torch.randn(120, 5, model.spec.input_size))
    added = (y[..., -n:] @ model.head.weight[:, -n:].T).detach()
    assert added[0].abs().max() > 0.01
    assert added[-1].abs().max() < 1e-5


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("layer_norm peephole", "a cell with layer_norm"),
        ("forget_gate=false candidate_dropout=0.1", "a cell with forget_gate=false, candidate_dropout=0.1"),
        ("kind=slstm weight_drop=0.1", "a cell with weight_drop=0.1"),
        ("kind=slstm heads=8", "heads of fewer than 4 units"),
    ],
)
def test_cells_without_clocks_are_named(cell: str, reason: str) -> None:
    model, learning = task(hidden=24, cell=tuple(cell.split()))
    assert without_clocks(model.spec.lstm) == reason
    assert learning._first_steps.clocks == 0


def test_the_head_is_fitted_where_a_stream_begins_and_adds_nothing_later() -> None:
    model, learning = task(hidden=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(150):
        optimizer.zero_grad()
        loss = learning.loss(model, step)
        (loss.total / loss.predictions).backward()
        optimizer.step()
    without = {name: value.clone() for name, value in model.state_dict().items()}
    learning.validate()
    fitted = model.state_dict()
    assert torch.equal(fitted["head.weight"][:, :-3], without["head.weight"][:, :-3])
    assert not torch.equal(fitted["head.weight"][:, -3:], without["head.weight"][:, -3:])
    assert all(torch.equal(value, without[name]) for name, value in fitted.items() if name != "head.weight")
    inputs, level, target, *_ = learning._windows.batch(learning._train, 24)
    with torch.no_grad():
        forecast = absolute(model, model.eval()(inputs).y, level)
        model.load_state_dict(without)
        bare = absolute(model, model(inputs).y, level)
    inside = ((forecast[..., 0] <= target) & (target <= forecast[..., -1])).float().mean(dim=(1, 2, 3))
    assert (inside[:6] - 0.8).abs().max() < 0.08, inside
    assert (forecast[-1] - bare[-1]).abs().max() < 1e-3


def test_few_units_have_no_clocks_and_say_so() -> None:
    model, learning = task(hidden=15)
    weights = model.state_dict()["head.weight"].clone()
    learning.validate()
    assert torch.equal(model.state_dict()["head.weight"], weights)
    assert "intervals are too narrow after the first rows of a stream: fewer than 16 units" in learning.summary
    assert "too narrow" not in task(hidden=16)[1].summary


def test_a_training_with_clocks_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    source = write_table(tmp_path / "load.csv")
    options = replace(FORECAST, model=ModelOptions(hidden=20, layers=2, dropout=0.2))
    whole, _ = train(source, options, run=tmp_path / "whole", console=quiet())
    process = train_in_process(source, tmp_path / "run", options, kill_in_write=30)
    process.join()
    assert process.exitcode != 0
    resume(tmp_path / "run", console=quiet())
    assert weights(tmp_path / "run") == weights(whole.path)
