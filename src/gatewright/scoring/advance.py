"""Forecasts that go on from snapshots: a series reads its new rows alone, to the bits of reading them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from gatewright.data.table import Series, Table
from gatewright.errors import DataError
from gatewright.runtime.many_series import ManySeries
from gatewright.scoring.series_forecasts import Block, Reading, blocks, frame_of
from gatewright.scoring.states import Snapshots, require_next, rows_of_states
from gatewright.tasks.forecast.fitted_table import rows_observed


class Advanced(NamedTuple):
    """What a table gave.

    Attributes:
        forecasts: a row for each series and step, as of `gatewright.Scorer.score`; None if no series is long
            enough.
        states: a snapshot of each series of the table.
        notes: remarks for the user, each with the names of its series.
    """

    forecasts: pl.DataFrame | None
    states: pl.DataFrame
    notes: dict[str, list[str]]


def advance_series(
    model: ManySeries,
    reading: Reading,
    table: Table,
    snapshots: Snapshots,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Table, Advanced]:
    """Read all rows of each series up to its last observed target, from its snapshot on, and forecast.

    A series that has read fewer rows than the model's context is read, and not forecast.

    Args:
        model: the forecaster.
        reading: how its tables are read.
        table: the series.
        snapshots: of the rows before the table; series without one begin.
        progress: is called with the number of series just done.

    Returns:
        The table of the series that are forecast; and what it gave.

    Raises:
        DataError: if the rows of a series do not follow upon its snapshot, or as `forecast_series`.
        StateError: if a snapshot is of another model.
    """
    assert reading.file.spec.forecaster is not None
    encoder, _ = reading.file.spec.forecaster
    targets, inputs = len(encoder.targets), len(encoder.columns) - len(encoder.targets)
    statics = slice(inputs - len(encoder.static), inputs)
    found = [snapshots.of(one.ids) for one in table.series]
    for one, snapshot in zip(table.series, found, strict=True):
        if snapshot is not None:
            require_next(one, snapshot, table, statics)
    reads = [slice(0, rows_observed(one, targets)) for one in table.series]
    answers, states, last = [], [], []
    for block in blocks(reads, model.width):
        series, own = list(table.series[block]), found[block]
        before = np.array([np.full(inputs, np.nan) if each is None else each.inputs for each in own])
        given = Block(
            series, reads[block], [each and each.state for each in own], before.reshape(len(own), inputs)
        )
        answer, after, ends = given.forecast(model, reading, table, keep=True)
        answers.append(answer)
        states += after
        last.append(ends)
        progress(len(series))
    steps = np.array([state.steps for state in states])
    stops = np.array([read.stop for read in reads])
    kept = rows_of_states(table.series, stops, states, np.concatenate(last), table.roles.ids, model.shape)
    long = np.flatnonzero(steps >= encoder.context)
    short = [table.series[k] for k in np.flatnonzero(steps < encoder.context)]
    notes = _notes(table, short, encoder.context)
    chosen = replace(table, series=tuple(table.series[k] for k in long))
    frame = None
    if len(long):
        parts = ([reads[k] for k in long], np.concatenate(answers)[long], reading)
        frame = frame_of(chosen, *parts, (steps - stops)[long])
    return chosen, Advanced(frame, kept, notes)


def _notes(table: Table, short: list[Series], context: int) -> dict[str, list[str]]:
    notes: dict[str, list[str]] = {note: [] for note in table.notes}
    if table.empty:
        notes["not read, no observed target"] = list(table.empty)
    if short:
        names = [one.name or "the table" for one in short]
        notes[f"read and not forecast yet, fewer than {context} rows (the model's context)"] = names
    return notes


def require_forecasts(advanced: Advanced, context: int) -> pl.DataFrame:
    """Return the forecasts.

    Raises:
        DataError: if there are none.
    """
    if advanced.forecasts is None:
        expected = f"a series of at least {context} rows (the model's context), those of its snapshot included"
        raise DataError("table", expected, "none")
    return advanced.forecasts
