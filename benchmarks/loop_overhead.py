"""What the training loop costs over a bare torch loop that trains the same model on the same batches.

Both take the same steps on the same windows or chunks, and end with the same validation; the bare loop has no
metrics, checkpoints, display, signals, search for NaN, or Accelerate.  Rounds alternate; the ratio is that of
the medians.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.accelerator import Accelerator
from rich.console import Console
from torch import Tensor, nn

from benchmarks.settings import Part, Settings
from gatewright.nn.model import Model
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.base import Share, Task
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.language import dataset as text_data
from gatewright.tasks.language.task import LanguageTask
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.settings import TrainingSettings
from gatewright.train.progress import Display
from gatewright.train.trainer import Loop

ROUNDS = 7
QUANTILES = torch.tensor([0.1, 0.5, 0.9])


def write_table(path: Path, rows: int = 10_000) -> Path:
    draw = np.random.default_rng(0)
    hours = np.arange(rows)
    load = 10 + np.sin(hours * 2 * np.pi / 24) + np.cumsum(draw.normal(scale=0.05, size=rows))
    times = np.datetime64("2020-01-01T00:00") + hours.astype("timedelta64[h]")
    path.write_text("time,load\n" + "".join(f"{t},{v:.5f}\n" for t, v in zip(times, load, strict=True)))
    return path


def write_text(path: Path) -> Path:
    draw = np.random.default_rng(0)
    path.write_text("".join(draw.choice(list("abcdefghijklmnop \n"), size=400_000)))
    return path


def forecast_options(steps: int) -> Options:
    return registry.kind("forecast").resolve(
        Options(
            DataOptions(target=("load",), horizon=24, calendar=("none",)),
            training=TrainingOptions(steps=steps, validate_every=steps, device="cpu"),
        )
    )


def language_options(steps: int) -> Options:
    return registry.kind("language").resolve(
        Options(
            model=ModelOptions(hidden=128),
            training=TrainingOptions(steps=steps, validate_every=steps, device="cpu"),
        )
    )


def forecast_task(source: Path, options: Options) -> Task:
    torch.manual_seed(0)
    data = series_data.read(source, options.data)
    spec, scaler = series_data.build(data, options)
    model = Model(spec, scaler=scaler)
    share = Share(0, 1)
    return ForecastTask(model, data, TrainingSettings.of(options.training).batch, 0, share, torch.device("cpu"))


def language_task(source: Path, options: Options) -> Task:
    torch.manual_seed(0)
    data = text_data.read(source, options.data)
    model = Model(text_data.build(data, options), vocabulary=data.vocabulary)
    return LanguageTask(model, data, options, Share(0, 1), torch.device("cpu"))


def ours(task: Task, options: Options, folder: Path, source: Path) -> None:
    run = Run.create(folder / "run", source, "forecast", options)
    display = Display(Console(file=io.StringIO()))
    loop = Loop(task, TrainingSettings.of(options.training), run, Accelerator(cpu=True), [display])
    display.start(loop.total, task.unit)
    loop.run()


def bare(model: nn.Module, loss: Callable[[int], Tensor], steps: int, validate: Callable[[], float]) -> None:
    """The shortest loop that trains the model as well."""
    matrices = [value for value in model.parameters() if value.dim() > 1]
    vectors = [value for value in model.parameters() if value.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        loss(step).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    validate()


def bare_forecast_loss(task: ForecastTask) -> Callable[[int], Tensor]:
    """Gather windows by hand, run LSTM and head, quantile loss."""
    windows, model = task._windows, task.model
    inputs, level, target = windows._inputs, windows._level[:, 0], windows._target[:, 0]
    order = torch.from_numpy(np.random.default_rng(0).permutation(task._train))
    context, supervised = 96, 48

    def loss(step: int) -> Tensor:
        first = step * task.batch % (len(order) - task.batch)
        rows = order[first : first + task.batch] + torch.arange(1 - context, 1)[:, None]
        hidden, _ = model.lstm(inputs[rows])
        y = model.head(F.dropout(hidden[-supervised:], 0.2)).unflatten(-1, (24, 3))
        ends = rows[-supervised:]
        error = target[ends].unsqueeze(-1) - (y + level[ends][..., None, None])
        return torch.maximum(QUANTILES * error, (QUANTILES - 1) * error).mean()

    return loss


def bare_language_loss(task: LanguageTask) -> Callable[[int], Tensor]:
    """Cut chunks by hand, carry the state, cross entropy."""
    model, streams, context = task.model, task._streams, 128
    state: list[tuple[Tensor, Tensor] | None] = [None]

    def loss(step: int) -> Tensor:
        place = step % task.steps_per_epoch
        chunk = streams[place * context : (place + 1) * context + 1]
        hidden, (h, c) = model.lstm(model.encoder(chunk[:-1]), state[0] if place else None)
        state[0] = (h.detach(), c.detach())
        y = model.head(F.dropout(hidden, 0.2))
        return F.cross_entropy(y.flatten(0, 1), chunk[1:].flatten())

    return loss


def run(settings: Settings) -> Part:
    """Print seconds of both loops and their ratio, for a forecaster and a language model."""
    print("\ntraining loop over a bare torch loop, same model and batches (seconds)")
    rounds, share = (3, 5) if settings.quick else (ROUNDS, 1)
    figures = []
    for name, steps in (("forecast  B=64 T=96 H=64", 200), ("language  B=32 T=128 H=128", 100)):
        seconds: dict[str, list[float]] = {"gatewright": [], "bare torch": []}
        for number in range(rounds + 1):
            own, bare_ = one_round(name.split()[0], steps // share)
            if number:  # the first round warms up
                seconds["gatewright"].append(own)
                seconds["bare torch"].append(bare_)
        medians = {who: statistics.median(times) for who, times in seconds.items()}
        ratio = medians["gatewright"] / medians["bare torch"]
        print(
            f"{name}: "
            + ", ".join(f"{who} {value:.3f}" for who, value in medians.items())
            + f", ratio {ratio:.3f}",
            flush=True,
        )
        figures.append({"name": name, "steps": steps // share, "seconds": medians, "ratio": ratio})
    return Part(figures, [])


def one_round(kind: str, steps: int) -> tuple[float, float]:
    """Return the seconds of our loop and of the bare one."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "forecast":
            source, options = write_table(Path(folder, "load.csv")), forecast_options(steps)
            first, second = forecast_task(source, options), forecast_task(source, options)
            assert isinstance(second, ForecastTask)
            loss = bare_forecast_loss(second)
        else:
            source, options = write_text(Path(folder, "plays.txt")), language_options(steps)
            first, second = language_task(source, options), language_task(source, options)
            assert isinstance(second, LanguageTask)
            loss = bare_language_loss(second)
        began = time.perf_counter()
        ours(first, options, Path(folder), source)
        middle = time.perf_counter()
        bare(second.model, loss, steps, second.validate)
        return middle - began, time.perf_counter() - middle


if __name__ == "__main__":
    run(Settings())
