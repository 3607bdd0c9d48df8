"""``gatewright train`` in two processes of one thread each, by torchrun, over one process of one thread.

Timed are the steps after the first ones, with validations and checkpoints among them, as in a long training; start
and reading of data are left out.  Turns alternate; the ratio is that of the medians.
On a busy machine wall seconds say little, while CPU seconds tell what the second process costs.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks import bars
from benchmarks.bars import Judged
from benchmarks.peers import DisagreementError
from benchmarks.settings import Part, Settings
from benchmarks.training import DATA
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions

ROOT = Path(__file__).parents[1]
PROCESSES = 2
#: Steps before the clock starts.
WARM = 2
#: Turns of each.
ROUNDS = 3


class Training(NamedTuple):
    """What is trained.

    Attributes:
        source: returns the path of its table, which it may write into a folder.
        data: options of it.
        steps: number of steps.
    """

    source: Callable[[Path], Path]
    data: DataOptions
    steps: int

    @property
    def options(self) -> Options:
        """All options: 128 units, 256 windows a step, a validation every 25 steps."""
        training = TrainingOptions(steps=self.steps, batch=256, validate_every=25, refit=False, device="cpu")
        return Options(self.data, ModelOptions(hidden=128), training)


def basin(folder: Path) -> Path:
    """Write the days of 16 years of a basin with 31 inputs: windows are T=365, D=32."""
    draw, days = np.random.default_rng(0), 6000
    inputs = draw.normal(size=(days, 31)).astype(np.float32)
    flow = np.convolve(np.abs(inputs[:, 0]), np.exp(-np.arange(50) / 10), "full")[:days]
    times = np.datetime64("1990-01-01", "us") + np.arange(days).astype("timedelta64[D]")
    columns = {"time": times, "flow": flow + draw.normal(scale=0.1, size=days)}
    table = pl.DataFrame({**columns, **{f"x{n}": inputs[:, n] for n in range(31)}})
    table.write_parquet(folder / "basin.parquet")
    return folder / "basin.parquet"


TRAININGS = {
    "hydro": Training(
        basin,
        DataOptions(
            target=("flow",), past=tuple(f"x{n}" for n in range(31)), context=365, season=("none",),
            calendar=("none",), transform=("none",), scale="global",
        ),
        WARM + 25,
    ),
    "ETTh1": Training(
        lambda _: DATA / "ETTh1.csv",
        DataOptions(target=("OT",), horizon=24, transform=("none",), scale="global"),
        WARM + 50,
    ),
}  # fmt: skip


def run(settings: Settings) -> Part:
    """Measure and print steps a second, CPU seconds a step, and the share of the time in exchange."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    print(f"\ngatewright train in {PROCESSES} processes of one thread over one of one thread")
    for name, training in TRAININGS.items():
        with tempfile.TemporaryDirectory() as folder:
            source = training.source(Path(folder))
            if not source.exists():
                print(f"{name}: not measured, there is no {source}")
                continue
            rounds = 1 if settings.quick else ROUNDS
            turns = [measured(name, source, Path(folder, str(turn))) for turn in range(rounds)]
        ones, several = ([turn[which] for turn in turns] for which in (0, 1))
        if not all(math.isclose(a["score"], b["score"], rel_tol=1e-3) for a, b in zip(ones, several, strict=True)):
            raise DisagreementError(f"{name}: scores {ones} and {several}")
        one, two = (middle(each) for each in (ones, several))
        ratio, costs = one["seconds"] / two["seconds"], one["cpu_seconds"] / two["cpu_seconds"]
        print(
            f"{name:8}{one['steps'] / one['seconds']:7.2f} and{two['steps'] / two['seconds']:7.2f} steps/s, "
            f"ratio {ratio:.2f}; CPU of one process over that of each of {PROCESSES}: {costs:.2f}; "
            f"waits {two['exchange_seconds'] / two['seconds']:.1%} of the time",
            flush=True,
        )
        figures.append({"training": name, "one": ones, "several": several, "ratio": ratio, "cpu_ratio": costs})
        judged.append(Judged(bars.PROCESSES, 1, ratio, name))
    return Part(figures, judged)


def measured(name: str, source: Path, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Train in one process and in several; return the figures of both, those of several as means over ranks."""
    found = []
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES))
    for start in ((), launcher):
        own = folder / ("several" if start else "one")
        own.mkdir(parents=True)
        command = [sys.executable, *start, "-m", "benchmarks.torchrun_process", name, str(source), str(own)]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
        ranks = [json.loads(path.read_text()) for path in own.glob("*.json")]
        found.append({key: statistics.mean(each[key] for each in ranks) for key in ranks[0]})
    return found[0], found[1]


def middle(turns: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
