"""Small runs for tests: sources, options, and a process that trains and can be killed."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from rich.console import Console
from safetensors.numpy import load_file

from gatewright.files import atomic
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import resume, train

#: Children start from a server that has imported torch already.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "tests.support.training_runs", "gatewright.cli", "torch.profiler", "torch.utils.tensorboard",
        "optuna", "sqlalchemy.orm", "alembic.command",
    ]
)  # fmt: skip


def write_table(path: Path, rows: int = 400, seed: int = 0) -> Path:
    """Write an hourly series with a daily wave, noise, some missing targets and an input known in advance."""
    draw = np.random.default_rng(seed)
    hours = np.arange(rows)
    known = draw.normal(size=rows)
    load = 20 + 5 * np.sin(hours * 2 * np.pi / 24) + np.roll(known, 1) + draw.normal(scale=0.3, size=rows)
    times = np.datetime64("2024-01-01T00") + hours.astype("timedelta64[h]")
    lines = [
        f"{time}:00,{'' if draw.random() < 0.02 else f'{value:.4f}'},{wind:.4f}"
        for time, value, wind in zip(times, load, known, strict=True)
    ]
    path.write_text("\n".join(["time,load,wind", *lines]) + "\n", "utf-8")
    return path


def write_text(path: Path, characters: int = 6000, seed: int = 0) -> Path:
    """Write words out of a small vocabulary."""
    draw = np.random.default_rng(seed)
    words = ["gate", "cell", "forgets", "what", "it", "read,", "then", "writes", "again."]
    path.write_text(" ".join(draw.choice(words, size=characters // 5))[:characters], "utf-8")
    return path


#: Its transform and its scale are those that a forecaster would choose here.
FORECAST = Options(
    DataOptions(target=("load",), known=("wind",), context=24, horizon=3, valid="80", test="80",
                transform=("none",), scale="global"),
    ModelOptions(hidden=8, layers=2, dropout=0.2),
    TrainingOptions(steps=30, batch=8, validate_every=10, checkpoint_every=1, seed=3, warmup=5, device="cpu",
                    refit=False),
)  # fmt: skip
LANGUAGE = Options(
    DataOptions(context=16, valid="0.1", test="0.1"),
    ModelOptions(hidden=12, layers=1, embedding=6, dropout=0.2, forget_bias=1.0),
    TrainingOptions(
        steps=30, batch=4, lr=2e-3, validate_every=10, checkpoint_every=1, seed=3, warmup=5, device="cpu"
    ),
)


def quiet() -> Console:
    """A console that nobody reads."""
    return Console(file=io.StringIO())


def train_in_process(
    source: Path, run: Path, options: Options, *, kill_in_write: int | None = None, cpu_seconds: float = 0.0
) -> BaseProcess:
    """Start a process that makes a run, or goes on with it.

    Args:
        source: of the run.
        run: its directory.
        options: of a new run.
        kill_in_write: number of the write of a file in which the process is killed.
        cpu_seconds: of the process itself, after which the kernel ends it; 0 for never. How busy the machine is
            does not matter for that.
    """
    process = PROCESSES.Process(
        target=_train, args=(source, run, options, kill_in_write, cpu_seconds), daemon=True
    )
    process.start()
    return process


def command_in_process(arguments: Sequence[object], output: Path) -> BaseProcess:
    """Start `gatewright *arguments` as a fork, whose output and errors go to a file."""
    process = PROCESSES.Process(target=_command, args=([str(word) for word in arguments], output), daemon=True)
    process.start()
    return process


def _command(arguments: list[str], output: Path) -> None:
    from gatewright import cli

    with output.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["gatewright", *arguments]
    sys.exit(cli.main())


def cpu_of(run: Path) -> float:
    """CPU seconds of the process that last finished a run."""
    return float(run.with_suffix(".cpu").read_text())


def _train(source: Path, run: Path, options: Options, kill_in_write: int | None, cpu_seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    if kill_in_write is not None:
        _kill_in_write(kill_in_write)
    if (run / "source.json").exists() and (run / "config.toml").exists():
        resume(run, console=quiet())
    else:
        train(source, options, run=run, console=quiet())
    run.with_suffix(".cpu").write_text(str(time.process_time()))


def _kill_in_write(number: int) -> None:
    """Let the process kill itself in the middle of its n-th durable write."""
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            if not Path(f"/proc/self/fd/{descriptor}").is_dir():
                os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    atomic.os.fsync = fsync  # type: ignore[attr-defined]


def weights(run: Path, file: str = "checkpoint.safetensors") -> dict[str, bytes]:
    """Every tensor of a run's file, as bytes."""
    return {name: value.tobytes() for name, value in load_file(run / file).items()}
