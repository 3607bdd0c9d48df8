"""What keeping a model's weights in fewer bits costs and gives: its own metric, memory and time, side by side."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from rich.table import Table as Lines

from gatewright.data.series import last_observed, origins
from gatewright.data.table import Series, read_table
from gatewright.data.text import encode_text, read_text, streams
from gatewright.errors import DataError
from gatewright.evaluation.tables import empty, written
from gatewright.files import model_file
from gatewright.runs.run import Run
from gatewright.runtime.stream import Stream, WeightFormat
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.metrics import measure
from gatewright.tasks.forecast.predict import require_fit

#: Windows, and characters, that are scored at most.
MOST_WINDOWS, MOST_CHARACTERS = 2_000, 200_000

_SESSIONS = 64


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


def quantize_run(path: Path, data: Path) -> list[Kept]:
    """Score a run's model on given data with its weights kept in each way.

    A forecaster is scored on up to `MOST_WINDOWS` windows, evenly spread over all series; a language model on the
    first `MOST_CHARACTERS` characters.

    Raises:
        GatewrightError: if there is no such run or model, or the data does not fit it.
    """
    run = Run.open(path)
    file = model_file.read(run.require_model())
    score: Callable[[Stream], dict[str, float]]
    xs: NDArray[Any]
    times: NDArray[Any] | None = None
    if isinstance(file.spec.encoder, SeriesEncoder):
        batches = _windows(file, run, data)
        score = functools.partial(_score_series, file, batches)
        xs, times = batches[0].rows[:, 0], batches[0].times[:, 0]
    else:
        symbols = _symbols(file, data)
        score = functools.partial(_score_text, symbols)
        xs = symbols[:, 0]
    found = []
    for weights in get_args(WeightFormat):
        alone = Stream.of(file, weights=weights)
        stream = Stream.of(file, sessions=_SESSIONS, weights=weights)
        found.append(Kept(weights, alone.weight_bytes, _microseconds(alone, xs, times), score(stream)))
    return found


def lines(found: list[Kept]) -> Lines:
    """Lay out what `quantize_run` returned: each metric with its change from float32."""
    names = list(found[0].metrics)
    heads = ["memory", "µs a step", *(head for name in names for head in (name, "change"))]
    laid_out = empty("weights of the gates", heads)
    columns = [written([kept.metrics[name] for kept in found]) for name in names]
    for row, kept in enumerate(found):
        cells = [f"{kept.bytes / 1024:,.0f} KiB", f"{kept.microseconds:.1f}"]
        for name, column in zip(names, columns, strict=True):
            before = found[0].metrics[name]
            change = f"{kept.metrics[name] / before - 1:+.3%}" if row and before else ""
            cells += [column[row], change]
        laid_out.add_row(kept.weights, *cells)
    return laid_out


class _Windows(NamedTuple):
    """Windows as a stream reads them.

    Attributes:
        rows: (context, B, columns).
        times: (context, B).
        truth: what came, (B, horizon, targets), NaN where missing.
    """

    rows: NDArray[np.float64]
    times: NDArray[Any]
    truth: NDArray[np.float64]


def _windows(file: model_file.ModelFile, run: Run, path: Path) -> list[_Windows]:
    encoder, head = file.spec.encoder, file.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    options = run.options().data
    read = read_table(path, series_data.roles(options), options.fill, encoder.step)
    require_fit(read, encoder)
    assert file.scaler is not None
    targets, horizon = len(encoder.targets), head.horizon
    places = []
    for number, one in enumerate(read.series):
        target = one.values[:, :targets].astype(np.float32)
        found = origins(target, encoder.context, horizon, encoder.context, len(target))
        places += [(number, int(origin)) for origin in found]
    if not places:
        expected = f"at least {encoder.context + horizon} rows with an observed target among those to forecast"
        raise DataError(
            str(path), expected, f"{max(len(one.values) for one in read.series)} in the longest series"
        )
    chosen = [places[k] for k in np.unique(np.linspace(0, len(places) - 1, MOST_WINDOWS).astype(int))]
    batches = []
    for first in range(0, len(chosen), _SESSIONS):
        some = chosen[first : first + _SESSIONS]
        spans = [(number, slice(origin + 1 - encoder.context, origin + 1)) for number, origin in some]
        times = [_times(read.series[number])[span] for number, span in spans]
        truth = [read.series[n].values[origin + 1 : origin + 1 + horizon, :targets] for n, origin in some]
        inputs = [
            _rows(read.series[n].values[span.start : span.stop + horizon], file, options.fill) for n, span in spans
        ]
        batches.append(_Windows(np.stack(inputs, 1), np.stack(times, 1), np.stack(truth)))
    return batches


def _rows(values: NDArray[np.float64], file: model_file.ModelFile, fill: str) -> NDArray[np.float64]:
    """Return the rows of a window as `Stream.step` reads them.

    Args:
        values: the window and ``horizon`` rows after it, (context + horizon, columns).
        file: the model.
        fill: how missing inputs are filled.
    """
    encoder, head = file.spec.encoder, file.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert file.scaler is not None
    targets, horizon, context = len(encoder.targets), head.horizon, encoder.context
    first, last = targets + len(encoder.past), targets + len(encoder.past) + len(encoder.known)
    inputs = last_observed(values[:, targets:]) if fill == "forward" else values[:, targets:]
    if fill:
        inputs = np.where(np.isfinite(inputs), inputs, file.scaler.mean[targets:])
    values = np.concatenate([values[:, :targets], inputs], axis=1)
    ahead = np.lib.stride_tricks.sliding_window_view(values[1:, first:last], horizon, axis=0)
    known = ahead[:context].reshape(context, -1)
    return np.concatenate([values[:context, :first], values[:context, last:], known], axis=1)


def _times(one: Series) -> NDArray[Any]:
    if one.times is None:
        return np.zeros(len(one.values), "datetime64[us]")
    return one.clock.local(one.times)


def _score_series(file: model_file.ModelFile, batches: list[_Windows], stream: Stream) -> dict[str, float]:
    encoder, head = file.spec.encoder, file.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert file.scaler is not None
    answers = []
    for batch in batches:
        stream.reset()
        numbers = range(batch.rows.shape[1])
        for x, when in zip(batch.rows, batch.times, strict=True):
            y = stream.step(x, sessions=numbers, time=when if encoder.calendar else None)
        answers.append(y)
    answer, truth = np.concatenate(answers), np.concatenate([batch.truth for batch in batches])
    metrics = {}
    for number, target in enumerate(encoder.targets):
        scale = file.scaler.scale[number]
        found = measure([truth[..., number]], [answer[:, :, number]], head.quantiles, scale)
        for name in ("mae", "mse"):
            value = found[name]
            metrics[f"{name.upper()} {target}" if len(encoder.targets) > 1 else name.upper()] = (
                float("nan") if value is None else value
            )
    return metrics


def _symbols(file: model_file.ModelFile, path: Path) -> NDArray[np.int64]:
    """Return the text as parallel streams, (T, sessions)."""
    assert file.vocabulary is not None
    symbols = encode_text(read_text(path), file.vocabulary)[:MOST_CHARACTERS]
    if len(symbols) < 2:
        raise DataError(str(path), "at least 2 characters", str(len(symbols)))
    return streams(symbols, max(1, min(_SESSIONS, len(symbols) // 256)))


def _score_text(symbols: NDArray[np.int64], stream: Stream) -> dict[str, float]:
    numbers = range(symbols.shape[1])
    nats = 0.0
    for first in range(0, len(symbols) - 1, 256):
        part = symbols[first : first + 257]
        scores = stream.run(part[:-1], sessions=numbers).astype(np.float64)
        scores -= scores.max(axis=-1, keepdims=True)
        taken = np.take_along_axis(scores, part[1:, :, None], axis=-1)[..., 0]
        nats += float((np.log(np.exp(scores).sum(axis=-1)) - taken).sum())
    return {"nats/char": nats / symbols[1:].size}


def _microseconds(stream: Stream, xs: NDArray[Any], times: NDArray[Any] | None) -> float:
    seconds = []
    for turn in range(60):
        x = xs[turn % len(xs)]
        when = times[turn % len(xs)] if times is not None and stream.reads_calendar else None
        began = time.perf_counter()
        for _ in range(20):
            stream.step(x, time=when)
        seconds.append((time.perf_counter() - began) / 20)
    return statistics.median(seconds) * 1e6
