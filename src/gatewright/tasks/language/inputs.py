"""Inputs of a language model: a text."""

from __future__ import annotations

import numpy as np
import torch

from gatewright.data.text import encode_text
from gatewright.errors import DataError
from gatewright.nn.model import Model
from gatewright.spec.recording import About, TextAbout
from gatewright.tasks.inputs import InputBatch, device_of


def of_text(model: Model, text: str, span: slice, title: str) -> InputBatch:
    """Return what a language model is to read of a text.

    Raises:
        GatewrightError: if the model reads no text, or there is none.
    """
    if model.vocabulary is None:
        raise DataError("data", "a table, which this model reads", "a text")
    read = encode_text(text[span], model.vocabulary)
    if len(read) == 0:
        raise DataError("data", "at least one character", f"none of {len(text)} from {span.start} on")
    after = encode_text(text[span.start + len(read) :][:1], model.vocabulary)
    following = after if len(after) else np.array([-1])
    symbols = model.vocabulary.symbols
    about = About(
        title=title,
        note="",
        fingerprint=model.fingerprint,
        rows=("",),
        inputs=tuple(f"embedding {n}" for n in range(model.spec.input_size)),
        readouts=symbols,
        peer="",
        edits=(),
        data=TextAbout(symbols),
    )
    return InputBatch(
        about,
        torch.from_numpy(read)[:, None].to(device_of(model)),
        np.array([len(read)]),
        targets=np.concatenate([read[1:], following])[:, None],
    )
