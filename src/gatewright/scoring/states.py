"""Snapshots of series as a frame: of each series its state, the time of its last row, and its inputs there.

A row has the id columns of the series as text, and

- ``gatewright_time``: the time of the last row that was read, on the clock on which the model's step is even
  (UTC for steps below a day in a time zone with a name); null without timestamps;
- ``gatewright_inputs``: past, known and static inputs of that row, filled, as little-endian float64;
- ``gatewright_state``: the state as `gatewright.Stream.snapshot` writes it, with the fingerprint of the model
  and a digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.sources import frame_of
from gatewright.data.table import Series, Table
from gatewright.errors import DataError, StateError, shorten
from gatewright.runtime.state import Shape, State
from gatewright.tasks.forecast.forecast_frame import shown

TIME, INPUTS, STATE = "gatewright_time", "gatewright_inputs", "gatewright_state"

#: The name of the column of row numbers where a model has no id columns: one series.
_OWN = (TIME, INPUTS, STATE)

Ids = tuple[str, ...]


class Snapshot(NamedTuple):
    """What is kept of a series.

    Attributes:
        state: its state.
        time: time of its last row; None without timestamps.
        inputs: its inputs there (inputs,).
    """

    state: State
    time: np.datetime64 | None
    inputs: NDArray[np.float64]


class Snapshots:
    """Snapshots of series by their ids.

    Args:
        rows: a frame of snapshots, or None for none.
        ids: the id columns of the model.
        shape: of its states.
        inputs: number of its inputs.

    Raises:
        StateError: if the frame is none of snapshots, a series is there twice, or a snapshot is damaged or of
            another model; it names the series.
    """

    def __init__(self, rows: pl.DataFrame | None, ids: Ids, shape: Shape, inputs: int) -> None:
        self._ids, self._shape, self._inputs = ids, shape, inputs
        self._cells = pl.DataFrame() if rows is None else _checked(rows, ids)
        keys = self._cells.select(ids).rows() if len(self._cells) and ids else [()] * len(self._cells)
        self._places = {key: place for place, key in enumerate(keys)}
        if len(self._places) < len(keys):
            twice = next(key for place, key in enumerate(keys) if self._places[key] != place)
            raise StateError("states", "a row for each series", f"several of {title_of(twice)}")

    def __len__(self) -> int:
        return len(self._places)

    def of(self, ids: Ids) -> Snapshot | None:
        """Return the snapshot of a series; None if there is none.

        Raises:
            StateError: if it is damaged, or of another model.
        """
        place = self._places.get(ids)
        if place is None:
            return None
        time, inputs, state = (self._cells[name][place] for name in _OWN)
        try:
            if state is None or inputs is None or len(inputs) != 8 * self._inputs:
                raise StateError("snapshot", f"a state and {self._inputs} inputs", "others")
            read = self._shape.from_bytes(state)
        except StateError as error:
            raise StateError(f"states, {title_of(ids)}", error.expected, error.got) from None
        numbers = np.frombuffer(inputs, "<f8").astype(np.float64)
        return Snapshot(read, None if time is None else np.datetime64(time, "us"), numbers)

    def ids_of(self, rows: pl.DataFrame) -> set[Ids]:
        """Return the ids of the series of a frame of snapshots."""
        return set(rows.select(self._ids).rows()) if self._ids else {()}

    def without(self, seen: set[Ids]) -> pl.DataFrame | None:
        """Return the rows of all other series; None if there are none."""
        kept = [place for key, place in self._places.items() if key not in seen]
        return self._cells[kept] if kept else None

    def replaced(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return newer snapshots of some series, and those of all others."""
        others = self.without(self.ids_of(rows))
        return rows if others is None else pl.concat([rows, others])


def title_of(ids: Ids) -> str:
    """Return a series as an error names it."""
    return f"series {shorten(' / '.join(ids))}" if ids else "the table"


def _checked(rows: pl.DataFrame, ids: Ids) -> pl.DataFrame:
    """Return the columns of a frame of snapshots."""
    types: dict[str, Any] = {
        **dict.fromkeys(ids, pl.String),
        TIME: pl.Datetime("us"),
        INPUTS: pl.Binary,
        STATE: pl.Binary,
    }
    for name, dtype in types.items():
        if name not in rows.columns:
            expected = f"the columns {', '.join(map(shorten, types))}, as Gatewright writes them"
            raise StateError("states", expected, ", ".join(map(shorten, rows.columns[:20])) or "none")
        found = rows[name].dtype
        if found != dtype and not (found == pl.Null or (dtype == pl.String and found == pl.Categorical)):
            raise StateError(f"states, column {name}", str(dtype), str(found))
    return rows.select(pl.col(name).cast(dtype) for name, dtype in types.items())


def frame_of_states(source: object) -> pl.DataFrame:
    """Return a frame of snapshots that came as a frame of polars, an Arrow table or the path of a Parquet file."""
    return frame_of(source).cells  # type: ignore[arg-type]  # refuses what is none


def rows_of_states(
    series: Sequence[Series],
    ends: NDArray[np.int64],
    states: Sequence[State],
    inputs: NDArray[np.float64],
    ids: Ids,
    shape: Shape,
) -> pl.DataFrame:
    """Return snapshots of series as a frame.

    Args:
        series: the series.
        ends: number of rows of each that were read.
        states: of each.
        inputs: of the last row of each (series, inputs).
        ids: names of the id columns.
        shape: of the states.
    """
    columns = {name: pl.Series([one.ids[k] for one in series], dtype=pl.String) for k, name in enumerate(ids)}
    none = np.datetime64("NaT", "us")
    last = [none if one.times is None else one.times[end - 1] for one, end in zip(series, ends, strict=True)]
    numbers = np.ascontiguousarray(inputs, "<f8")
    columns[TIME] = pl.Series(np.array(last, "datetime64[us]"))
    columns[INPUTS] = pl.Series([row.tobytes() for row in numbers], dtype=pl.Binary)
    columns[STATE] = pl.Series([shape.to_bytes(state) for state in states], dtype=pl.Binary)
    return pl.DataFrame(columns)


def require_next(one: Series, snapshot: Snapshot, table: Table, statics: slice) -> None:
    """Require the rows of a series to follow upon its snapshot.

    Args:
        one: the series.
        snapshot: of it.
        table: its table.
        statics: places of the static inputs among the inputs.

    Raises:
        DataError: at a gap or an overlap, or a static input with another value; it names the series.
    """
    if one.times is not None and snapshot.time is not None:
        expected, first = frequency.after(snapshot.time, table.step, np.array([1])), one.times[:1]
        if first[0] != expected[0]:
            late = bool(first[0] > expected[0])
            what = (
                "a gap: pass the rows between them, too" if late else "rows that were read: pass only later ones"
            )
            raise DataError(
                f"time column {shorten(table.roles.time)}, {one.title}",
                f"{shown(expected, table)}, the row after its snapshot",
                f"{shown(first, table)}, {what}",
            )
    elif (one.times is None) != (snapshot.time is None):
        raise DataError(one.title, "timestamps, or none, as its snapshot", "the other")
    targets = len(table.roles.targets)
    now, before = one.values[0, targets:][statics], snapshot.inputs[statics]
    changed = np.flatnonzero(np.nan_to_num(now) != before)
    if len(changed):
        name = table.roles.static[int(changed[0])]
        raise DataError(
            f"static column {shorten(name)}", f"one value in {one.title}", "another than in its snapshot"
        )
