"""Parts of a recording: some steps, rows, layers or units."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.errors import GatewrightError
from gatewright.insight.layers import Layer, Peer, require_units
from gatewright.insight.recording_data import RecordingData
from gatewright.spec.recording import Edit, RecordingMetadata

#: A recording; parts are of the same class.
R = TypeVar("R", bound=RecordingData)


def select(
    recording: R,
    steps: slice | None,
    rows: Sequence[int] | None,
    layers: Sequence[int] | None,
    units: Sequence[int] | None,
) -> R:
    """Return a part of a recording; see `gatewright.insight.Recording.select`.

    Args:
        recording: the recording.
        steps: a slice of time with step 1; all if None.
        rows: numbers of rows of the batch; all if None.
        layers: numbers of layers; all if None.
        units: numbers of units, in every layer; all if None.

    Raises:
        GatewrightError: if one of these is out of range, or a row would have no step.
    """
    if steps is not None and (not isinstance(steps, slice) or steps.step not in (None, 1)):
        raise GatewrightError("steps", "a slice with step 1", repr(steps)[:80])
    first, end = _ends(steps or slice(None), recording.steps)
    part = recording
    if rows is not None:
        part = _rows(part, _numbers("rows", rows, len(recording.lengths)))
    if steps is not None:
        part = _steps(part, first, end)
    if layers is not None:
        part = _layers(part, _numbers("layers", layers, len(recording.layers)))
    part = part if units is None else _units(part, units)
    return part if part is recording else dataclasses.replace(part, origin=None)


def _ends(steps: slice, size: int) -> tuple[int, int]:
    try:
        first, end, _ = steps.indices(size)
    except TypeError:
        raise GatewrightError("steps", "a slice of whole numbers", repr(steps)[:80]) from None
    return first, end


def _numbers(name: str, numbers: Any, size: int) -> NDArray[np.int64]:
    """Return at least one number below ``size``."""
    chosen = require_units(numbers, size, name)
    if len(chosen) == 0:
        raise GatewrightError(name, "at least one", "none")
    return chosen


def _moved(edits: Iterable[Edit], name: str, chosen: NDArray[np.int64]) -> tuple[Edit, ...]:
    """Return the edits of the chosen rows, layers or units, with their new numbers."""
    moved: list[Edit] = []
    for edit in edits:
        for number in np.flatnonzero(chosen == getattr(edit, name)).tolist():
            change: dict[str, Any] = {name: number}
            moved.append(dataclasses.replace(edit, **change))
    return tuple(moved)


def _rows(recording: R, rows: NDArray[np.int64]) -> R:
    about, lengths = recording.about, recording.lengths[rows]
    longest = int(lengths.max())

    def of_rows(name: str, array: Any) -> Any:
        return array[rows] if name.endswith("_initial") else array[:longest, rows]

    edits = _moved(about.edits, "row", rows)
    names = tuple(about.rows[row] for row in rows)
    return _changed(recording, of_rows, dataclasses.replace(about, rows=names, edits=edits), lengths)


def _steps(recording: R, first: int, end: int) -> R:
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

    def with_initial(cut: Record, whole: Record, reverse: bool) -> Record:
        cell, hidden = _state_before(recording, whole, first, longest, reverse)
        return dataclasses.replace(cut, cell_initial=cell, hidden_initial=hidden)

    layers = tuple(
        Layer(
            with_initial(cut.forward, whole.forward, False),
            None
            if cut.reverse is None or whole.reverse is None
            else with_initial(cut.reverse, whole.reverse, True),
        )
        for cut, whole in zip(part.layers, recording.layers, strict=True)
    )
    return dataclasses.replace(part, layers=layers)


def _state_before(
    recording: RecordingData, record: Record, first: int, end: int, reverse: bool
) -> tuple[Any, Any]:
    """Return each row's state before the first step of [first, end) in the order of reading."""
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


def _changed(recording: R, change: Any, about: RecordingMetadata, lengths: NDArray[np.int64]) -> R:
    """Return a recording with a function of every array that has steps and rows; see `Layer.map`."""

    def part(array: Any) -> Any:
        return None if array is None else change("", array)

    layers = tuple(layer.map(change) for layer in recording.layers)
    peer = recording.peer
    return dataclasses.replace(
        recording,
        about=about,
        layers=layers,
        lengths=lengths,
        inputs=part(recording.inputs),
        predictions=part(recording.predictions),
        targets=part(recording.targets),
        columns=part(recording.columns),
        times=part(recording.times),
        symbols=part(recording.symbols),
        peer=None if peer is None else Peer(part(peer.hidden), part(peer.predictions)),
    )


def _layers(recording: R, numbers: NDArray[np.int64]) -> R:
    about, top = recording.about, len(recording.layers) - 1
    part = dataclasses.replace(
        recording,
        about=dataclasses.replace(about, edits=_moved(about.edits, "layer", numbers)),
        layers=tuple(recording.layers[layer] for layer in numbers),
        model=recording.model if numbers.tolist() == list(range(top + 1)) else None,
    )
    return part if numbers[-1] == top else _without_readout(part)


def _units(recording: R, units: Sequence[int]) -> R:
    for _, record in recording.records():
        _numbers("units", units, record.cell.shape[-1])
        if record.hidden.shape != record.cell.shape:
            raise GatewrightError("units", "layers without a projection", "a layer with one")

    def of_units(_: str, array: Any) -> Any:
        return array[..., require_units(units, array.shape[-1])]

    layers = tuple(_without_scale(layer.map(of_units)) for layer in recording.layers)
    edits: list[Edit] = []
    for number, layer in enumerate(
        recording.layers
    ):  # a negative number is another unit in a layer of another size
        chosen = require_units(units, layer.forward.cell.shape[-1])
        edits += _moved((edit for edit in recording.about.edits if edit.layer == number), "unit", chosen)
    about = dataclasses.replace(recording.about, edits=tuple(edits), readouts=())
    return dataclasses.replace(
        recording, about=about, layers=layers, readout_weight=None, readout_bias=None, model=None
    )


def _without_scale(layer: Layer) -> Layer:
    """Return some units of a layer without the factor that goes with a mean over all of its units."""
    return Layer(*(None if each is None else dataclasses.replace(each, normal_scale=None) for each in layer))  # type: ignore[arg-type]


def _without_readout(recording: R) -> R:
    about = dataclasses.replace(recording.about, readouts=())
    return dataclasses.replace(recording, about=about, readout_weight=None, readout_bias=None)
