"""Rows of many series as the native stream reads them: each column for all rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.table import Series, Table
from gatewright.files.model_file import ModelFile
from gatewright.spec import Scaler, SeriesEncoder
from gatewright.tasks.forecast.rows_ahead import rows_with_ahead

Numbers = NDArray[np.float64]


class StreamRows(NamedTuple):
    """Rows of several series.

    Attributes:
        rows: (T, B, width); those of a series after its end are 0.
        lengths: number of rows of each series (B,).
        inputs: past, known and static inputs of the last row of each series, filled, in the units of the table
            (B, inputs): what `fill` "forward" goes on with.
    """

    rows: Numbers
    lengths: NDArray[np.int64]
    inputs: Numbers


def stream_rows(
    series: Sequence[Series],
    reads: Sequence[slice],
    table: Table,
    file: ModelFile,
    fill: str,
    before: Numbers | None = None,
) -> StreamRows:
    """Return rows of series as the native stream reads them, the calendar and holidays included.

    Args:
        series: the series.
        reads: the rows that are read of each, at least one.
        table: their table, as `gatewright.tasks.forecast.fitted_table.fitted` returns it.
        file: the forecaster.
        fill: how missing inputs are filled.
        before: the inputs of the row before the first of each series, NaN without one (B, inputs).

    Raises:
        DataError: if an input known in advance has no value where it is needed.
    """
    assert file.spec.forecaster is not None
    assert file.scaler is not None
    (encoder, head), targets = file.spec.forecaster, len(file.spec.encoder.targets)
    horizon = head.horizon if encoder.known else 0
    parts = [
        rows_with_ahead(one, read, table, encoder, horizon, fill).values if horizon else one.values[read]
        for one, read in zip(series, reads, strict=True)
    ]
    lengths = np.array([read.stop - read.start for read in reads], np.int64)
    sizes = lengths + horizon
    values = np.concatenate(parts)
    place = np.arange(len(values)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    own = np.flatnonzero(place < np.repeat(lengths, sizes))
    inputs = _filled(
        values[:, targets:], np.repeat(np.arange(len(sizes)), sizes), encoder, file.scaler, fill, before
    )
    first, last = len(encoder.past), len(encoder.past) + len(encoder.known)
    columns = [values[own, :targets], inputs[own, :first], inputs[own, last:]]
    if encoder.calendar:
        columns.append(_phases(series, reads, encoder))
    if horizon:
        ahead = np.lib.stride_tricks.sliding_window_view(inputs[:, first:last], horizon, axis=0)
        columns.append(ahead[own + 1].reshape(len(own), -1))
    laid = _laid_out(np.concatenate(columns, axis=1), place[own], lengths)
    return StreamRows(laid, lengths, inputs[own[np.cumsum(lengths) - 1]])


def _filled(
    inputs: Numbers,
    owner: NDArray[np.int64],
    encoder: SeriesEncoder,
    scaler: Scaler,
    fill: str,
    before: Numbers | None,
) -> Numbers:
    """Return inputs with a number in every row: missing ones filled, and 0 for an unknown category."""
    missing = np.isnan(inputs)
    if not missing.any():
        return inputs
    targets = len(encoder.targets)
    if fill == "forward":
        rows = np.maximum.accumulate(np.where(missing, -1, np.arange(len(inputs))[:, None]), axis=0)
        starts = np.searchsorted(owner, owner)
        carried = np.take_along_axis(inputs, np.maximum(rows, 0), axis=0)
        earlier = np.full_like(inputs, np.nan) if before is None else before[owner]
        inputs = np.where(rows >= starts[:, None], carried, earlier)
        missing = np.isnan(inputs)
    mean = np.array(scaler.mean)[targets:]  # 0 of a category, the index of an unknown one
    return np.where(missing, mean, inputs)


def _phases(series: Sequence[Series], reads: Sequence[slice], encoder: SeriesEncoder) -> Numbers:
    """Return sine and cosine of the calendar of all rows, (rows, 2 * parts)."""
    times = np.concatenate(
        [one.times[read] for one, read in zip(series, reads, strict=True) if one.times is not None]
    )
    return frequency.calendar(series[0].clock.local(times), encoder.calendar)


def _laid_out(rows: Numbers, place: NDArray[np.int64], lengths: NDArray[np.int64]) -> Numbers:
    """Return rows that stand series by series as (T, B, width)."""
    B, T = len(lengths), int(lengths.max())
    if bool((lengths == T).all()):
        return np.ascontiguousarray(rows.reshape(B, T, -1).transpose(1, 0, 2))
    laid = np.zeros((T, B, rows.shape[1]))
    laid[place, np.repeat(np.arange(B), lengths)] = rows
    return laid
