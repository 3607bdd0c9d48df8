"""An evaluation of a language model on the untouched test part, next to n-gram models on the same characters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gatewright.data.text import byte_sizes, encode_text, streams
from gatewright.errors import DataError
from gatewright.nn.model import Model
from gatewright.tasks.language.dataset import TextData
from gatewright.tasks.language.measures import measures, scored_bytes
from gatewright.tasks.language.ngram import ngram_nats
from gatewright.tasks.language.score import score, score_streams


def evaluate_text(model: Model, text: str) -> dict[str, Any]:
    """Score a text: nats and bits a character, bits a byte, and the perplexity.

    Raises:
        DataError: if it is too short to be scored.
    """
    assert model.vocabulary is not None
    symbols = encode_text(text, model.vocabulary)
    if len(symbols) < 2:
        raise DataError("text", "at least 2 characters", str(len(symbols)))
    count = score_streams(symbols)
    scored, nats, size = streams(symbols, count)[1:], score(model, symbols), scored_bytes(byte_sizes(text), count)
    return {
        "characters": scored.size,
        "unknown": int((scored == 0).sum()),
        "bytes": size,
        "nats_per_character": nats,
        "bits_per_character": nats / float(np.log(2)),
        **measures(nats, scored.size, size),
    }


def evaluate_language(model: Model, data: TextData) -> dict[str, Any]:
    """Score the test part of a text in several measures, next to n-gram models of the training part.

    Raises:
        DataError: if the test part is too short to be scored.
    """
    assert model.vocabulary is not None
    train, valid, test = (
        encode_text(part, model.vocabulary) for part in (data.parts.train, data.parts.valid, data.parts.test)
    )
    if len(test) < 2:
        raise DataError("test part", "at least 2 characters", str(len(test)))
    count = score_streams(test)
    symbols = len(model.vocabulary.symbols)

    def ngram(order: int) -> float:
        # The text before the test part is the context of its first characters.
        before = valid[len(valid) - min(order - 1, len(valid)) :]
        nats = ngram_nats(train, np.concatenate([before, test]), symbols, order)[len(before) :]
        # The same symbols as the model's: all but the first of each stream.
        return float(streams(nats, count)[1:].mean())

    methods: dict[str, Callable[[], float]] = {
        "model": lambda: score(model, test),
        "unigram": lambda: ngram(1),
        "5-gram": lambda: ngram(5),
    }
    nats = {name: method() for name, method in methods.items()}
    scored, size = streams(test, count)[1:], scored_bytes(byte_sizes(data.parts.test), count)
    others = {name: measures(value, scored.size, size) for name, value in nats.items()}
    return {
        "kind": "language",
        "part": "test",
        "characters": scored.size,
        "unknown": int((scored == 0).sum()),
        "bytes": size,
        "nats_per_character": nats,
        "bits_per_character": {name: value / float(np.log(2)) for name, value in nats.items()},
        "bits_per_byte": {name: value["bits_per_byte"] for name, value in others.items()},
        "perplexity": {name: value["perplexity"] for name, value in others.items()},
    }
