"""Inputs of a forecaster: the series of a table, each a row of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatewright.data.preprocessing import Encoded, encode
from gatewright.data.table import Roles, Series, Table, read_table
from gatewright.data.time_zones import NO_ZONE
from gatewright.data.window_scale import Window
from gatewright.errors import DataError, GatewrightError
from gatewright.nn.model import Model
from gatewright.spec import NO_CATEGORY, QuantileHead, Scaler, SeriesEncoder
from gatewright.spec.recording import RecordingMetadata, SeriesMetadata
from gatewright.tasks.forecast.dataset import SeriesData, roles
from gatewright.tasks.forecast.fitted_table import fitted, rows_observed
from gatewright.tasks.forecast.seasonal_differences import seasonal_differences, seen_ages
from gatewright.tasks.forecast.window_units import Place, in_window, replace_targets
from gatewright.tasks.inputs import Array, InputBatch, device_of, start_error
from gatewright.tasks.options import DataOptions


@dataclass(frozen=True)
class Excerpt:
    """The rows that are read of a series.

    Attributes:
        rows: rows of the series; those after its end do not count.
        zero: the row that is step 0 for the caller.
        end: the row at which the part ends; the end of the series if None.
        part: what begins at ``zero``, as an error names it; empty for the series itself.
    """

    rows: slice
    zero: int = 0
    end: int | None = None
    part: str = ""


def of_source(
    model: Model, data: Any, span: slice, title: str, fill: str, options: DataOptions | None
) -> InputBatch:
    """Return the inputs of a forecaster from a table or the path of one; see `gatewright.tasks.base.Kind.inputs`.

    Raises:
        GatewrightError: if it is neither, cannot be read, or does not fit the model.
    """
    if isinstance(data, str | Path):
        assert model.spec.forecaster is not None
        encoder = model.spec.forecaster[0]
        zone = (encoder.time_zone or NO_ZONE) if encoder.calendar or encoder.holidays else ""
        columns = (encoder.targets, encoder.past, encoder.known_in_table, encoder.static)
        category = (NO_CATEGORY, *(each.column for each in encoder.categories))
        named = Roles(*columns, time_zone=zone, category=category, holidays=encoder.holidays, fixed=True)
        named = named if options is None else roles(options, fixed=True)
        data, title = read_table(Path(data), named, fill, encoder.step), title or Path(data).name
    if not isinstance(data, Table):
        raise GatewrightError("data", "a table's path", type(data).__name__)
    return of_table(model, data, [Excerpt(span)] * len(data.series), title, fill)


def of_part(model: Model, data: SeriesData, part: str, span: slice, title: str) -> InputBatch:
    """Return the inputs of a forecaster from a part of its data.

    Args:
        model: the forecaster.
        data: what it learned from.
        part: "valid" or "test".
        span: steps that are read of each series, counted from one context before the part.
        title: of the recording.
    """
    assert model.spec.forecaster is not None
    context = model.spec.forecaster[0].context
    excerpts, shown = [], []
    for series, parts in zip(data.table.series, data.parts, strict=True):
        # The part's first forecast is made at the end of a context before it.
        begin, end = (parts.valid, parts.test) if part == "valid" else (parts.test, parts.end)
        if begin == end:
            continue  # a short series has no rows in some parts
        shown.append(series)
        zero = max(0, begin - context)
        rows = slice(zero + span.start, end if span.stop is None else min(end, zero + span.stop))
        excerpts.append(Excerpt(rows, zero, end, "the validation part" if part == "valid" else "the test part"))
    return of_table(model, replace(data.table, series=tuple(shown)), excerpts, title, data.settings.fill)


def of_table(model: Model, table: Table, excerpts: Sequence[Excerpt], title: str, fill: str = "") -> InputBatch:
    """Return what a forecaster is to read of a table's series, each a row of the batch.

    Args:
        model: the forecaster.
        table: the series.
        excerpts: which of its rows are read of each series.
        title: what it is.
        fill: how missing inputs are filled.

    Raises:
        GatewrightError: if the table does not fit the model, or a series has nothing to read from a step on.
    """
    assert model.spec.forecaster is not None
    assert model.scaler is not None
    encoder, head = model.spec.forecaster
    table = fitted(table, encoder, head)
    about = RecordingMetadata(
        title=title,
        note="",
        fingerprint=model.fingerprint,
        rows=tuple(one.name for one in table.series),
        inputs=_input_names(encoder, head),
        readouts=tuple(
            f"{target} +{ahead} {name}"
            for ahead in range(1, head.horizon + 1)
            for target in encoder.targets
            for name in head.output_names
        ),
        peer="",
        edits=(),
        data=SeriesMetadata(
            encoder.targets,
            encoder.columns,
            head.horizon,
            head.quantiles,
            model.scaler.deviations[: len(encoder.targets)],
            encoder.step,
        ),
    )
    parts = [
        of_series(model, series, excerpt, fill) for series, excerpt in zip(table.series, excerpts, strict=True)
    ]
    lengths = np.array([len(part[0]) for part in parts])
    x, level, columns, targets, differences, last, scale = (
        _padded([part[n] for part in parts], pad)
        for n, pad in enumerate((0.0, 0.0, np.nan, np.nan, 0.0, 0.0, 1.0))
    )
    times = None
    if table.series[0].times is not None:
        stamps = [
            one.clock.local(one.times[excerpt.rows][:length])
            for one, excerpt, length in zip(table.series, excerpts, lengths, strict=True)
            if one.times is not None
        ]
        times = _padded(stamps, np.datetime64("NaT"))
    device = device_of(model)
    return InputBatch(
        about,
        torch.from_numpy(x).to(device),
        lengths,
        level=torch.from_numpy(level).to(device),
        differences=torch.from_numpy(differences).to(device) if encoder.seasons else None,
        place=Place(torch.from_numpy(last), torch.from_numpy(scale)) if encoder.window else None,
        columns=columns,
        targets=targets,
        times=times,
    )


def of_series(model: Model, series: Series, excerpt: Excerpt, fill: str) -> tuple[Array, ...]:
    """Return what is read of one series.

    Returns:
        inputs, level, columns, what came (T, horizon, targets), the seasonal differences (T, seasons, horizon,
        targets), and the place of forecasts (T, targets).
    """
    assert model.spec.forecaster is not None
    assert model.scaler is not None
    encoder, head = model.spec.forecaster
    first, stop, _ = excerpt.rows.indices(len(series.values))
    if first >= stop:
        raise _unreadable(model, series, excerpt, fill)
    # What stands before the first row that is read is unknown to the model, as it is to a stream.
    one = _from(series, first)
    encoded, inputs, usable = _read(model, one, fill)
    if not usable[0]:
        raise _unreadable(model, series, excerpt, fill)
    end = len(inputs) if usable.all() else int(np.argmin(usable))
    read = slice(0, min(end, stop - first))
    level, differences, place = _in_own_units(encoded, inputs, encoder, model.scaler, head.horizon)
    came = _ahead(one.values[:, : len(encoder.targets)], head.horizon).transpose(0, 2, 1)
    return (
        inputs[read],
        level[read],
        one.values[read],
        came[read],
        differences[read],
        *place[:, read],
    )


def _read(model: Model, series: Series, fill: str) -> tuple[Encoded, Array, Array]:
    """Return a series encoded, its inputs with those known in advance, and which rows the model can read."""
    assert model.spec.forecaster is not None
    assert model.scaler is not None
    encoder, head = model.spec.forecaster
    rows = len(series.values)
    encoded = encode(series, encoder, model.scaler, fill)
    inputs = np.concatenate([encoded.inputs, _ahead(encoded.known, head.horizon).reshape(rows, -1)], axis=1)
    # Past the last observed target inputs may be missing; those known in advance end before the table does.
    observed = rows_observed(series, len(encoder.targets))
    return encoded, inputs, np.isfinite(inputs).all(axis=1) & (np.arange(rows) < observed)


def _in_own_units(
    encoded: Encoded, inputs: Array, encoder: SeriesEncoder, scaler: Scaler, horizon: int
) -> tuple[Array, Array, Array]:
    """Return level and seasonal differences of each row of a series, and the place of forecasts (2, T, targets).

    With the scale of a window, change and level of the inputs (T, D) are replaced, in place.
    """
    level, none = encoded.level, np.zeros((len(encoded.level), 0), np.float32)
    if encoder.window:
        window = Window.of(encoded.transformed[:, None], encoder, scaler)
        replace_targets(inputs[:, None], window, encoder)
        place = np.stack([window.last[:, 0], window.scale[:, 0]])
        parts = in_window(window, encoder, horizon, scaler, len(level))[:, 0] if encoder.seasons else none
        return np.zeros_like(level), parts, place
    place = np.zeros((2, *level.shape))
    if not encoder.seasons:
        return level, none, place
    levels, ages = torch.from_numpy(level), torch.from_numpy(seen_ages(encoded))
    rows = torch.arange(len(level), device=levels.device).unsqueeze(1)
    return level, seasonal_differences(levels, ages, rows, rows, encoder.seasons, horizon)[:, 0].numpy(), place


def _unreadable(model: Model, series: Series, excerpt: Excerpt, fill: str) -> GatewrightError:
    """Return the error for a series of which nothing can be read: the first step, or what is missing there."""
    zero, start = excerpt.zero, excerpt.rows.start
    end = len(series.values) if excerpt.end is None else excerpt.end
    usable = _read(model, _from(series, zero), fill)[2][: end - zero]
    if not usable.any():
        return DataError(series.title, "at least one row that the model can read", "none")
    last = int(np.flatnonzero(usable)[-1])
    if start - zero > last:
        of = f" of {series.title}" if series.name else ""
        return start_error(start - zero, last + 1, f"{excerpt.part}{of}" if excerpt.part else series.title)
    expected = "a value of each input in the first row that is read (--fill fills gaps)"
    return DataError(f"{series.title}, {series.place(start)}", expected, "a row without one")


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
    sizes = {each.column: each.size for each in encoder.categories}

    def named(column: str, ahead: str = "") -> list[str]:
        """Return the name of a number, or of each number of a category's vector."""
        size = sizes.get(column)
        return [f"{column}{ahead}"] if size is None else [f"{column}{ahead} [{n}]" for n in range(1, size + 1)]

    for column in (*encoder.past, *encoder.static):
        names += named(column)
    names += [f"{wave} of {part.replace('_', ' ')}" for part in encoder.calendar for wave in ("sine", "cosine")]
    for known in encoder.known:
        for ahead in range(1, head.horizon + 1):
            names += named(known, f" +{ahead}")
    return tuple(names)
