"""The file of a module's recording: safetensors with descriptions as JSON in its metadata; never pickle.

Arrays of the n-th recording have the names of a recording's own file after ``n/``; tensors that the module
returned are ``predictions/0`` and so on, in the places that the JSON of ``predictions`` says.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError, ModelFileError, shorten, unusable
from gatewright.files import atomic, regular_file
from gatewright.insight import recording_file
from gatewright.insight.recording import Recording
from gatewright.insight.validation import require_finite_throughout

#: Name of the format in the metadata, and its version.
NAME, FORMAT = "gatewright_module_recording", "1"


def write(
    path: Path | str, layers: Mapping[str, Recording], predictions: Any, not_called: tuple[str, ...]
) -> None:
    """Write a module's recording, whole or not at all.

    Args:
        path: the file.
        layers: the recordings by name.
        predictions: what the module returned.
        not_called: names of the LSTMs that it did not call.

    Raises:
        GatewrightError: if the predictions have a part that is no number, text, tensor or container of these.
        OSError: if the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    places = _stored(predictions, tensors)
    metadata = {NAME: FORMAT, "predictions": json.dumps(places, allow_nan=False)}
    metadata |= {"names": json.dumps(list(layers)), "not_called": json.dumps(not_called)}
    for number, recording in enumerate(layers.values()):
        metadata[f"about/{number}"] = recording.about.to_json()
        arrays = recording_file.tensors_of(recording)
        tensors |= {f"{number}/{name}": torch.from_numpy(array.copy()) for name, array in arrays.items()}
    atomic.write_bytes(path, safetensors.torch.save(tensors, metadata))


def is_module_recording(path: Path) -> bool:
    """Return whether a file has the header of a module's recording, even if it is truncated."""
    return recording_file.is_recording(path, NAME)


def read(path: Path | str) -> tuple[dict[str, Recording], Any, tuple[str, ...]]:
    """Return the recordings of a file by name, what the module returned, and the LSTMs that it did not call.

    Raises:
        ModelFileError: if the file is damaged or no recording of a module.
        GatewrightError: if its arrays do not fit each other, or a number is not finite.
    """
    try:
        regular_file.require(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get(NAME) != FORMAT:
                expected = f"a recording of a module, of format {FORMAT}"
                raise ModelFileError(str(path), expected, metadata.get(NAME, "another file"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        names, not_called = (_names(metadata[key]) for key in ("names", "not_called"))
        abouts = [metadata[f"about/{number}"] for number in range(len(names))]
        predictions = _restored(json.loads(metadata["predictions"]), tensors)
        arrays = [_taken(f"{number}/", tensors) for number in range(len(names))]
    except OSError as error:
        raise unusable(ModelFileError, path, error) from None
    except ModelFileError:
        raise
    except (safetensors.SafetensorError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        raise ModelFileError(str(path), "a recording of a module", "a damaged or foreign file") from None
    if tensors:
        raise ModelFileError(str(path), "a recording and nothing else", f"one with {shorten(min(tensors))} too")
    recordings = {}
    for name, about, each in zip(names, abouts, arrays, strict=True):
        recordings[name] = Recording(**recording_file.fields_of(path, about, each))
        require_finite_throughout(recordings[name])
    return recordings, predictions, tuple(not_called)


def _names(text: str) -> list[str]:
    """Return names from JSON, each once.

    Raises:
        ValueError: if they are something else.
    """
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(text)
    if len(set(names)) < len(names):
        raise ValueError(text)
    return names


def _taken(prefix: str, tensors: dict[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Take the arrays of a recording out of the tensors."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name[len(prefix) :]: tensors.pop(name).numpy() for name in names}


def _stored(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the places of tensors in a value as JSON, and put the tensors into ``tensors``.

    Raises:
        GatewrightError: names a part that has no place in a file.
    """
    if isinstance(value, Tensor):
        name = f"predictions/{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, PackedSequence):
        return {"packed": [None if each is None else _stored(each, tensors) for each in value]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _stored(each, tensors) for key, each in value.items()}}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_stored(each, tensors) for each in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    expected = "tensors, numbers and texts, in tuples, lists, dicts with texts as keys and dataclasses"
    raise GatewrightError("predictions", expected, f"a {type(value).__name__}")


def _restored(place: Any, tensors: dict[str, Tensor]) -> Any:
    """Return a value from its JSON; tensors are taken out of ``tensors``."""
    ((kind, content),) = place.items()
    if kind == "tensor":
        return tensors.pop(content)
    if kind == "value":
        return content
    if kind == "dict":
        return {key: _restored(each, tensors) for key, each in content.items()}
    parts = [None if each is None else _restored(each, tensors) for each in content]
    if kind == "packed":
        data, sizes, *order = parts
        return PackedSequence(data, sizes, *order)  # type: ignore[arg-type]
    return {"list": list, "tuple": tuple}[kind](parts)
