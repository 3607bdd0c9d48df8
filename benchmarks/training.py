"""``gatewright train`` from end to end, over the same training with `torch.nn.LSTM` in our own model."""

from __future__ import annotations

import dataclasses
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
from benchmarks import bars
from benchmarks.bars import Judged
from benchmarks.contenders import OURS, OURS_BF16, TORCH
from benchmarks.peers import DisagreementError
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


#: The source that the bars are about.
BARRED = "tinyshakespeare.txt"

#: The option of training.
PRECISION = "precision"


class TorchLSTM(nn.LSTM):
    """`torch.nn.LSTM`, called as the model calls its own layer."""

    compute = "full"  # what the trainer sets of a layer

    def forward(self, *args: Any, record: bool = False) -> Any:
        """Run torch's layer."""
        assert not record
        return super().forward(*args)


@contextmanager
def model_built_with(who: str) -> Iterator[None]:
    """Let models be built with our layer or torch's."""
    if who != TORCH:
        yield
        return
    with mock.patch.object(gatewright.nn.model, "LSTM", TorchLSTM):
        yield


def run(settings: Settings) -> Part:
    """Measure and print the steps a second that the run itself reports: loss, backward pass and optimizer."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    rounds = 1 if settings.quick else 3
    for threads in settings.threads:
        print(f"\ngatewright train, steps a second, {counted(threads)}")
        for file, data, steps in TRAININGS:
            if not (DATA / file).exists():
                print(f"{file}: not measured, there is no {DATA / file}")
                continue
            steps = max(steps // 5, 5) if settings.quick else steps
            rates: dict[str, list[float]] = {who: [] for who in contenders()}
            losses: dict[str, float] = {}
            for _ in range(rounds):
                with torch_threads(threads):
                    for who, values in rates.items():
                        rate, losses[who] = train(who, DATA / file, data, steps)
                        values.append(rate)
                if not all(math.isclose(loss, losses[TORCH], rel_tol=0.01) for loss in losses.values()):
                    raise DisagreementError(f"{file}: validation losses {losses}")
            medians = {who: statistics.median(values) for who, values in rates.items()}
            ratio = medians[OURS] / medians[TORCH]
            line = f"{file:20}{medians[OURS]:8.2f}, torch{medians[TORCH]:8.2f}, ratio {ratio:.2f}"
            if OURS_BF16 in medians:
                faster, worse = medians[OURS_BF16] / medians[OURS], losses[OURS_BF16] - losses[OURS]
                line += f"; bf16{medians[OURS_BF16]:8.2f}, {faster:.2f} times float32, loss {worse:+.4f}"
                if file == BARRED:
                    judged.append(Judged(bars.BF16_STEPS, threads, faster, file))
                    judged.append(Judged(bars.BF16_LOSS, threads, worse, f"after {steps} steps"))
            print(line, flush=True)
            figure = {"source": file, "threads": threads, "steps": steps, "steps_per_second": medians}
            figures.append({**figure, "validation_loss": losses, "ratio": ratio})
    return Part(figures, judged)


def contenders() -> tuple[str, ...]:
    """Return who trains: with bfloat16 only where there is an option for it."""
    options = {field.name for field in dataclasses.fields(TrainingOptions)}
    return (OURS, TORCH, OURS_BF16) if PRECISION in options else (OURS, TORCH)


def train(who: str, source: Path, data: DataOptions, steps: int) -> tuple[float, float]:
    """Train for some steps; return steps a second, and the validation loss that it came to."""
    precision: dict[str, Any] = {PRECISION: "bf16"} if who == OURS_BF16 else {}
    told = TrainingOptions(steps=steps, validate_every=steps, checkpoint_every=steps, device="cpu", **precision)
    with tempfile.TemporaryDirectory() as folder, model_built_with(who):
        settle()
        _, progress = launch.train(
            source, Options(data, training=told), run=Path(folder, "run"), console=Console(file=io.StringIO())
        )
    return progress.step / progress.seconds, progress.best
