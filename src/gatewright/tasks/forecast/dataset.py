"""A table of series, split, as a forecaster learns from it; and the model that fits it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency, series
from gatewright.data.number_format import Notation
from gatewright.data.sources import TableSource
from gatewright.data.table import Roles, Table, table_of
from gatewright.data.time_zones import NO_ZONE
from gatewright.data.window_checks import Sizes, require_windows, without_windows
from gatewright.spec import ModelSpec, QuantileHead, Scaler, SeriesEncoder, StackSpec
from gatewright.tasks.options import UNSET, DataOptions, Options


@dataclass(frozen=True)
class SeriesData:
    """A table, split.

    Attributes:
        table: the series.
        parts: where each series' parts begin and end.
        options: the options with everything that the data decided.
        windows: how many windows each series has in each part (series, 3).
        notes: what was left out, in lines for a person.
    """

    table: Table
    parts: tuple[series.Parts, ...]
    options: DataOptions
    windows: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def roles(options: DataOptions) -> Roles:
    """Return what the options say about columns."""
    named = (options.target, options.past, options.known, options.static)
    notation = Notation(options.decimal or ".", options.thousands or "", options.missing or ())
    return Roles(
        *named,
        time=options.time,
        time_format=options.time_format,
        time_zone=options.time_zone or "",
        series=options.id,
        resample=options.resample,
        aggregate=options.aggregate,
        notation=notation,
    )


def read(source: TableSource, options: DataOptions, step: str = "") -> SeriesData:
    """Read and split a table, and settle the options that depend on it.

    Args:
        source: the path of a table, or a table in memory; see `gatewright.data.sources.TableSource`.
        options: the options.
        step: the step that is expected, where a model is to read the table.

    Raises:
        GatewrightError: see `table_of`, `series.split` and `require_windows`.
    """
    table = table_of(source, roles(options), options.fill, step)
    parts = series.split(table.series, options.valid, options.test)
    table, constant = series.leave_out_constants(table, parts)
    sizes = Sizes(options.horizon, options.season or frequency.season(table.step), options.context)
    counts = require_windows(table, parts, sizes, ("training", "validation"))
    options = replace(
        options,
        target=table.roles.targets,
        past=table.roles.past,
        known=table.roles.known,
        static=table.roles.static,
        time=table.roles.time,
        time_zone="" if table.step == "row" else table.clock.zone or NO_ZONE,
        season=sizes.season,
        calendar=_calendar(table, parts, options) or ("none",),
        context=sizes.read,
    )
    return SeriesData(table, parts, options, counts, (*constant, *without_windows(table, counts, sizes)))


def _calendar(table: Table, parts: tuple[series.Parts, ...], options: DataOptions) -> tuple[str, ...]:
    if options.calendar is not UNSET:
        return tuple(part for part in options.calendar if part != "none")
    spans = [
        one.times[min(part.valid, len(one.times) - 1)] - one.times[0]
        for one, part in zip(table.series, parts, strict=True)
        if one.times is not None
    ]
    return frequency.calendar_parts(table.step, max(spans)) if spans else ()


def build(data: SeriesData, options: Options) -> tuple[ModelSpec, Scaler]:
    """Return the specification of the model for a table, and the scaler of its training part."""
    found, told = data.table.roles, data.options
    encoder = SeriesEncoder(
        targets=found.targets,
        past=found.past,
        known=found.known,
        static=found.static,
        calendar=tuple(part for part in told.calendar if part != "none"),
        step=data.table.step,
        context=told.context,
        reads=told.reads,
        time_zone=data.table.clock.zone,
    )
    size = options.model
    stack = StackSpec(size.hidden, size.layers, size.dropout, size.proj)
    head = QuantileHead(told.horizon, tuple(told.quantiles))
    return ModelSpec(encoder, stack, head), series.fit_scaler(data.table, data.parts)
