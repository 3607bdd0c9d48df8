"""What a model's weights in fewer bits cost and give: its own metric, memory and times, side by side."""

from __future__ import annotations

import copy
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from rich.table import Table as Lines

from gatewright.files import model_file
from gatewright.nn.lstm import LSTM
from gatewright.runs.run import Run
from gatewright.runtime.packed_model import WeightFormat, formats_of
from gatewright.runtime.stream import Stream
from gatewright.tasks import registry
from gatewright.tasks.base import SESSIONS
from gatewright.tasks.tables import empty, written

#: Steps and rows of a batch whose forward pass is measured.
BATCH = (64, 64)


class Kept(NamedTuple):
    """A model with its weights kept in one way.

    Attributes:
        weights: how.
        bytes: memory of the gates' weights.
        microseconds: a step of one session, the median.
        metrics: by name.
        milliseconds: a forward pass of the layers over `BATCH`, the least; None where streams alone have that.
    """

    weights: WeightFormat
    bytes: int
    microseconds: float
    metrics: dict[str, float]
    milliseconds: float | None = None


def quantize_run(path: Path | Run, data: Path) -> list[Kept]:
    """Score a run's model on given data with its weights kept in each way that its cell has.

    A forecaster is scored on up to 2,000 windows, evenly spread over all series; a language model on the first
    200,000 characters.

    Raises:
        GatewrightError: if there is no such run or model, or the data does not fit it.
    """
    run = path if isinstance(path, Run) else Run.open(path)
    file = model_file.read(run.require_model())
    with run.reading():
        score = registry.kind(run.kind).stream_score(file, data, run.options().data)
    results = []
    batches = _batches(run.best_model().lstm)
    for weights in formats_of(file.spec.lstm.cell):
        alone = Stream.of(file, weights=weights)
        stream = Stream.of(file, sessions=SESSIONS, weights=weights)
        microseconds = _microseconds(alone, score.x, score.times)
        kept = Kept(weights, alone.weight_bytes, microseconds, score.metrics(stream), batches.get(weights))
        results.append(kept)
    return results


def lines(results: list[Kept]) -> Lines:
    """Lay out what `quantize_run` returned: each metric with its change from float32."""
    names = list(results[0].metrics)
    heads = ["memory", "µs a step", "ms a batch", *(head for name in names for head in (name, "change"))]
    laid_out = empty("weights of the gates", heads)
    columns = [written([result.metrics[name] for result in results]) for name in names]
    for row, result in enumerate(results):
        batch = "" if result.milliseconds is None else f"{result.milliseconds:.1f}"
        cells = [f"{result.bytes / 1024:,.0f} KiB", f"{result.microseconds:.1f}", batch]
        for name, column in zip(names, columns, strict=True):
            before = results[0].metrics[name]
            change = f"{result.metrics[name] / before - 1:+.3%}" if row and before else ""
            cells += [column[row], change]
        laid_out.add_row(result.weights, *cells)
    return laid_out


def remark(results: list[Kept]) -> str | None:
    """Name the formats of one byte that are no faster than the others, and only save memory; None without one.

    >>> times = {"float32": 64.2, "bf16": 38.8, "int8": 57.9}
    >>> remark([Kept(weights, 0, time, {}) for weights, time in times.items()])
    'No faster than bf16 here, only smaller: int8.'
    """
    small = [result for result in results if result.weights.startswith("int8")]
    fastest = min((result for result in results if result not in small), key=lambda result: result.microseconds)
    slow = [result.weights for result in small if result.microseconds >= fastest.microseconds]
    return f"No faster than {fastest.weights} here, only smaller: {', '.join(slow)}." if slow else None


def _batches(lstm: LSTM) -> dict[str, float]:
    """Return the milliseconds of a forward pass over `BATCH`, by the weights of a stream with those products."""
    x = torch.randn(*BATCH, lstm.input_size, generator=torch.Generator().manual_seed(0))
    if lstm.batch_first:
        x = x.transpose(0, 1)
    layers = {}
    for weights, compute in (("float32", "full"), ("bf16", "bf16"), ("int8", "int8")):
        if compute == "int8" and lstm.cell.features() not in ((), ("weight_drop",)):
            continue
        layers[weights] = copy.copy(lstm)
        layers[weights].compute = compute
    seconds: dict[str, list[float]] = {weights: [] for weights in layers}
    with torch.inference_mode():
        for _ in range(3):
            for weights, layer in layers.items():
                began = time.perf_counter()
                layer(x)
                seconds[weights].append(time.perf_counter() - began)
    return {weights: min(each) * 1e3 for weights, each in seconds.items()}


def _microseconds(stream: Stream, xs: NDArray[Any], times: NDArray[Any] | None) -> float:
    seconds = []
    for turn in range(60):
        x = xs[turn % len(xs)]
        when = times[turn % len(xs)] if times is not None and stream.reads_calendar else None
        began = time.perf_counter()
        for _ in range(20):
            stream.step(x, time=when, indexed=True)
        seconds.append((time.perf_counter() - began) / 20)
    return statistics.median(seconds) * 1e6
