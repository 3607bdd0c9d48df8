"""The file of a recording: safetensors with the description as JSON in its metadata; never pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.equations.record import FIELDS, OPTIONAL
from gatewright.errors import ModelFileError, shorten, unusable
from gatewright.files import atomic, regular_file
from gatewright.insight.layers import DIRECTIONS, Layer, Peer
from gatewright.insight.recording_data import RecordingData
from gatewright.spec.recording import RecordingMetadata

#: The format of recordings of the plain cell without residual connections, and that of all others.
PLAIN_FORMAT, FORMAT = "1", "2"
#: Maximum number of bytes of a file's header that are searched for the name of the format.
_HEADER = 1 << 24

#: Fields of a recording that are one array each.
_ARRAYS = (
    "lengths", "inputs", "predictions", "targets", "columns", "times", "symbols", "readout_weight", "readout_bias",
)  # fmt: skip


def write(path: Path | str, recording: RecordingData) -> None:
    """Write a recording, whole or not at all.

    Raises:
        OSError: if the file cannot be written.
    """
    version = FORMAT if recording.about.version() else PLAIN_FORMAT
    metadata = {"gatewright_recording": version, "about": recording.about.to_json()}
    atomic.write_bytes(path, safetensors.numpy.save(tensors_of(recording), metadata))


def tensors_of(recording: RecordingData) -> dict[str, NDArray[Any]]:
    """Return the arrays of a recording by their names in a file."""
    tensors: dict[str, NDArray[Any]] = {}
    for name in _ARRAYS:
        array = getattr(recording, name)
        if array is not None:
            tensors[name] = array.astype("datetime64[us]").view(np.int64) if array.dtype.kind == "M" else array
    for number, layer in enumerate(recording.layers):
        for direction, record in zip(DIRECTIONS, layer, strict=True):
            if record is not None:
                arrays = {name: getattr(record, name) for name in (*FIELDS, *OPTIONAL)}
                present = {name: array for name, array in arrays.items() if array is not None}
                tensors |= {f"layers.{number}.{direction}.{name}": array for name, array in present.items()}
    if recording.peer:
        tensors |= {"peer.hidden": recording.peer.hidden, "peer.predictions": recording.peer.predictions}
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def is_recording(path: Path, name: str = "gatewright_recording") -> bool:
    """Return whether a file has the header of a recording, even if it is truncated.

    Args:
        path: the file.
        name: the name of the format.
    """
    try:
        with regular_file.open_file(path) as file:
            size = int.from_bytes(file.read(8), "little")
            return f'"{name}"'.encode() in file.read(min(size, _HEADER))
    except OSError:
        return False


def read(path: Path | str) -> dict[str, Any]:
    """Return the fields of the recording in a file; their shapes and numbers are not checked.

    Raises:
        ModelFileError: if the file is damaged or not a recording.
    """
    try:
        regular_file.require(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            got = metadata.get("gatewright_recording")
            if got not in (PLAIN_FORMAT, FORMAT):
                raise ModelFileError(
                    str(path),
                    f"a recording of format {PLAIN_FORMAT} or {FORMAT}",
                    "another file" if got is None else f"format {got!r}",
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    # NumPy has no bfloat16 and no float8: reading them is a TypeError or an AttributeError.
    except OSError as error:
        raise unusable(ModelFileError, path, error) from None
    except (safetensors.SafetensorError, TypeError, AttributeError):
        raise ModelFileError(str(path), "a recording", "a damaged or foreign file") from None
    if "about" not in metadata:
        raise ModelFileError(str(path), "a whole recording", "one without a description")
    return fields_of(path, metadata["about"], tensors)


def fields_of(path: Path | str, about: str, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the fields of a recording from its description and its arrays.

    Args:
        path: the file, for errors.
        about: the description, in JSON.
        tensors: the arrays by their names in a file.

    Raises:
        ModelFileError: if one is missing, or there is another.
    """
    metadata = RecordingMetadata.from_json(about, "about")
    try:
        fields = _fields(metadata, tensors)
    except KeyError as error:
        raise ModelFileError(str(path), "a whole recording", f"one without {error.args[0]}") from None
    if tensors:
        raise ModelFileError(str(path), "a recording and nothing else", f"one with {shorten(min(tensors))} too")
    return fields


def _fields(about: RecordingMetadata, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Take a recording's fields out of the tensors; a missing tensor is a KeyError."""
    layers: list[Layer] = []
    while f"layers.{len(layers)}.forward.cell" in tensors or not layers:
        forward, reverse = (f"layers.{len(layers)}.{direction}" for direction in DIRECTIONS)
        bidirectional = f"{reverse}.cell" in tensors
        layers.append(Layer(_record(forward, tensors), _record(reverse, tensors) if bidirectional else None))
    peer = Peer(tensors.pop("peer.hidden"), tensors.pop("peer.predictions")) if about.peer else None
    required = {name: tensors.pop(name) for name in ("lengths", "inputs", "predictions")}
    optional = {name: tensors.pop(name, None) for name in _ARRAYS if name not in required}
    times = optional["times"]
    if times is not None and times.dtype == np.int64:
        optional["times"] = times.view("datetime64[us]")
    return {"about": about, "layers": tuple(layers), "peer": peer, **required, **optional}


def _record(prefix: str, tensors: dict[str, NDArray[Any]]) -> Record:
    arrays: dict[str, Any] = {name: tensors.pop(f"{prefix}.{name}") for name in FIELDS}
    arrays |= {name: tensors.pop(f"{prefix}.{name}", None) for name in OPTIONAL}
    return Record(**arrays)
