"""One part of a large table, scored: whole series in, forecasts as a file has them out."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from gatewright.data.frame import Frame, starts_of
from gatewright.data.sources import frame_of
from gatewright.data.table import Table, UnobservedError
from gatewright.estimators.table_answer import typed
from gatewright.runtime.many_series import ManySeries
from gatewright.scoring.advance import advance_series
from gatewright.scoring.series_forecasts import Reading, forecast_series, long_enough
from gatewright.scoring.states import Ids, Snapshots
from gatewright.tasks.forecast.forecast_frame import as_written
from gatewright.tasks.spreadsheet import with_harmless_names


class Part(NamedTuple):
    """What some whole series gave.

    Attributes:
        forecasts: a row for each series and step; None if no series is long enough.
        states: snapshots of the series; None if they are not kept.
        series: number of series that are forecast.
        notes: remarks, each with the names of its series.
    """

    forecasts: pl.DataFrame | None
    states: pl.DataFrame | None
    series: int
    notes: dict[str, list[str]]


def scored_part(
    model: ManySeries,
    reading: Reading,
    rows: pl.DataFrame | Frame,
    snapshots: Snapshots | None = None,
    *,
    as_text: bool = False,
) -> Part:
    """Forecast whole series; those that are too short are left out, even if all are.

    Args:
        model: the forecaster.
        reading: how its tables are read.
        rows: all rows of the series.
        snapshots: of the rows before, perhaps none; None to keep no snapshots, and to read the context alone.
        as_text: whether forecasts are to be as a CSV file has them; else as a frame of the library.

    Raises:
        GatewrightError: if the rows do not fit the model, or do not follow upon the snapshots.
    """
    frame = frame_of(rows)
    try:
        table = reading.read(frame)
    except UnobservedError:
        return Part(None, None, 0, {"left out, no observed target": _names(frame.cells, reading.table.id)})
    if snapshots is None:
        table, notes = long_enough(table, reading.file)
        found = forecast_series(model, reading, table) if table.series else None
        states = None
    else:
        table, advanced = advance_series(model, reading, table, snapshots)
        found, states, notes = advanced
    if found is None:
        return Part(None, states, 0, notes)
    forecasts, changed = _as_text(found, table) if as_text else (typed(found, table, frame), [])
    return Part(forecasts, states, len(table.series), {**notes, **{note: [] for note in changed}})


def _as_text(found: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, list[str]]:
    frame, changed = with_harmless_names(found)
    return as_written(frame, table), changed


def _names(cells: pl.DataFrame, ids: Ids) -> list[str]:
    if not ids:
        return ["the table"]
    return [" / ".join(map(str, key)) for key in cells.select(ids)[starts_of(cells.select(ids))].rows()]
