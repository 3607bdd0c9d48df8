"""A part of a recording: some steps, rows, layers or units."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.errors import GatewrightError
from gatewright.insight.recording import Layer, Peer, Recording, replaced, require_units
from gatewright.spec.recording import About, Edit


def select(
    recording: Recording,
    steps: slice | None,
    rows: Sequence[int] | None,
    layers: Sequence[int] | None,
    units: Sequence[int] | None,
) -> Recording:
    """Return what `Recording.select` does."""
    if steps is not None and (not isinstance(steps, slice) or steps.step not in (None, 1)):
        raise GatewrightError("steps", "a slice with step 1", repr(steps)[:80])
    first, end = _ends(steps or slice(None), recording.steps)
    part = recording
    if rows is not None:
        part = _rows(part, _some("rows", rows, len(recording.lengths)))
    if steps is not None:
        part = _steps(part, first, end)
    if layers is not None:
        part = _layers(part, _some("layers", layers, len(recording.layers)))
    return part if units is None else _units(part, units)


def _ends(steps: slice, size: int) -> tuple[int, int]:
    try:
        first, end, _ = steps.indices(size)
    except TypeError:
        raise GatewrightError("steps", "a slice of whole numbers", repr(steps)[:80]) from None
    return first, end


def _some(name: str, numbers: Any, size: int) -> NDArray[np.int64]:
    """Return at least one of ``size``."""
    chosen = require_units(numbers, size, name)
    if len(chosen) == 0:
        raise GatewrightError(name, "at least one", "none")
    return chosen


def _moved(edits: Iterable[Edit], name: str, chosen: NDArray[np.int64]) -> tuple[Edit, ...]:
    """Return the edits of what is chosen, under its new numbers."""
    found: list[Edit] = []
    for edit in edits:
        for new in np.flatnonzero(chosen == getattr(edit, name)).tolist():
            change: dict[str, Any] = {name: new}
            found.append(dataclasses.replace(edit, **change))
    return tuple(found)


def _rows(recording: Recording, rows: NDArray[np.int64]) -> Recording:
    about, lengths = recording.about, recording.lengths[rows]
    longest = int(lengths.max())

    def taken(name: str, array: Any) -> Any:
        return array[rows] if name.endswith("_initial") else array[:longest, rows]

    edits = _moved(about.edits, "row", rows)
    names = tuple(about.rows[row] for row in rows)
    return _changed(recording, taken, dataclasses.replace(about, rows=names, edits=edits), lengths)


def _steps(recording: Recording, first: int, end: int) -> Recording:
    lengths = np.clip(recording.lengths, first, end) - first
    if end <= first or not np.all(lengths > 0):
        raise GatewrightError("steps", "a slice that leaves at least one step of every row", f"{first}:{end}")
    longest = first + int(lengths.max())

    about = recording.about
    edits = tuple(dataclasses.replace(e, t=e.t - first) for e in about.edits if first <= e.t < longest)
    part = _changed(
        recording,
        lambda name, array: array if name.endswith("_initial") else array[first:longest],
        dataclasses.replace(about, edits=edits),
        lengths,
    )

    def begun(cut: Record, whole: Record, reverse: bool) -> Record:
        cell, hidden = _before(recording, whole, first, longest, reverse)
        return dataclasses.replace(cut, cell_initial=cell, hidden_initial=hidden)

    layers = tuple(
        Layer(
            begun(cut.forward, whole.forward, False),
            None if cut.reverse is None or whole.reverse is None else begun(cut.reverse, whole.reverse, True),
        )
        for cut, whole in zip(part.layers, recording.layers, strict=True)
    )
    return dataclasses.replace(part, layers=layers)


def _before(recording: Recording, record: Record, first: int, end: int, reverse: bool) -> tuple[Any, Any]:
    """Return the states before the first step that is read of [first, end), for each row."""
    if not reverse:
        if first == 0:
            return record.cell_initial, record.hidden_initial
        return record.cell[first - 1], record.hidden[first - 1]
    rows = np.arange(len(recording.lengths))
    inside = (recording.lengths > end)[:, None]
    after = np.minimum(recording.lengths - 1, end)
    return (
        np.where(inside, record.cell[after, rows], record.cell_initial),
        np.where(inside, record.hidden[after, rows], record.hidden_initial),
    )


def _changed(recording: Recording, change: Any, about: About, lengths: NDArray[np.int64]) -> Recording:
    """Return a recording with a function of every array that has steps and rows."""

    def one(array: Any) -> Any:
        return None if array is None else change("", array)

    layers = tuple(
        Layer(*(None if record is None else replaced(record, change) for record in layer))  # type: ignore[arg-type]
        for layer in recording.layers
    )
    peer = recording.peer
    return dataclasses.replace(
        recording,
        about=about,
        layers=layers,
        lengths=lengths,
        inputs=one(recording.inputs),
        predictions=one(recording.predictions),
        targets=one(recording.targets),
        columns=one(recording.columns),
        times=one(recording.times),
        symbols=one(recording.symbols),
        peer=None if peer is None else Peer(one(peer.hidden), one(peer.predictions)),
    )


def _layers(recording: Recording, kept: NDArray[np.int64]) -> Recording:
    about, top = recording.about, len(recording.layers) - 1
    part = dataclasses.replace(
        recording,
        about=dataclasses.replace(about, edits=_moved(about.edits, "layer", kept)),
        layers=tuple(recording.layers[layer] for layer in kept),
        model=recording.model if kept.tolist() == list(range(top + 1)) else None,
    )
    return part if kept[-1] == top else _without_readout(part)


def _units(recording: Recording, units: Sequence[int]) -> Recording:
    for _, record in recording.records():
        _some("units", units, record.cell.shape[-1])
        if record.hidden.shape != record.cell.shape:
            raise GatewrightError("units", "layers without a projection", "one that projects")

    def taken(_: str, array: Any) -> Any:
        return array[..., require_units(units, array.shape[-1])]

    layers = tuple(
        Layer(*(None if record is None else replaced(record, taken) for record in layer))  # type: ignore[arg-type]
        for layer in recording.layers
    )
    chosen = require_units(units, recording.layers[0].forward.cell.shape[-1])
    about = dataclasses.replace(recording.about, edits=_moved(recording.about.edits, "unit", chosen), readouts=())
    return dataclasses.replace(
        recording, about=about, layers=layers, readout_weight=None, readout_bias=None, model=None
    )


def _without_readout(recording: Recording) -> Recording:
    about = dataclasses.replace(recording.about, readouts=())
    return dataclasses.replace(recording, about=about, readout_weight=None, readout_bias=None)
