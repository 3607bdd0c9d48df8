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
from gatewright.tasks.forecast import ridge
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.plain_rnn import PlainModel

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


def samples(seasons: int, rows: int = 60) -> ridge.Samples:
    """What follows depends on the differences and on the hidden states; some of it is missing."""
    rng = np.random.default_rng(seasons)
    hidden = rng.normal(size=(rows, 5)) * [1, 2, 0.1, 1, 1] + 0.5
    differences = rng.normal(size=(rows, seasons, 3, 2)) + 0.3
    rest = hidden @ rng.normal(size=(5, 6)) * 0.3 + rng.normal(size=(rows, 6)) + 1
    rest = rest.reshape(rows, 3, 2) + differences.sum(axis=1) * 0.7
    rest[rng.random(rest.shape) < 0.1] = np.nan
    arrays = [torch.tensor(array) for array in (rest, hidden, differences)]
    return ridge.Samples(arrays[0], arrays[1], arrays[2] if seasons else None)


def ridge_of(X: Any, y: Any, penalties: Any) -> Any:
    """Weights and intercept of a ridge regression, by least squares on added rows."""
    centred = X - X.mean(axis=0)
    added = np.vstack([centred, np.diag(np.sqrt(penalties))])
    weights = np.linalg.lstsq(added, np.concatenate([y - y.mean(), np.zeros(len(penalties))]), rcond=None)[0]
    return weights, y.mean() - X.mean(axis=0) @ weights


@pytest.mark.parametrize("seasons", [0, 1, 2])
@pytest.mark.parametrize("penalty", [0.01, 1.0, float("inf")])
def test_a_readout_is_a_ridge_regression(seasons: int, penalty: float) -> None:
    given = samples(seasons)
    [readout] = ridge._readouts(given, [penalty])
    residuals = readout.residuals(given).numpy()
    rest, hidden = given.rest.numpy(), given.hidden.numpy()
    size = np.sqrt((hidden**2).mean(axis=0))
    for step, target in np.ndindex(3, 2):
        y, x = rest[:, step, target], np.zeros((len(rest), 0))
        if given.differences is not None:
            x = given.differences.numpy()[:, :, step, target]
        seen = np.isfinite(y)
        first, intercept = np.zeros(seasons), y[seen].mean()
        if seasons:
            variance = ((x[seen] - x[seen].mean(axis=0)) ** 2).sum(axis=0).mean()
            first, intercept = ridge_of(x[seen], y[seen], [ridge.RIDGE * variance + 1e-9 * seen.sum()] * seasons)
        # What is missing counts as what the seasons say.
        left = np.where(seen, y - x @ first - intercept, 0.0)
        X = np.hstack([x, hidden / size])
        variance = ((x - x.mean(axis=0)) ** 2).sum(axis=0).mean() if seasons else 0.0
        of_seasons = [ridge.RIDGE * variance + 1e-9 * len(y)] * seasons
        more, _ = ridge_of(X, left, of_seasons + [min(penalty, 1e12) * len(y)] * 5)
        weights = first + more[:seasons]
        np.testing.assert_allclose(readout.head[step, target], more[seasons:] / size, atol=1e-9)
        if readout.seasons is not None:
            np.testing.assert_allclose(readout.seasons[:, step, target], weights, atol=1e-9)
        forecast = x @ weights + hidden @ readout.head[step, target].numpy()
        np.testing.assert_allclose(
            residuals[seen, step, target], (y - forecast)[seen] - (y - forecast)[seen].mean()
        )


def test_the_largest_penalty_within_a_standard_error_is_chosen() -> None:
    given = samples(1)
    fold = np.arange(60) * ridge.FOLDS // 60
    penalties = [*ridge.PENALTIES]
    unseen = np.empty((len(penalties), 60, 3, 2))
    for number in range(ridge.FOLDS):
        own = torch.tensor(fold == number)
        for place, readout in enumerate(ridge._readouts(given.of(~own), penalties)):
            unseen[place, fold == number] = readout.residuals(given.of(own))
    errors = np.array([[np.nanmean(abs(unseen[place, fold == number])) for place in range(len(penalties))]
                       for number in range(ridge.FOLDS)])  # fmt: skip
    excess = errors - errors[:, [errors.mean(axis=0).argmin()]]
    within = excess.mean(axis=0) <= excess.std(axis=0, ddof=1) / np.sqrt(ridge.FOLDS)
    chosen = int(np.flatnonzero(within)[-1])
    assert 0 < chosen < len(penalties) - 1
    (free, residuals), (floored, _) = ridge.fitted(given, (0.0, 10.0))
    np.testing.assert_array_equal(free.head, next(ridge._readouts(given, penalties[chosen : chosen + 1])).head)
    np.testing.assert_array_equal(residuals, unseen[chosen])
    assert floored.head.abs().sum() < 0.5 * free.head.abs().sum()


def test_a_start_forecasts_by_the_readout_and_quantiles_of_its_residuals(tmp_path: Path) -> None:
    kind, data, options = prepared(tmp_path, season=("6",))
    torch.manual_seed(0)
    model = kind.build(data, options)
    task = kind.task(model, data, options, SHARE, CPU)
    for forecasting in (True, False):
        task.start(forecasting=forecasting)
        readout, residuals = task._start._best if forecasting else task._start._penalised
        # Windows whose last ten steps follow one another.
        batch = task._windows.batch(task._train[::10], 10)
        y = model.eval()(batch.inputs, last=10, differences=batch.differences).y.transpose(0, 1).flatten(0, 1)
        rest = (batch.target - batch.level[:, :, None]).transpose(0, 1).flatten(0, 1)
        expected = np.nanquantile(residuals.numpy(), [0.1, 0.5, 0.9], axis=0).transpose(1, 2, 0)
        seen = rest.isfinite()
        states = model.lstm(batch.inputs)[0].detach()[-10:].transpose(0, 1).flatten(0, 1).double()[:, : 16 - 4]
        given = ridge.Samples(rest.double(), states, batch.differences.transpose(0, 1).flatten(0, 1).double())
        found = (y.detach() - rest[..., None])[seen]
        wanted = (-readout.residuals(given)[..., None] + torch.tensor(expected))[seen]
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_intervals_hold_their_share_before_the_first_step(tmp_path: Path) -> None:
    kind, data, options = prepared(tmp_path, season=("6",))
    model = kind.build(data, options)
    task = kind.task(model, data, options, SHARE, CPU)
    task.start(forecasting=True)
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


def test_a_plain_rnn_starts_from_the_same_data(tmp_path: Path) -> None:
    kind, data, options = prepared(tmp_path, season=("6",))
    model: Model = kind.build(data, options)
    task = kind.task(model, data, options, SHARE, CPU)
    plain = PlainModel(model)
    task.start_peer(plain, lambda x: plain.hidden(x)[0])
    batch = task._windows.batch(task._train)
    target = (batch.target - batch.level[:, :, None])[0]
    lost = [
        float(
            (
                network.requires_grad_(False)(batch.inputs, last=1, differences=batch.differences).y[0, ..., 1]
                - target
            )
            .abs()
            .nanmean()
        )
        for network in (model.eval(), plain)
    ]
    assert max(lost) < 0.6 * float(target.abs().nanmean())
    assert abs(lost[0] - lost[1]) < 0.1 * lost[0]
    assert plain.season is not None
    assert plain.season.weight is not model.season.weight
