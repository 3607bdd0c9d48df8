"""Trainings that torchrun starts: resumed in another number of processes, killed, stopped, on several machines."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from gatewright.runs.run import Run
from gatewright.tasks.options import Options, TrainingOptions
from gatewright.train.launch import resume
from tests.support.forks import TRAINING, fork_server
from tests.support.training_runs import quiet, write_table, write_text

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
#: How long a test waits at most, on a busy machine.
LONG = 240

#: A training in parts, by torchrun, whose processes are forks: a start of Python takes longer than all of it.
#: Arguments: the program of the parts, the source, the run, and the processes and the last step of each part.
IN_PARTS = """
import sys, torch._dynamo
from torch.distributed.run import main
import tests.interop.parts_of_a_training

program, source, run, *parts = sys.argv[1:]
for processes, last in zip(parts[::2], parts[1::2]):
    forks = ["--standalone", "--nproc-per-node", processes, "--start-method", "fork", "--run-path"]
    main([*forks, program, source, run, last])
"""
PROGRAM = Path(__file__).with_name("parts_of_a_training.py")


def losses(run: Path) -> dict[int, float]:
    """Return the scores of the validations by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["valid"] for line in lines if "valid" in line}


@pytest.mark.parametrize("write", [write_table, write_text])
def test_a_training_goes_on_in_another_number_of_processes(tmp_path, write):
    """1, 2, 3 and 1 processes in turn learn what one does; none of these numbers divides a batch."""
    source = write(tmp_path / ("load.csv" if write is write_table else "plays.txt"))
    for run, parts in (("one", (1, 12)), ("parts", (1, 5, 2, 7, 3, 10, 1, 12))):
        done = fork_server(*TRAINING).run(
            ["-c", IN_PARTS, PROGRAM, source, tmp_path / run, *parts], env=ENVIRONMENT
        )
        assert done.returncode == 0, done.stderr
    one, parts = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "parts"))
    assert one.keys() == parts.keys()
    apart = {name: np.abs(value.astype(np.float64) - parts[name]).max(initial=0.0) for name, value in one.items()}
    assert max(value for name, value in apart.items() if name.startswith(("model.", "carried."))) < 1e-5
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "parts"), rel=1e-5)


#: A model that is trained in no time.
SMALL = (
    *("--target", "load", "--known", "wind", "--context", 24, "--hidden", 8, "--batch", 8, "--device", "cpu"),
    "--no-refit",
)
#: So many steps that no training comes to its end; a checkpoint every other step.
ENDLESS = ("--steps", 1_000_000, "--validate-every", 100_000, "--checkpoint-every", 2)


@contextmanager
def started(*arguments: object, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start torchrun, and end it if the test did not."""
    with output.open("wb") as file:
        command = [*TORCHRUN, *map(str, arguments)]
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=file, stderr=file, cwd=output.parent)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(LONG)


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait for something to come about while a process runs."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)


def steps_of(run: Path) -> int:
    """Return how many steps the checkpoint of a run has; -1 without one."""
    path = run / "checkpoint.safetensors"
    if not path.exists():
        return -1
    with safe_open(path, framework="np") as file:
        return int(json.loads(file.metadata()["progress"])["step"])


def of_rank(launcher: int, rank: int) -> int:
    """Return the process of a rank among those that a launcher has started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    [found] = [
        int(child)
        for child in children
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
    ]
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_training_with_its_checkpoint(tmp_path, rank):
    source, run, output = write_table(tmp_path / "load.csv"), tmp_path / "run", tmp_path / "output"
    command = ("--standalone", "--nproc-per-node", 2, "-m", "gatewright", "--", "train", source)
    with started(*command, *SMALL, *ENDLESS, "--run", run, output=output) as launcher:
        until(lambda: steps_of(run) >= 4, launcher, output)
        before, began = steps_of(run), time.monotonic()
        os.kill(of_rank(launcher.pid, rank), signal.SIGKILL)
        assert launcher.wait(60) == 1
        print(f"rank {rank} killed: the others had ended after {time.monotonic() - began:.1f} s")
    text = output.read_text()
    assert "error: processes: expected all 2 of the training, to its end" in text
    assert "RuntimeError" not in text
    kept = steps_of(run)
    assert kept >= before
    resume(run, Options(training=TrainingOptions(steps=kept + 2)), console=quiet())
    assert steps_of(run) == kept + 2


def test_a_launcher_that_is_stopped_lets_the_training_end_with_its_last_step(tmp_path):
    source, run, output = write_table(tmp_path / "load.csv"), tmp_path / "run", tmp_path / "output"
    command = ("--standalone", "--nproc-per-node", 2, "-m", "gatewright", "--", "train", source)
    with started(*command, *SMALL, *ENDLESS, "--run", run, output=output) as launcher:
        until(lambda: steps_of(run) >= 4, launcher, output)
        launcher.terminate()
        launcher.wait(60)
    stopped = re.search(r"stopped at step (\d+)", output.read_text())
    assert stopped, output.read_text()
    assert steps_of(run) == int(stopped[1])
    assert Run.open(run).best_model()


def test_two_machines_find_each_other(tmp_path):
    """Two launchers that meet at an address, each with a process of its own."""
    source, run = write_table(tmp_path / "load.csv"), tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = (
        *("--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d", "--rdzv-endpoint", address),
        *("--rdzv-id", "load", "-m", "gatewright", "--", "train", source, *SMALL),
        *("--steps", 4, "--run", run),
    )
    first, second = tmp_path / "first", tmp_path / "second"
    with started(*command, output=first) as one, started(*command, output=second) as other:
        assert (one.wait(LONG), other.wait(LONG)) == (0, 0), first.read_text() + second.read_text()
    texts = first.read_text() + second.read_text()
    assert texts.count("finished at step 4") == 1  # only the first rank writes
    assert steps_of(run) == 4
