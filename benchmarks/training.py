"""``gatewright train`` from end to end, over the same training with `torch.nn.LSTM` in our own model."""

from __future__ import annotations

import io
import math
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from torch import nn

import gatewright.nn.model
from benchmarks.peers import OURS, TORCH, DisagreementError
from benchmarks.settings import Part, Settings, counted, torch_threads
from benchmarks.timing import settle
from gatewright.tasks.options import DataOptions, Options, TrainingOptions
from gatewright.train import launch

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

#: File, what to say about it, steps of a run.
TRAININGS: tuple[tuple[str, DataOptions, int], ...] = (
    ("tinyshakespeare.txt", DataOptions(), 40),
    ("ETTh1.csv", DataOptions(target=("OT",), horizon=24), 300),
)


class TorchLSTM(nn.LSTM):
    """`torch.nn.LSTM`, called as the model calls its own layer."""

    def forward(self, *args: Any, record: bool = False) -> Any:
        """Run torch's layer."""
        assert not record
        return super().forward(*args)


@contextmanager
def model_built_with(who: str) -> Iterator[None]:
    """Let models be built with our layer or torch's."""
    if who == OURS:
        yield
        return
    with mock.patch.object(gatewright.nn.model, "LSTM", TorchLSTM):
        yield


def run(settings: Settings) -> Part:
    """Measure and print the steps a second that the run itself reports: loss, backward pass and optimizer."""
    figures: list[dict[str, Any]] = []
    rounds = 1 if settings.quick else 3
    for threads in settings.threads:
        print(f"\ngatewright train, steps a second, {counted(threads)}")
        for file, data, steps in TRAININGS:
            if not (DATA / file).exists():
                print(f"{file}: not measured, there is no {DATA / file}")
                continue
            steps = max(steps // 5, 5) if settings.quick else steps
            rates: dict[str, list[float]] = {OURS: [], TORCH: []}
            for _ in range(rounds):
                with torch_threads(threads):
                    found = {who: train(who, DATA / file, data, steps) for who in rates}
                if not math.isclose(found[OURS][1], found[TORCH][1], rel_tol=0.01):
                    raise DisagreementError(f"{file}: validation losses {found}")
                for who, (rate, _) in found.items():
                    rates[who].append(rate)
            medians = {who: statistics.median(values) for who, values in rates.items()}
            ratio = medians[OURS] / medians[TORCH]
            print(f"{file:20}{medians[OURS]:8.2f}, torch{medians[TORCH]:8.2f}, ratio {ratio:.2f}", flush=True)
            figures.append(
                {"source": file, "threads": threads, "steps": steps, "steps_per_second": medians, "ratio": ratio}
            )
    return Part(figures, [])


def train(who: str, source: Path, data: DataOptions, steps: int) -> tuple[float, float]:
    """Train for some steps; return steps a second, and the validation loss that it came to."""
    told = TrainingOptions(steps=steps, validate_every=steps, checkpoint_every=steps, device="cpu")
    with tempfile.TemporaryDirectory() as folder, model_built_with(who):
        settle()
        _, progress = launch.train(
            source, Options(data, training=told), run=Path(folder, "run"), console=Console(file=io.StringIO())
        )
    return progress.step / progress.seconds, progress.best
