"""Inputs of a language model: a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatewright.data.text import encode_text, read_text
from gatewright.errors import DataError, GatewrightError
from gatewright.nn.model import Model
from gatewright.spec.recording import RecordingMetadata, TextMetadata
from gatewright.tasks.inputs import InputBatch, device_of

#: Characters of a file's name; a text that is shorter may be meant as one.
_LONGEST_NAME = 256


def of_source(model: Model, data: Any, span: slice, title: str) -> InputBatch:
    """Return the inputs of a language model from a text or the `Path` of one.

    Raises:
        GatewrightError: if it is neither, cannot be read, or is the name of a file.
    """
    if isinstance(data, Path):
        data, title = read_text(data), title or data.name
    if not isinstance(data, str):
        raise GatewrightError("data", "a text, or the Path of one", type(data).__name__)
    if len(data) < _LONGEST_NAME and "\n" not in data and Path(data).is_file():
        raise GatewrightError("data", "a text, or the Path of one", f"the name of a file: write Path({data!r})")
    return of_text(model, data, span, title)


def of_text(model: Model, text: str, span: slice, title: str) -> InputBatch:
    """Return what a language model is to read of a text.

    Raises:
        DataError: if no character is read.
    """
    assert model.vocabulary is not None
    read = encode_text(text[span], model.vocabulary)
    if len(read) == 0:
        raise DataError("data", "at least one character", f"none of {len(text)} from {span.start} on")
    after = encode_text(text[span.start + len(read) :][:1], model.vocabulary)
    following = after if len(after) else np.array([-1])
    symbols = model.vocabulary.symbols
    about = RecordingMetadata(
        title=title,
        note="",
        fingerprint=model.fingerprint,
        rows=("",),
        inputs=tuple(f"embedding {n}" for n in range(model.spec.input_size)),
        readouts=symbols,
        peer="",
        edits=(),
        data=TextMetadata(symbols),
    )
    return InputBatch(
        about,
        torch.from_numpy(read)[:, None].to(device_of(model)),
        np.array([len(read)]),
        targets=np.concatenate([read[1:], following])[:, None],
    )
