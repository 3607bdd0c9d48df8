"""The start of a forecaster from its data, against a regression and quantiles in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright.nn.model import Model, load
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.forecast import start
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.plain_rnn import PlainModel
from tests.support.seasons import differences

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SHARE = Share(0, 1)


def table(path: Path, rows: int = 260) -> Path:
    rng = np.random.default_rng(0)
    season = rng.normal(size=(6, 2)) * 3
    values = season[np.arange(rows) % 6] + rng.normal(size=(rows, 2)) + [50, -7]
    values[rng.random(values.shape) < 0.1] = np.nan
    lines = [",".join("" if value != value else f"{value:.6f}" for value in row) for row in values]
    path.write_text("\n".join(["a,b", *lines]) + "\n")
    return path


def prepared(folder: Path, **data: Any) -> tuple[Any, Any, Options]:
    """The kind, its data and the options of a run on the table."""
    kind = registry.kind("forecast")
    told = {"target": ("a", "b"), "time": "none", "context": 20, "horizon": 8, "valid": "40", "test": "40"}
    options = kind.resolve(
        Options(DataOptions(**{**told, **data}), ModelOptions(hidden=16), TrainingOptions(batch=8))
    )
    read = kind.read(table(folder / "table.csv"), options.data)
    return kind, read, kind.complete(options, read)


@pytest.mark.parametrize("season", [("none",), ("6",), ("3", "6")])
def test_weights_and_bias_are_those_of_a_regression_and_its_rest(season: tuple[str, ...], tmp_path: Path) -> None:
    kind, data, options = prepared(tmp_path, season=season)
    torch.manual_seed(0)
    model = kind.build(data, options)
    kind.task(model, data, options, SHARE, CPU)
    encoder, scaler = model.spec.encoder, model.scaler
    rows = (data.table.series[0].values - scaler.mean) / np.array(scaler.scale)
    # The ten last steps of each window make a forecast, and have the row one season before them.
    fitted = [row for origin in range(19, data.parts[0].valid - 8, 10) for row in range(origin - 9, origin + 1)]
    for target in range(2):
        column = rows[:, target]
        for ahead in range(1, 9):
            y, x = [], []
            for row in fitted:
                seen = [value for value in column[: row + 1] if value == value]
                if column[row + ahead] == column[row + ahead]:
                    y.append(column[row + ahead] - seen[-1])
                    x.append(differences(rows[: row + 1], row, encoder.seasons, 8)[:, ahead - 1, target]
                             if encoder.seasons else [])  # fmt: skip
            rest = np.array(y)
            if encoder.seasons:
                X = np.array(x)
                square = X.T @ X
                ridge = start.RIDGE * np.diag(square).mean() * np.eye(len(square))
                weight = np.linalg.solve(square + ridge, X.T @ rest)
                found = model.season.weight[:, ahead - 1, target].detach().numpy()
                np.testing.assert_allclose(found, weight, atol=0.02)
                rest = rest - X @ found
            bias = model.head.bias.detach().view(8, 2, 3)[ahead - 1, target].numpy()
            np.testing.assert_allclose(bias, np.quantile(rest, [0.1, 0.5, 0.9]), atol=0.06)
    if season == ("6",):
        assert (model.season.weight[:, :5] > 0.5).all()


def test_intervals_hold_their_share_before_the_first_step(tmp_path: Path) -> None:
    kind, data, options = prepared(tmp_path, season=("6",))
    model = kind.build(data, options)
    task = kind.task(model, data, options, SHARE, CPU)
    batch = task._windows.batch(task._train)
    y = model.eval()(batch.inputs, last=1, differences=batch.differences).y[0] + batch.level[0][:, None, :, None]
    seen = batch.target[0].isfinite()
    inside = ((y[..., 0] <= batch.target[0]) & (batch.target[0] <= y[..., 2]))[seen].float().mean()
    assert abs(float(inside) - 0.8) < 0.05


def test_zero_starts_from_the_last_value_and_a_trained_model_stays_as_it_is(tmp_path: Path) -> None:
    kind, data, options = prepared(tmp_path, season=("6",))
    zero = kind.resolve(Options(options.data, ModelOptions(hidden=16, start="zero"), options.training))
    model = kind.build(data, zero)
    kind.task(model, data, zero, SHARE, CPU)
    assert not model.head.bias.any()
    assert not model.season.weight.any()
    torch.nn.init.normal_(model.head.bias)
    torch.nn.init.normal_(model.season.weight)
    model.save(tmp_path / "model.safetensors")
    trained = load(tmp_path / "model.safetensors")
    kind.task(trained, data, options, SHARE, CPU)
    assert torch.equal(trained.head.bias, model.head.bias)
    assert torch.equal(trained.season.weight, model.season.weight)


def test_a_plain_rnn_starts_from_the_same(tmp_path: Path) -> None:
    kind, data, options = prepared(tmp_path, season=("6",))
    model: Model = kind.build(data, options)
    kind.task(model, data, options, SHARE, CPU)
    plain = PlainModel(model)
    plain.start_like(model)
    assert torch.equal(plain.head.bias, model.head.bias)
    assert plain.season is not None
    assert model.season is not None
    assert torch.equal(plain.season.weight, model.season.weight)
    assert plain.season.weight is not model.season.weight
