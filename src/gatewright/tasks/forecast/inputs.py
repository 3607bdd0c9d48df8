"""Inputs of a forecaster: the series of a table, each a row of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gatewright.data.series import encode
from gatewright.data.table import Series, Table
from gatewright.errors import DataError
from gatewright.nn.model import Model
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.spec.recording import About, SeriesAbout
from gatewright.tasks.forecast.predict import require_fit
from gatewright.tasks.inputs import Array, InputBatch, device_of


def of_table(model: Model, table: Table, spans: Sequence[slice], title: str, fill: str = "") -> InputBatch:
    """Return what a forecaster is to read of a table's series, each a row of the batch.

    Args:
        model: the forecaster.
        table: the series.
        spans: which of its rows are read of each series.
        title: what it is.
        fill: how missing inputs are filled.

    Raises:
        GatewrightError: if the table does not fit the model, or a series has nothing to read.
    """
    encoder, head = model.spec.encoder, model.spec.head
    if not isinstance(encoder, SeriesEncoder) or not isinstance(head, QuantileHead):
        raise DataError("data", "a text, which this model reads", "a table")
    assert model.scaler is not None
    require_fit(table, encoder)
    about = About(
        title=title,
        note="",
        fingerprint=model.fingerprint,
        rows=tuple(one.name for one in table.series),
        inputs=_input_names(encoder, head),
        readouts=tuple(
            f"{target} +{ahead} q{level:g}"
            for ahead in range(1, head.horizon + 1)
            for target in encoder.targets
            for level in head.quantiles
        ),
        peer="",
        edits=(),
        data=SeriesAbout(
            encoder.targets,
            encoder.columns,
            head.horizon,
            head.quantiles,
            model.scaler.scale[: len(encoder.targets)],
            encoder.step,
        ),
    )
    parts = [_of_series(model, one, span, fill) for one, span in zip(table.series, spans, strict=True)]
    lengths = np.array([len(part[0]) for part in parts])
    x, level, columns, targets = (
        _padded([part[n] for part in parts], pad) for n, pad in enumerate((0.0, 0.0, np.nan, np.nan))
    )
    times = None
    if table.series[0].times is not None:
        stamps = [
            one.clock.local(one.times[span][:length])
            for one, span, length in zip(table.series, spans, lengths, strict=True)
            if one.times is not None
        ]
        times = _padded(stamps, np.datetime64("NaT"))
    device = device_of(model)
    return InputBatch(
        about,
        torch.from_numpy(x).to(device),
        lengths,
        level=torch.from_numpy(level).to(device),
        columns=columns,
        targets=targets,
        times=times,
    )


def _of_series(model: Model, one: Series, span: slice, fill: str) -> tuple[Array, Array, Array, Array]:
    """Return what is read of one series: inputs, level, columns and what came (T, horizon, targets)."""
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert model.scaler is not None
    targets, horizon = len(encoder.targets), head.horizon
    # What stands before the first row that is read is unknown to the model, as it is to a stream.
    one = _from(one, span.start)
    observed = np.flatnonzero(np.isfinite(one.values[:, :targets]).any(axis=1))
    if not len(observed):
        raise _unreadable(one, span)
    encoded = encode(one, encoder, model.scaler, fill)
    inputs = np.concatenate([encoded.inputs, _ahead(encoded.known, horizon).reshape(len(one.values), -1)], axis=1)
    # Past the last observed target inputs may be missing; those known in advance end before the table does.
    usable = np.isfinite(inputs).all(axis=1) & (np.arange(len(inputs)) <= observed[-1])
    end = len(inputs) if usable.all() else int(np.argmin(usable))
    if end == 0:
        raise _unreadable(one, span)
    read = slice(0, end if span.stop is None else min(end, span.stop - span.start))
    came = _ahead(one.values[:, :targets], horizon).transpose(0, 2, 1)
    return inputs[read], encoded.level[read], one.values[read], came[read]


def _unreadable(one: Series, span: slice) -> DataError:
    got = f"none from row {span.start + 1} on"
    return DataError(one.title, "at least one row that the model can read", got)


def _from(one: Series, row: int) -> Series:
    """Return the rows of a series from one on."""
    times = None if one.times is None else one.times[row:]
    return replace(one, times=times, values=one.values[row:], lines=one.lines[row:])


def _ahead(values: Array, horizon: int) -> Array:
    """Return the next values of each row (rows, columns, horizon), NaN past the end."""
    later = np.pad(values[1:], ((0, horizon), (0, 0)), constant_values=np.nan)
    return np.lib.stride_tricks.sliding_window_view(later, horizon, axis=0)[: len(values)]


def _padded(parts: Sequence[Array], pad: Any) -> Array:
    """Lay rows of unequal length side by side: (T, B, ...)."""
    longest = max(map(len, parts))
    laid = np.full((longest, len(parts), *parts[0].shape[1:]), pad, parts[0].dtype)
    for row, part in enumerate(parts):
        laid[: len(part), row] = part
    return laid


def _input_names(encoder: SeriesEncoder, head: QuantileHead) -> tuple[str, ...]:
    """Name what the first layer reads, in the order of `SeriesEncoder`."""
    names = []
    if encoder.reads in ("change", "both"):
        names += [f"change of {target}" for target in encoder.targets]
    if encoder.reads in ("level", "both"):
        names += list(encoder.targets)
    if encoder.reads != "nothing":
        names += [f"{target} observed" for target in encoder.targets]
    names += [*encoder.past, *encoder.static]
    names += [f"{wave} of {part.replace('_', ' ')}" for part in encoder.calendar for wave in ("sine", "cosine")]
    names += [f"{known} +{ahead}" for known in encoder.known for ahead in range(1, head.horizon + 1)]
    return tuple(names)
