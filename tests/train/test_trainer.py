"""The training loop: what it learns, when it stops, and what it says when a number is not finite."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

import gatewright
from gatewright.errors import GatewrightError, NonFiniteError
from gatewright.nn.model import Model, load
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.language import dataset as text_data
from gatewright.tasks.language.task import LanguageTask
from gatewright.tasks.options import Options, TrainingOptions
from gatewright.tasks.settings import TrainingSettings
from gatewright.train import nonfinite, optimizer
from gatewright.train.launch import resume, train
from tests.support.forks import TRAINING, fork_server
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, weights, write_table, write_text

pytestmark = pytest.mark.slow


def told(options: Options, **training) -> Options:
    return replace(options, training=replace(options.training, **training))


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("write", "options", "share"),
    [(write_table, FORECAST, 0.8), (write_text, LANGUAGE, 0.65)],
    ids=["table", "text"],
)
def test_training_lowers_the_loss(tmp_path, write, options, share):
    source = write(tmp_path / ("load.csv" if options is FORECAST else "plays.txt"))
    if options is FORECAST:
        options = replace(options, model=replace(options.model, start="zero"))
    run, progress = train(
        source, told(options, steps=120, lr=0.02, validate_every=40), run=tmp_path / "run", console=quiet()
    )
    valid = [line["valid"] for line in lines(run.path) if "valid" in line]
    first = next(line["train"] for line in lines(run.path) if line["step"])
    assert valid[-1] < share * first
    assert progress.best == min(valid)
    assert progress.finished == "steps"


def test_the_best_model_is_kept_and_patience_ends_the_run(tmp_path):
    source = write_table(tmp_path / "load.csv")
    options = told(FORECAST, steps=60, validate_every=2, patience=3, lr=0.5, schedule="constant", clip=0.0,
                   calibrate="none")  # fmt: skip
    run, progress = train(source, options, run=tmp_path / "run", console=quiet())
    scores = {line["step"]: line["valid"] for line in lines(run.path) if "valid" in line}
    assert progress.finished == "patience"
    assert progress.step == progress.best_step + 3 * 2
    assert scores[progress.best_step] == min(scores.values()) == progress.best
    kept = weights(run.path)
    assert resume(run.path, console=quiet())[1].finished == "patience"
    assert weights(run.path) == kept
    assert resume(run.path, Options(training=TrainingOptions(patience=4)), console=quiet())[1].step > progress.step
    data = series_data.read(source, run.options().data)
    share = Share(0, 1)
    task = ForecastTask(load(run.model), data, 8, 0, share, torch.device("cpu"))
    assert task.validate() == progress.best


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path):
    source = write_text(tmp_path / "plays.txt")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(source, told(LANGUAGE, steps=5, seed=seed), run=tmp_path / name, console=quiet())
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_learning_rate_follows_the_schedule():
    defaults = TrainingSettings.of(registry.kind("forecast").defaults.training)
    linear = replace(defaults, lr=1.0, warmup=10, schedule="linear")
    rates = [optimizer.learning_rate(step, 100, linear) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 * (1 - step / 100) for step in range(10)])
    assert rates[10:] == pytest.approx([1 - step / 100 for step in range(10, 100)])
    constant = replace(defaults, lr=1.0, warmup=0, schedule="constant")
    assert {optimizer.learning_rate(step, 100, constant) for step in range(100)} == {1.0}


def test_the_order_of_windows_takes_each_once_an_epoch(tmp_path):
    data = series_data.read(
        write_table(tmp_path / "load.csv"), FORECAST.over(registry.kind("forecast").defaults).data
    )
    spec, scaler = series_data.build(data, FORECAST.over(registry.kind("forecast").defaults))
    model = Model(spec, scaler=scaler)
    tasks = [ForecastTask(model, data, 8, 0, Share(rank, 2), torch.device("cpu")) for rank in (0, 1)]
    steps = tasks[0].steps_per_epoch
    epochs = [
        np.concatenate([task._origins(step) for step in range(first, first + steps) for task in tasks])
        for first in (0, steps)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(set(epochs[0]))
    assert list(epochs[0]) != list(epochs[1])
    without = ForecastTask(model, data, 8, 0, Share(0, 9), torch.device("cpu"))  # a window of the eight
    assert without.loss(model, 0).predictions == 0
    assert without.loss(model, 0).total.item() == 0


def forecaster(tmp_path: Path, **model) -> ForecastTask:
    options = replace(FORECAST, model=replace(FORECAST.model, **model)).over(registry.kind("forecast").defaults)
    data = series_data.read(write_table(tmp_path / "load.csv"), options.data)
    spec, scaler = series_data.build(data, options)
    built = Model(spec, scaler=scaler)
    return ForecastTask(built, data, 8, 0, Share(0, 1), torch.device("cpu"))


@pytest.mark.parametrize(
    ("parameter", "row", "place"),
    [
        ("lstm.weight_hh_l0", 8 + 2, "first in the forget gate of layer 0, at step 1 of the sequence"),
        ("lstm.weight_ih_l1", 16 + 5, "first in the candidate of layer 1, at step 1 of the sequence"),
        ("lstm.bias_ih_l1", 24 + 7, "first in the output gate of layer 1, at step 1 of the sequence"),
        ("head.bias", 4, "first in the output of the head"),
    ],
)
def test_a_nan_is_traced_to_layer_and_gate(tmp_path, parameter, row, place):
    task = forecaster(tmp_path)
    with torch.no_grad():
        task.model.get_parameter(parameter)[row] = float("nan")
    message = str(nonfinite.error(task, 4, "loss", float("nan"), last_good=2))
    assert message.startswith("loss at step 5: expected a finite number, got nan")
    assert f"of {parameter} are not finite" in message
    assert place in message
    assert "in rows 0, 1, 2, 3, 4 and 3 more of the batch (the table up to 2024-01-" in message
    assert "the last good checkpoint, of step 2, is kept" in message


def test_a_nan_is_traced_to_rows_and_step(tmp_path):
    """Only row 3 of the batch reads the bad value, at step 7 of its window."""
    task = forecaster(tmp_path)
    inputs, _ = task.inputs(0)
    inputs[6, 3, 0] = torch.inf
    task.inputs = lambda _: (inputs, None)  # type: ignore[method-assign]
    assert "first in the input, in rows 3 of the batch (the table up to 2024" in str(
        nonfinite.error(task, 0, "loss", float("inf"), last_good=0)
    )
    inputs[6, 3, 0] = 3e38  # finite, but not once it is multiplied
    with torch.no_grad():
        task.model.lstm.weight_ih_l0[:, 0] = 0.0
        task.model.lstm.weight_ih_l0[8:10, 0] = torch.tensor([100.0, -100.0])
        task.model.lstm.weight_hh_l0[:] = 0.0
    assert "not in the forward pass" in str(nonfinite.error(task, 0, "loss", float("inf"), last_good=0))


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_run_that_blows_up_keeps_its_last_good_checkpoint(tmp_path, clip):
    source = write_table(tmp_path / "load.csv")
    options = told(FORECAST, lr=1e38, warmup=0, clip=clip, checkpoint_every=1, validate_every=30)
    with pytest.raises(NonFiniteError) as caught:
        train(source, options, run=tmp_path / "run", console=quiet())
    message = str(caught.value)
    kept = weights(tmp_path / "run")
    assert all(np.isfinite(np.frombuffer(value, np.float32)).all() for value in kept.values())
    step = int(message.split("at step ")[1].split(":")[0])
    assert f"the last good checkpoint, of step {step - 1}, is kept" in message
    assert "of the batch (the table up to" in message or "the gradients of" in message


def test_too_few_rows_says_how_many_are_needed(tmp_path):
    source = write_table(tmp_path / "load.csv", rows=180)
    with pytest.raises(GatewrightError, match=r"training part: expected at least 27 rows .*, got 20 rows"):
        train(source, FORECAST, run=tmp_path / "run", console=quiet())
    assert not (tmp_path / "run").exists()


def learned_the_same(one: Path, two: Path) -> None:
    """The batch is shared out, so the sums are the same up to the order of additions."""
    ours, theirs = weights(one), weights(two)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if key.startswith(("model.", "carried.")):
            expected, got = np.frombuffer(value, np.float32), np.frombuffer(theirs[key], np.float32)
            # Adam divides by small gradients, so a rounding can move a single weight visibly.
            assert np.abs(got - expected).mean() < 2e-5
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)


def shared_out(options: Options) -> Options:
    return replace(
        told(options, steps=8, validate_every=4, device="auto"), model=replace(options.model, dropout=0.0)
    )


#: Two launches by torchrun. Their processes are forks: a start of Python takes longer than a training, as does the
#: import of torch._dynamo, which the module for several processes needs.
TORCHRUN = """
import sys, torch._dynamo
from torch.distributed.run import main

