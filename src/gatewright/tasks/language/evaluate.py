"""An evaluation of a language model on the untouched test part, next to n-gram models on the same tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gatewright.data.text import Passage, byte_sizes, encode_text, streams
from gatewright.data.tokens import Symbols, tokenizer_of
from gatewright.errors import DataError
from gatewright.nn.model import Model
from gatewright.spec import Vocabulary
from gatewright.tasks.language.dataset import TextData
from gatewright.tasks.language.measures import measures, plural, scored_bytes
from gatewright.tasks.language.ngram import ngram_nats
from gatewright.tasks.language.score import score, score_streams


def evaluate_text(model: Model, text: Passage) -> dict[str, Any]:
    """Score a text: nats a token, bits a byte, and the perplexity.

    Raises:
        DataError: if it is too short to be scored, or of several documents, and the model is of one.
    """
    vocabulary = _vocabulary(model)
    symbols = _scorable(text, vocabulary, "text")
    nats = score(model, symbols)
    figures, scored, size = _scored(symbols, text, vocabulary)
    figures |= {"nats_per_token": nats, **measures(nats, scored, size)}
    if vocabulary.tokens == "characters":
        figures |= {"nats_per_character": nats, "bits_per_character": nats / math.log(2)}
    return figures


def evaluate_language(model: Model, data: TextData) -> dict[str, Any]:
    """Score the test part of a text in several measures, next to n-gram models of the training part.

    Raises:
        DataError: if the test part is too short to be scored.
    """
    vocabulary = _vocabulary(model)
    test = _scorable(data.parts.test, vocabulary, "test part")
    train, valid = (encode_text(part, vocabulary) for part in (data.parts.train, data.parts.valid))
    count = score_streams(test)
    symbols = len(vocabulary.symbols)

    def ngram(order: int) -> float:
        # The text before the test part is the context of its first tokens.
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
    figures, scored, size = _scored(test, data.parts.test, vocabulary)
    others = {name: measures(value, scored, size) for name, value in nats.items()}
    figures = {"kind": "language", "part": "test", **figures, "nats_per_token": nats}
    figures |= {measure: {name: value[measure] for name, value in others.items()} for measure in others["model"]}
    if vocabulary.tokens == "characters":
        bits = {name: value / math.log(2) for name, value in nats.items()}
        figures |= {"nats_per_character": nats, "bits_per_character": bits}
    return figures


def _vocabulary(model: Model) -> Vocabulary:
    assert model.vocabulary is not None
    return model.vocabulary


def _scorable(text: Passage, vocabulary: Vocabulary, name: str) -> Symbols:
    """Return the tokens of a text.

    Raises:
        DataError: if it is too short to be scored.
    """
    symbols = encode_text(text, vocabulary)
    if len(symbols) < 2:
        expected = f"at least 2 {plural(tokenizer_of(vocabulary).unit)}"
        raise DataError(name, expected, str(len(symbols)))
    return symbols


def _scored(symbols: Symbols, text: Passage, vocabulary: Vocabulary) -> tuple[dict[str, Any], int, int]:
    """Return how much of a text is scored, as figures of the evaluation; its tokens, and their bytes."""
    count = score_streams(symbols)
    scored, size = streams(symbols, count)[1:], scored_bytes(byte_sizes(text, vocabulary), count)
    unit = tokenizer_of(vocabulary).unit
    unknown = int((scored == 0).sum()) if unit == "char" else 0
    figures = {"token": unit, "tokens": scored.size, "unknown": unknown, "bytes": size}
    return figures | ({"characters": scored.size} if unit == "char" else {}), scored.size, size
