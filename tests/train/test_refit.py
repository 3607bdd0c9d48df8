"""A refit is the training of the best model once more, on the validation part too; it goes on to the same bits."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from gatewright.errors import GatewrightError
from gatewright.files import model_file
from gatewright.nn.model import load
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.forecast.calibration import calibration_of, folded
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.options import Options, TrainingOptions
from gatewright.tasks.settings import TrainingSettings
from gatewright.train.callback import Callback
from gatewright.train.launch import resume, train
from gatewright.train.optimizer import learning_rate, new_optimizer, set_rate
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, weights, write_table, write_text

pytestmark = pytest.mark.slow

STEPS, MODEL = 16, "model.safetensors"
OPTIONS = replace(
    FORECAST,
    model=replace(FORECAST.model, layers=1, dropout=0.0),
    training=replace(FORECAST.training, steps=STEPS, validate_every=4, refit=True),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("refit") / "table.csv")


@pytest.fixture(scope="module")
def refitted(source: Path) -> tuple[Run, int, str]:
    """A run, the step of its best model, and what it printed."""
    printed = io.StringIO()
    run, progress = train(
        source, OPTIONS, run=source.parent / "refitted", console=Console(file=printed, width=120)
    )
    return run, progress.best_step, printed.getvalue()


def by_hand(run: Run, steps: int) -> model_file.ModelFile:
    """Train on the rows before the test part in a plain loop."""
    kind, options, data = registry.kind("forecast"), run.options(), run.data()
    settings = TrainingSettings.of(options.training)
    torch.manual_seed(settings.seed)
    model = kind.build(data, options)
    parts = tuple(replace(part, valid=part.test) for part in data.parts)
    task = kind.task(model, replace(data, parts=parts), options, Share(0, 1), torch.device("cpu"))
    optimizer = new_optimizer(model, settings)
    model.train()
    for step in range(steps):
        set_rate(optimizer, learning_rate(step, STEPS, settings))
        loss = task.loss(model, step)
        optimizer.zero_grad()
        (loss.total / loss.predictions).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
    return model.file()


def test_a_refit_learns_the_validation_part_for_the_steps_of_the_best_model(
    source: Path, refitted: tuple[Run, int, str]
) -> None:
    run, best_step, printed = refitted
    plain = replace(OPTIONS, training=replace(OPTIONS.training, refit=False))
    before, _ = train(source, plain, run=source.parent / "plain", console=quiet())
    first, file = model_file.read(before.model), model_file.read(run.model)
    assert f"refit: a new model learns training and validation part, {best_step} steps" in printed
    assert file.table is not None
    assert first.table is not None
    assert (file.scaler, file.spec) == (first.scaler, first.spec)
    assert replace(file.table, widths=first.table.widths) == first.table
    assert len(file.table.correlation) == 3  # of three steps ahead
    found = calibration_of(file.spec, file.table)
    assert found is not None
    expected = folded(by_hand(run, best_step), found)
    for name, value in expected.tensors.items():
        np.testing.assert_array_equal(file.tensors[name], value, err_msg=name)
        assert name == "season.weight" or not np.array_equal(file.tensors[name], first.tensors[name])
    # Where the validation part was, the intervals are as wide as those of the calibrated model.
    widths = []
    for model in (load(before.model), load(run.model)):
        task = ForecastTask(model, before.data(), 8, 0, Share(0, 1), torch.device("cpu"))
        _, _, forecasts = task.forecast(10**6, training=False)
        assert len(forecasts) == 78
        widths.append(np.log(forecasts[..., -1] - forecasts[..., 0]).mean(axis=0))
    np.testing.assert_allclose(widths[1], widths[0], rtol=1e-5)
    lines = [line for line in run.metrics.read_text().splitlines() if "valid" in line]
    assert len(lines) == 1 + STEPS / 4


class Break(Callback):
    """Fails at a step of the refit."""

    def __init__(self, at: int) -> None:
        self.at, self.refits = at, False

    def note(self, text: str) -> None:
        self.refits |= text.startswith("refit")

    def step(self, step: int, loss: float, rate: float) -> None:  # noqa: ARG002
        if self.refits and step == self.at:
            raise OSError("no space")


@pytest.mark.parametrize("at", [1, 3])
def test_a_refit_that_was_broken_goes_on_to_the_same_bits(
    at: int, source: Path, refitted: tuple[Run, int, str], tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="no space"):
        train(source, OPTIONS, run=tmp_path / "run", callbacks=[Break(at)])
    before = weights(tmp_path / "run", MODEL)
    resume(tmp_path / "run")
    assert weights(tmp_path / "run", MODEL) == weights(refitted[0].path, MODEL) != before
    tables = [model_file.read(path / MODEL).table for path in (tmp_path / "run", refitted[0].path)]
    assert tables[0] == tables[1]
    resume(tmp_path / "run")  # nothing is left to do
    assert weights(tmp_path / "run", MODEL) == weights(refitted[0].path, MODEL)


def test_a_finished_run_can_be_refitted(source: Path, refitted: tuple[Run, int, str], tmp_path: Path) -> None:
    plain = replace(OPTIONS, training=replace(OPTIONS.training, refit=False))
    train(source, plain, run=tmp_path / "run")
    resume(tmp_path / "run", Options(training=TrainingOptions(refit=True)))
    assert weights(tmp_path / "run", MODEL) == weights(refitted[0].path, MODEL)
    assert len(list((tmp_path / "run").glob("refit-*.safetensors"))) == 1


def test_a_text_is_not_refitted(tmp_path: Path) -> None:
    options = replace(LANGUAGE, training=replace(LANGUAGE.training, refit=True))
    with pytest.raises(GatewrightError, match="--refit: expected no such option for a language model"):
        train(write_text(tmp_path / "a.txt"), options, run=tmp_path / "run")


def test_a_run_without_its_refit_has_its_best_model_again(source: Path, tmp_path: Path) -> None:
    few = replace(OPTIONS, training=replace(OPTIONS.training, steps=8, validate_every=2, schedule="constant"))
    run, _ = train(source, few, run=tmp_path / "run", console=quiet())
    plain, _ = train(
        source,
        replace(few, training=replace(few.training, refit=False)),
        run=tmp_path / "plain",
        console=quiet(),
    )
    refitted = model_file.read(run.model)
    resume(run.path, Options(training=TrainingOptions(refit=False)), console=quiet())
    assert weights(run.path) == weights(plain.path)
    assert not run.best.exists()
    # From there, and from a refit that was lost before its checkpoint, a refit comes to the same bits.
    resume(run.path, Options(training=TrainingOptions(refit=True)), console=quiet())
    assert model_file.read(run.model).fingerprint == refitted.fingerprint
    for path in run.path.glob("refit-*.safetensors"):
        path.unlink()
    resume(run.path, Options(training=TrainingOptions(refit=True)), console=quiet())
    assert model_file.read(run.model).fingerprint == refitted.fingerprint


def test_a_refit_takes_the_learning_rates_of_the_steps_of_the_run(source: Path, tmp_path: Path) -> None:
    epochs = replace(OPTIONS, training=replace(OPTIONS.training, steps=None, epochs=1, batch=32))
    run, progress = train(source, epochs, run=tmp_path / "run", console=quiet())
    # An epoch of the refit would have three steps more, and the learning rate would fall more slowly.
    assert run.refit(progress.best_step, progress.step).exists()
