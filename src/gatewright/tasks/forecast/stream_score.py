"""The score of a stream of a forecaster on windows of a table."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data.preprocessing import last_observed, origins
from gatewright.data.table import Series, read_table
from gatewright.errors import DataError
from gatewright.files.model_file import ModelFile
from gatewright.runtime.stream import Stream
from gatewright.tasks.base import SESSIONS, StreamScore
from gatewright.tasks.forecast.dataset import roles
from gatewright.tasks.forecast.fitted_table import fitted
from gatewright.tasks.forecast.metrics import measure
from gatewright.tasks.options import DataOptions

#: Maximum number of windows that are scored.
MOST_WINDOWS = 2_000


def stream_score(file: ModelFile, path: Path, options: DataOptions) -> StreamScore:
    """Read up to `MOST_WINDOWS` windows of a table, evenly spread over all series.

    Raises:
        GatewrightError: if the table does not fit the model.
    """
    batches = _windows(file, path, options)
    metrics = functools.partial(_score, file, batches)
    return StreamScore(batches[0].rows[:, 0], batches[0].times[:, 0], metrics)


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


def _windows(file: ModelFile, path: Path, options: DataOptions) -> list[_Windows]:
    assert file.spec.forecaster is not None
    encoder, head = file.spec.forecaster
    fill = options.fill or ""
    table = fitted(read_table(path, roles(options, fixed=True), fill, encoder.step), encoder, head)
    assert file.scaler is not None
    targets, horizon = len(encoder.targets), head.horizon
    places = []
    for number, one in enumerate(table.series):
        target = one.values[:, :targets].astype(np.float32)
        rows = origins(target, encoder.context, horizon, encoder.context, len(target))
        places += [(number, int(origin)) for origin in rows]
    if not places:
        expected = f"at least {encoder.context + horizon} rows with an observed target among those to forecast"
        raise DataError(
            str(path), expected, f"{max(len(one.values) for one in table.series)} in the longest series"
        )
    chosen = [places[k] for k in np.unique(np.linspace(0, len(places) - 1, MOST_WINDOWS).astype(int))]
    batches = []
    for first in range(0, len(chosen), SESSIONS):
        some = chosen[first : first + SESSIONS]
        spans = [(number, slice(origin + 1 - encoder.context, origin + 1)) for number, origin in some]
        times = [_times(table.series[number])[span] for number, span in spans]
        truth = [table.series[n].values[origin + 1 : origin + 1 + horizon, :targets] for n, origin in some]
        inputs = [_rows(table.series[n].values[span.start : span.stop + horizon], file, fill) for n, span in spans]
        batches.append(_Windows(np.stack(inputs, 1), np.stack(times, 1), np.stack(truth)))
    return batches


def _rows(values: NDArray[np.float64], file: ModelFile, fill: str) -> NDArray[np.float64]:
    """Return the rows of a window as `Stream.step` reads them.

    Args:
        values: the window and ``horizon`` rows after it, (context + horizon, columns).
        file: the model.
        fill: how missing inputs are filled.
    """
    assert file.spec.forecaster is not None
    encoder, head = file.spec.forecaster
    assert file.scaler is not None
    targets, horizon, context = len(encoder.targets), head.horizon, encoder.context
    first, last = targets + len(encoder.past), targets + len(encoder.past) + len(encoder.known)
    inputs = last_observed(values[:, targets:]) if fill == "forward" else values[:, targets:]
    if fill:
        inputs = np.where(np.isfinite(inputs), inputs, file.scaler.mean[targets:])
    values = np.concatenate([values[:, :targets], inputs], axis=1)
    for category in encoder.categories:
        place = encoder.columns.index(category.column)
        values[:, place] = np.nan_to_num(values[:, place])
    ahead = np.lib.stride_tricks.sliding_window_view(values[1:, first:last], horizon, axis=0)
    # A stream works out the holidays by itself, from the times.
    known = ahead[:context, : len(encoder.known_in_table)].reshape(context, -1)
    return np.concatenate([values[:context, :first], values[:context, last:], known], axis=1)


def _times(one: Series) -> NDArray[Any]:
    if one.times is None:
        return np.zeros(len(one.values), "datetime64[us]")
    return one.clock.local(one.times)


def _score(file: ModelFile, batches: list[_Windows], stream: Stream) -> dict[str, float]:
    assert file.spec.forecaster is not None
    encoder, head = file.spec.forecaster
    assert file.scaler is not None
    answers = []
    for batch in batches:
        stream.reset()
        numbers = range(batch.rows.shape[1])
        for x, when in zip(batch.rows, batch.times, strict=True):
            y = stream.step(x, sessions=numbers, time=when if stream.reads_calendar else None, indexed=True)
        answers.append(y)
    answer, truth = np.concatenate(answers), np.concatenate([batch.truth for batch in batches])
    metrics = {}
    for number, target in enumerate(encoder.targets):
        scale = file.scaler.deviations[number]
        figures = measure([truth[..., number]], [answer[:, :, number]], head.quantiles, scale)
        for name in ("mae", "mse"):
            value = figures[name]
            metrics[f"{name.upper()} {target}" if len(encoder.targets) > 1 else name.upper()] = (
                float("nan") if value is None else value
            )
    return metrics