for source, folder in zip(sys.argv[2::2], sys.argv[3::2]):
    # After --, or torchrun takes --run for an option of its own.
    command = ["--", "train", source, "--config", f"{folder}/one/config.toml", "--run", f"{folder}/two"]
    main(["--nproc-per-node", "2", "--standalone", "--start-method", "fork", "--run-path", sys.argv[1], *command])
"""


def test_two_processes_of_torchrun_learn_what_one_does(tmp_path):
    arguments = [Path(gatewright.__file__).with_name("__main__.py")]
    for write, name, options in ((write_table, "load.csv", FORECAST), (write_text, "plays.txt", LANGUAGE)):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        source = write(tmp_path / name)
        train(source, shared_out(options), run=folder / "one", console=quiet())
        arguments += [source, folder]
    done = fork_server(*TRAINING).run(["-c", TORCHRUN, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("8 steps,") == done.stdout.count("next: ") == 2
    for folder in arguments[2::2]:
        learned_the_same(folder / "one", folder / "two")


def test_machines_that_do_not_share_the_directory_of_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(Accelerator, "is_main_process", property(lambda _: False))
    with pytest.raises(
        GatewrightError, match=r"--run: expected a directory that all machines .* share, got .*/run,"
    ):
        train(write_table(tmp_path / "load.csv"), FORECAST, run=tmp_path / "run", console=quiet())


def test_each_process_has_a_row_of_a_whole_batch(monkeypatch, tmp_path):
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda _: 65))
    with pytest.raises(GatewrightError, match=r"--batch: expected at least the number of processes, 65, got 64"):
        train(write_table(tmp_path / "load.csv"), console=quiet())


def test_streams_go_on_or_begin_afresh(tmp_path):
    """Run the chunks by hand: a state is the one it was, or zero in about the share asked for."""
    options = replace(LANGUAGE, data=replace(LANGUAGE.data, reset=0.3)).over(registry.kind("language").defaults)
    data = text_data.read(write_text(tmp_path / "plays.txt"), options.data)
    model = Model(text_data.build(data, options), vocabulary=data.vocabulary).eval()
    whole = LanguageTask(model, data, options, Share(0, 1), torch.device("cpu"))
    halves = [LanguageTask(model, data, options, Share(rank, 2), torch.device("cpu")) for rank in (0, 1)]
    afresh = []
    for step in range(whole.steps_per_epoch + 2):
        carried = whole.carried
        whole.loss(model, step)
        _, state = whole.inputs(step)
        for half in halves:
            half.loss(model, step)
        if step % whole.steps_per_epoch == 0:
            assert state is None
            continue
        zero = state[1].abs().amax(dim=(0, 2)) == 0
        afresh.append(zero.float().mean().item())
        for part, before in zip(state, carried, strict=True):
            assert torch.equal(part[:, ~zero], before[:, ~zero])
            assert torch.equal(part[:, zero], torch.zeros_like(part[:, zero]))
        shared = torch.cat([half.inputs(step)[1][1] for half in halves], dim=1)
        torch.testing.assert_close(shared, state[1])
    assert 0.2 < np.mean(afresh) < 0.4
