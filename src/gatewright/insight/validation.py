"""Checks of a recording: shapes, types, ranges and finite numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import GATES, Record
from gatewright.equations.record import OPTIONAL
from gatewright.errors import GatewrightError
from gatewright.insight.layers import quantities
from gatewright.insight.recording_data import RecordingData
from gatewright.spec.recording import ClassesMetadata, Edit, SeriesMetadata, TextMetadata

Array = NDArray[Any]
#: A name, an array, the kind of its type, and its shape with None for any size.
_Form = tuple[str, Any, str, tuple[int | None, ...]]

_KINDS = {"f": "floats", "i": "whole numbers", "M": "timestamps"}


def require_whole(recording: RecordingData) -> None:
    """Raise unless the parts of a recording fit each other and the last state of every row is finite.

    The last states suffice to find a NaN or an infinity: the cell state carries it to the end of the row, the
    hidden state into all gates.

    Raises:
        GatewrightError: names the part that does not fit, or layer, gate and step of the first bad number.
    """
    inputs, lengths = recording.inputs, recording.lengths
    _require(("inputs", inputs, "f", (None, None, None)))
    T, B, _ = inputs.shape
    _require(("lengths", lengths, "i", (B,)))
    if T == 0 or B == 0 or not np.all(lengths > 0):
        raise GatewrightError("data", "at least one step in every row", f"lengths {lengths.tolist()[:8]}")
    if lengths.max() > T:
        raise GatewrightError("lengths", f"at most the {T} steps of the data", str(int(lengths.max())))
    if not recording.layers:
        raise GatewrightError("layers", "at least one layer", "none")
    # Each form is checked before the next is computed, which may depend on it.
    for form in chain(_forms_of_layers(recording), _forms_of_data(recording)):
        _require(form)
    for edit in recording.about.edits:
        _require_edit(recording, edit)
    rows = np.arange(B)
    for name, record in recording.records():
        ends = np.zeros_like(lengths) if name.endswith("reverse") else lengths - 1
        if not np.isfinite(record.cell[ends, rows]).all() or not np.isfinite(record.hidden[ends, rows]).all():
            require_finite(name, record)
    _require_finite_array("predictions", recording.predictions[lengths - 1, rows][None])


def require_finite(name: str, record: Record) -> None:
    """Raise if a gate or state of any step is not finite; the error names the first in the order of reading.

    Raises:
        GatewrightError: names layer, gate and step.
    """
    backwards = name.endswith("reverse")
    places = []
    for order, (quantity, array) in enumerate(quantities(record).items()):
        bad = ~np.isfinite(array)
        if bad.any():
            steps = np.flatnonzero(bad.any(axis=(1, 2)))
            t = int(steps[-1] if backwards else steps[0])
            row, unit = map(int, np.argwhere(bad[t])[0])
            places.append((-t if backwards else t, order, quantity, row, unit))
    if places:
        place, _, quantity, row, unit = min(places)
        t = abs(place)
        value = getattr(record, quantity)[t, row, unit]
        where = f"{value} at step {t}, row {row}, unit {unit}"
        raise GatewrightError(f"{name}, {quantity.replace('_', ' ')}", "finite numbers", where)
    for initial in ("cell_initial", "hidden_initial"):
        _require_finite_array(f"{name}, {initial}", getattr(record, initial))


def require_finite_throughout(recording: RecordingData) -> None:
    """Raise if any number that must be finite is not; for recordings from a file.

    Raises:
        GatewrightError: names the array.
    """
    for name, record in recording.records():
        require_finite(name, record)
    weight, bias = recording.readout_weight, recording.readout_bias
    arrays: dict[str, Array | None] = {"inputs": recording.inputs, "predictions": recording.predictions}
    arrays |= {"readout_weight": weight, "readout_bias": bias}
    if recording.peer is not None:
        arrays |= {"peer hidden": recording.peer.hidden, "peer predictions": recording.peer.predictions}
    for name, array in arrays.items():
        if array is not None:
            _require_finite_array(name, array)


def _forms_of_layers(recording: RecordingData) -> Iterator[_Form]:
    T, B, _ = recording.inputs.shape
    for name, record in recording.records():
        yield f"{name} cell", record.cell, "f", (T, B, None)
        yield f"{name} hidden", record.hidden, "f", (T, B, None)
        H, P = record.cell.shape[-1], record.hidden.shape[-1]
        for gate in GATES:
            yield f"{name} {gate}", getattr(record, gate), "f", (T, B, H)
        for optional in _optional(recording, record):
            yield f"{name} {optional}", getattr(record, optional), "f", (T, B, H)
        yield f"{name} cell_initial", record.cell_initial, "f", (B, H)
        yield f"{name} hidden_initial", record.hidden_initial, "f", (B, P)


def _optional(recording: RecordingData, record: Record) -> Iterator[str]:
    """Return what a record has, or must have by its cell, next to what every record has."""
    cell = recording.about.cell
    required = {"normal"} if cell.layer_norm else set()
    if cell.zoneout_cell or cell.cell_clip or record.kept is not None or record.written is not None:
        required |= {"kept", "written"}
    return (name for name in OPTIONAL if name in required or getattr(record, name) is not None)


def _forms_of_data(recording: RecordingData) -> Iterator[_Form]:
    about, (T, B, D) = recording.about, recording.inputs.shape
    data = about.data
    if len(about.rows) != B or len(about.inputs) != D:
        got = f"{len(about.rows)} and {len(about.inputs)}"
        raise GatewrightError("about", f"names of {B} rows and {D} inputs", got)
    if isinstance(data, SeriesMetadata):
        ahead = (data.horizon, len(data.targets))
        if len(data.scale) != len(data.targets) or 0.5 not in data.quantiles:
            got = f"{len(data.scale)}, and {data.quantiles}"
            raise GatewrightError("about.data", f"{len(data.targets)} scales, and 0.5 among the quantiles", got)
        yield "predictions", recording.predictions, "f", (T, B, *ahead, len(data.quantiles))
        yield "targets", recording.targets, "f", (T, B, *ahead)
        yield "columns", recording.columns, "f", (T, B, len(data.columns))
    elif isinstance(data, TextMetadata):
        V = len(data.symbols)
        yield "predictions", recording.predictions, "f", (T, B, V)
        for name, numbers, least in (("targets", recording.targets, -1), ("symbols", recording.symbols, 0)):
            yield name, numbers, "i", (T, B)
            assert numbers is not None
            if numbers.min() < least or numbers.max() >= V:
                got = f"{numbers.min()} ... {numbers.max()}"
                raise GatewrightError(name, f"numbers from {least} to {V - 1}", got)
    elif isinstance(data, ClassesMetadata):
        yield "predictions", recording.predictions, "f", (T, B, len(data.classes))
        yield "targets", recording.targets, "i", (T, B)
        assert recording.targets is not None
        if recording.targets.min() < -1 or recording.targets.max() >= len(data.classes):
            got = f"{recording.targets.min()} ... {recording.targets.max()}"
            raise GatewrightError("targets", f"numbers from -1 to {len(data.classes) - 1}", got)
    else:
        yield "predictions", recording.predictions, "f", (T, B, None)
    if recording.times is not None:
        yield "times", recording.times, "M", (T, B)
    if about.readouts or recording.readout_weight is not None or recording.readout_bias is not None:
        outputs, P = len(about.readouts), recording.layers[-1].forward.hidden.shape[-1]
        yield "readout_weight", recording.readout_weight, "f", (outputs, P)
        yield "readout_bias", recording.readout_bias, "f", (outputs,)
    if recording.peer is not None:
        yield "peer hidden", recording.peer.hidden, "f", (T, B, None)
        yield "peer predictions", recording.peer.predictions, "f", recording.predictions.shape


def _require(form: _Form) -> None:
    """Raise unless an array has its kind of type and its shape."""
    name, array, kind, shape = form
    if (
        isinstance(array, np.ndarray)
        and array.dtype.kind == kind
        and array.ndim == len(shape)
        and all(size in (None, actual) for size, actual in zip(shape, array.shape, strict=True))
    ):
        return
    sizes = ", ".join("any" if size is None else str(size) for size in shape)
    got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
    raise GatewrightError(name, f"{_KINDS[kind]} of shape ({sizes})", got)


def _require_edit(recording: RecordingData, edit: Edit) -> None:
    layers, lengths = recording.layers, recording.lengths
    exists = 0 <= edit.layer < len(layers) and (not edit.reverse or layers[edit.layer].reverse is not None)
    H = layers[edit.layer].forward.cell.shape[-1] if exists else 0
    if not exists or not (0 <= edit.row < len(lengths) and 0 <= edit.t < lengths[edit.row] and 0 <= edit.unit < H):
        raise GatewrightError("about.edits", "edits of units and steps that the recording has", str(edit))


def _require_finite_array(name: str, array: Array) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        raise GatewrightError(name, "finite numbers", str(array[~finite][0]))
