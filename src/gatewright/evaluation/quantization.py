"""What keeping a model's weights in fewer bits costs and gives: its own metric, memory and time, side by side."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple, get_args

from numpy.typing import NDArray
from rich.table import Table as Lines

from gatewright.files import model_file
from gatewright.runs.run import Run
from gatewright.runtime.packed_model import WeightFormat
from gatewright.runtime.stream import Stream
from gatewright.tasks import registry
from gatewright.tasks.base import SESSIONS
from gatewright.tasks.tables import empty, written


class Kept(NamedTuple):
    """A model with its weights kept in one way.

    Attributes:
        weights: how.
        bytes: memory of the gates' weights.
        microseconds: a step of one session, the median.
        metrics: by name.
    """

    weights: WeightFormat
    bytes: int
    microseconds: float
    metrics: dict[str, float]


def quantize_run(path: Path | Run, data: Path) -> list[Kept]:
    """Score a run's model on given data with its weights kept in each way.

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
    for weights in get_args(WeightFormat):
        alone = Stream.of(file, weights=weights)
        stream = Stream.of(file, sessions=SESSIONS, weights=weights)
        microseconds = _microseconds(alone, score.x, score.times)
        results.append(Kept(weights, alone.weight_bytes, microseconds, score.metrics(stream)))
    return results


def lines(results: list[Kept]) -> Lines:
    """Lay out what `quantize_run` returned: each metric with its change from float32."""
    names = list(results[0].metrics)
    heads = ["memory", "µs a step", *(head for name in names for head in (name, "change"))]
    laid_out = empty("weights of the gates", heads)
    columns = [written([result.metrics[name] for result in results]) for name in names]
    for row, result in enumerate(results):
        cells = [f"{result.bytes / 1024:,.0f} KiB", f"{result.microseconds:.1f}"]
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
