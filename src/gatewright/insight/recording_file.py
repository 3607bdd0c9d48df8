"""The file of a recording: safetensors, what it is of as JSON in the metadata; never pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from gatewright.equations import Record
from gatewright.errors import ModelFileError, shorten, unusable
from gatewright.files import atomic, regular
from gatewright.insight.recording import DIRECTIONS, QUANTITIES, Layer, Peer, Recording
from gatewright.insight.validation import require_finite_throughout
from gatewright.spec.recording import About

FORMAT = "1"
#: Bytes of a file's header, at most, that are searched for what it says of itself.
_HEADER = 1 << 24

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
            tensors[name] = array.astype("datetime64[us]").view(np.int64) if array.dtype.kind == "M" else array
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
    """Whether a file says that it is a recording, also one that is cut off."""
    try:
        with regular.open_file(path) as file:
            size = int.from_bytes(file.read(8), "little")
            return b'"gatewright_recording"' in file.read(min(size, _HEADER))
    except OSError:
        return False


def read(path: Path | str) -> Recording:
    """Read a recording.

    Raises:
        ModelFileError: if it is damaged or something else.
        GatewrightError: if parts do not fit each other, or a number is not finite.
    """
    try:
        regular.require(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            got = metadata.get("gatewright_recording")
            if got != FORMAT:
                raise ModelFileError(
                    str(path),
                    f"a recording of format {FORMAT}",
                    "another file" if got is None else f"format {got!r}",
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    # NumPy has no bfloat16 and no float8: looking for them is a TypeError or an AttributeError.
    except OSError as error:
        raise unusable(ModelFileError, path, error) from None
    except (safetensors.SafetensorError, TypeError, AttributeError):
        raise ModelFileError(str(path), "a recording", "a damaged or foreign file") from None
    if "about" not in metadata:
        raise ModelFileError(str(path), "a whole recording", "one that does not say what it is of")
    about = About.from_json(metadata["about"], "about")
    try:
        recording = _assembled(about, tensors)
    except KeyError as error:
        raise ModelFileError(str(path), "a whole recording", f"one without {error.args[0]}") from None
    if tensors:
        raise ModelFileError(str(path), "a recording and nothing else", f"one with {shorten(min(tensors))} too")
    require_finite_throughout(recording)
    return recording


def _assembled(about: About, tensors: dict[str, NDArray[Any]]) -> Recording:
    """Put a recording together of tensors that are taken out; a missing one is a KeyError."""
    layers: list[Layer] = []
    while f"layers.{len(layers)}.forward.cell" in tensors or not layers:
        forward, reverse = (f"layers.{len(layers)}.{direction}" for direction in DIRECTIONS)
        both = f"{reverse}.cell" in tensors
        layers.append(Layer(_record(forward, tensors), _record(reverse, tensors) if both else None))
    peer = Peer(tensors.pop("peer.hidden"), tensors.pop("peer.predictions")) if about.peer else None
    needed: dict[str, Any] = {name: tensors.pop(name) for name in ("lengths", "inputs", "predictions")}
    more: dict[str, Any] = {name: tensors.pop(name, None) for name in _ARRAYS if name not in needed}
    if more["times"] is not None and more["times"].dtype == np.int64:
        more["times"] = more["times"].view("datetime64[us]")
    return Recording(about, tuple(layers), **needed, **more, peer=peer)


def _record(prefix: str, tensors: dict[str, NDArray[Any]]) -> Record:
    return Record(**{name: tensors.pop(f"{prefix}.{name}") for name in _RECORD})
