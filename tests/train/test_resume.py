"""A run that was killed or stopped ends with the same bits as one that never was."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gatewright.errors import GatewrightError
from gatewright.tasks.options import Options, TrainingOptions
from gatewright.train.launch import resume, train
from tests.support.training_runs import (
    FORECAST,
    LANGUAGE,
    command_in_process,
    cpu_of,
    quiet,
    train_in_process,
    weights,
    write_table,
    write_text,
)

pytestmark = pytest.mark.slow


def few_steps(options: Options) -> Options:
    """Return options of a run of three validations, whose first epoch ends before the last one."""
    return replace(options, training=replace(options.training, steps=15, batch=20, validate_every=5))


KINDS = {
    "forecast": (write_table, "load.csv", few_steps(FORECAST)),
    "language": (write_text, "plays.txt", few_steps(LANGUAGE)),
}


@pytest.fixture(scope="module", params=KINDS)
def undisturbed(request, tmp_path_factory):
    """Source, options and the run of a training that nothing happened to, in a process of its own."""
    write, name, options = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    source = write(folder / name)
    process = train_in_process(source, folder / "undisturbed", options)
    process.join()
    assert process.exitcode == 0
    return source, options, folder / "undisturbed"


def same_as(run: Path, other: Path) -> None:
    assert weights(run) == weights(other)
    assert (run / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert figures(run) == figures(other)
    assert not [path for path in run.iterdir() if path.name.endswith(".partial")]


def figures(run: Path) -> list[dict[str, float]]:
    """Lines of metrics, without what the clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "steps_per_second")
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]


def finish(source: Path, run: Path, options: Options) -> None:
    process = train_in_process(source, run, options)
    process.join()
    assert process.exitcode == 0


def test_killed_at_random_moments(undisturbed, tmp_path):
    source, options, expected = undisturbed
    moments = random.Random(7)
    kills = 0
    while kills < 6:
        moment = moments.uniform(0.05, 0.6) * cpu_of(expected)
        process = train_in_process(source, tmp_path / "run", options, cpu_seconds=moment)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGPROF
        kills += 1
    finish(source, tmp_path / "run", options)
    same_as(tmp_path / "run", expected)
    assert kills > 0


@pytest.mark.parametrize("number", [5, 8, 17, 26, 41])
def test_killed_while_a_file_is_being_written(undisturbed, tmp_path, number):
    source, options, expected = undisturbed
    process = train_in_process(source, tmp_path / "run", options, kill_in_write=number)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finish(source, tmp_path / "run", options)
    same_as(tmp_path / "run", expected)


def test_ctrl_c_keeps_the_best_model_and_goes_on(undisturbed, tmp_path):
    source, options, expected = undisturbed
    run = tmp_path / "run"
    told = {**options.plain()["data"], **options.plain()["model"], **options.plain()["training"]}
    arguments = [] if told.pop("refit", True) else ["--no-refit"]
    arguments += [
        word
        for name, value in told.items()
        for word in (f"--{name.replace('_', '-')}", *(value if isinstance(value, tuple) else (value,)))
    ]
    process = command_in_process(["train", source, "--run", run, *arguments], tmp_path / "output")
    while not (run / "checkpoint.safetensors").exists() and process.is_alive():
        time.sleep(0.001)
    if process.is_alive():
        os.kill(process.pid, signal.SIGINT)
    process.join()
    output = (tmp_path / "output").read_text()
    assert process.exitcode == 0, output
    assert (run / "model.safetensors").exists()
    assert "Traceback" not in output
    if "stopped at step" in output:  # it may have been too quick for us
        assert "--resume" in output
    finish(source, run, options)
    assert weights(run) == weights(expected)


def test_a_finished_run_stays_as_it_is_and_can_be_made_longer(tmp_path):
    source = write_table(tmp_path / "load.csv")
    options = replace(
        FORECAST, training=replace(FORECAST.training, steps=6, validate_every=3, schedule="constant")
    )
    train(source, options, run=tmp_path / "run", console=quiet())
    before = weights(tmp_path / "run")
    resume(tmp_path / "run", console=quiet())
    assert weights(tmp_path / "run") == before
    resume(tmp_path / "run", Options(training=TrainingOptions(steps=9)), console=quiet())
    longer = replace(options, training=replace(options.training, steps=9))
    train(source, longer, run=tmp_path / "at once", console=quiet())
    assert weights(tmp_path / "run") == weights(tmp_path / "at once")


def test_what_a_resumed_run_refuses(tmp_path):
    source = write_table(tmp_path / "load.csv")
    options = replace(FORECAST, training=replace(FORECAST.training, steps=2, validate_every=1))
    run = tmp_path / "run"
    train(source, options, run=run, console=quiet())
    with pytest.raises(GatewrightError, match=r"--run: expected a new directory, or --resume"):
        train(source, options, run=run, console=quiet())
    with pytest.raises(
        GatewrightError, match=r"--lr: expected the run's own value with --resume, 0\.001, got 0.5"
    ):
        resume(run, Options(training=TrainingOptions(lr=0.5)), console=quiet())
    with pytest.raises(GatewrightError, match=r"run: expected the directory of a run"):
        resume(tmp_path / "elsewhere", console=quiet())
    shorter = Options(training=TrainingOptions(steps=1))
    with pytest.raises(
        GatewrightError, match=r"expected more than the 2 steps that the run has taken, got 1 steps"
    ):
        resume(run, shorter, console=quiet())
    checkpoint = (run / "checkpoint.safetensors").read_bytes()
    (run / "checkpoint.safetensors").write_bytes(checkpoint[: len(checkpoint) // 2])
    with pytest.raises(GatewrightError, match=r"checkpoint.safetensors: expected a checkpoint"):
        resume(run, console=quiet())
    write_table(source, seed=1)
    with pytest.raises(GatewrightError, match=r"which has changed since"):
        resume(run, console=quiet())
