"""The file of a recording: safetensors, what it is of as JSON in the metadata; never pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from gatewright import atomic
from gatewright.equations import Record
from gatewright.errors import ModelFileError, SpecError
from gatewright.insight.about import About
from gatewright.insight.recording import DIRECTIONS, QUANTITIES, Layer, Peer, Recording

FORMAT = "1"

_RECORD = (*QUANTITIES, "cell_initial", "hidden_initial")
#: Fields of a recording that are one array each.
_ARRAYS = (
    "lengths", "inputs", "predictions", "targets", "columns", "times", "symbols", "readout_weight", "readout_bias",
)  # fmt: skip


def write(path: Path | str, recording: Recording) -> None:
    """Write a recording, whole or not at all.

    Raises:
        OSError: if the file cannot be written.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name in _ARRAYS:
        array = getattr(recording, name)
        if array is not None:
            tensors[name] = array.view(np.int64) if array.dtype.kind == "M" else array
    for number, layer in enumerate(recording.layers):
        for direction, record in zip(DIRECTIONS, layer, strict=True):
            if record is not None:
                tensors |= {f"layers.{number}.{direction}.{name}": getattr(record, name) for name in _RECORD}
    if recording.peer:
        tensors |= {"peer.hidden": recording.peer.hidden, "peer.predictions": recording.peer.predictions}
    metadata = {"gatewright_recording": FORMAT, "about": recording.about.to_json()}
    ready = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    atomic.write_bytes(path, safetensors.numpy.save(ready, metadata))


def is_recording(path: Path) -> bool:
    """Whether a file says that it is a recording."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return "gatewright_recording" in (file.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return False


def read(path: Path | str) -> Recording:
    """Read a recording.

    Raises:
        ModelFileError: if it is damaged or something else.
        GatewrightError: if a gate is not finite.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelFileError(str(path), "a recording", str(error)) from None
    if metadata.get("gatewright_recording") != FORMAT:
        got = metadata.get("gatewright_recording")
        raise ModelFileError(
            str(path), f"a recording of format {FORMAT}", "another file" if got is None else repr(got)
        )
    try:
        about = About.from_json(metadata["about"], "about")
        return _assembled(about, tensors)
    except (KeyError, SpecError) as error:
        raise ModelFileError(str(path), "a whole recording", f"one without {error}") from None


def _assembled(about: About, tensors: dict[str, NDArray[Any]]) -> Recording:
    """Put a recording together; a missing tensor is a KeyError."""
    layers = []
    while f"layers.{len(layers)}.forward.cell" in tensors:
        prefix = f"layers.{len(layers)}"
        forward, reverse = (
            Record(**{name: tensors[f"{prefix}.{direction}.{name}"] for name in _RECORD})
            if f"{prefix}.{direction}.cell" in tensors
            else None
            for direction in DIRECTIONS
        )
        assert forward is not None
        layers.append(Layer(forward, reverse))
    if not layers:
        raise KeyError("layers.0.forward.cell")
    fields = {
        name: tensors.get(name) for name in _ARRAYS if name not in ("lengths", "inputs", "predictions", "times")
    }
    times = tensors.get("times")
    peer = Peer(tensors["peer.hidden"], tensors["peer.predictions"]) if about.peer else None
    return Recording(
        about,
        tuple(layers),
        tensors["lengths"],
        tensors["inputs"],
        tensors["predictions"],
        times=None if times is None else times.view("datetime64[us]"),
        peer=peer,
        **fields,
    )
