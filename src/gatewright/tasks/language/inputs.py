"""Inputs of a language model: a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatewright.data.sources import Text, TextFiles, Texts
from gatewright.data.text import Passage, encode_text, read_text, text_of
from gatewright.data.tokens import tokenizer_of
from gatewright.errors import DataError, GatewrightError
from gatewright.nn.model import Model
from gatewright.spec.recording import RecordingMetadata, TextMetadata
from gatewright.tasks.inputs import InputBatch, device_of, start_error

#: Characters of a file's name; a text that is shorter may be meant as one.
_LONGEST_NAME = 256


def of_source(model: Model, data: Any, span: slice, title: str) -> InputBatch:
    """Return the inputs of a language model from a text, the `Path` of one, or several as one source.

    Raises:
        GatewrightError: if it is none of these, cannot be read, or is the name of a file.
    """
    assert model.vocabulary is not None
    raw = model.vocabulary.tokens == "bytes"
    if isinstance(data, Path):
        data, title = read_text(data, raw), title or data.name
    if isinstance(data, Text | Texts | TextFiles):
        data = text_of(data, raw)
    elif not isinstance(data, str):
        raise GatewrightError("data", "a text, or the Path of one", type(data).__name__)
    elif len(data) < _LONGEST_NAME and "\n" not in data and Path(data).is_file():
        raise GatewrightError("data", "a text, or the Path of one", f"the name of a file: write Path({data!r})")
    return of_text(model, data, span, title)


def of_text(model: Model, text: Passage, span: slice, title: str) -> InputBatch:
    """Return what a language model is to read of a text: tokens ``span`` of it.

    Raises:
        DataError: if no token is read.
    """
    assert model.vocabulary is not None
    numbers = encode_text(text, model.vocabulary)
    read = numbers[span]
    tokenizer = tokenizer_of(model.vocabulary)
    if len(numbers) == 0:
        expected = f"at least one {'character' if tokenizer.unit == 'char' else tokenizer.unit}"
        raise DataError("data", expected, "none")
    if len(read) == 0:
        raise start_error(span.start, len(numbers), title or "the text")
    after = numbers[span.start + len(read) :][:1]
    following = after if len(after) else np.array([-1])
    symbols = tokenizer.names
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
