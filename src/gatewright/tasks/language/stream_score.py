"""The score of a stream of a language model on a text."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.data.text import encode_text, read_text, streams
from gatewright.data.tokens import tokenizer_of
from gatewright.errors import DataError
from gatewright.files.model_file import ModelFile
from gatewright.runtime.stream import Stream
from gatewright.spec import Vocabulary
from gatewright.tasks.base import SESSIONS, StreamScore
from gatewright.tasks.language.measures import plural

#: Maximum number of tokens that are scored.
MOST_TOKENS = 200_000


def stream_score(file: ModelFile, path: Path) -> StreamScore:
    """Read the first `MOST_TOKENS` tokens of a text.

    Raises:
        GatewrightError: if it cannot be read, or is too short.
    """
    assert file.vocabulary is not None
    symbols, unit = _symbols(file.vocabulary, path), tokenizer_of(file.vocabulary).unit
    return StreamScore(symbols[:, 0], None, functools.partial(_score, symbols, f"nats/{unit}"))


def _symbols(vocabulary: Vocabulary, path: Path) -> NDArray[np.int64]:
    """Return the text as parallel streams, (T, sessions)."""
    symbols = encode_text(read_text(path, vocabulary.tokens == "bytes"), vocabulary)[:MOST_TOKENS]
    if len(symbols) < 2:
        expected = f"at least 2 {plural(tokenizer_of(vocabulary).unit)}"
        raise DataError(str(path), expected, str(len(symbols)))
    return streams(symbols, max(1, min(SESSIONS, len(symbols) // 256)))


def _score(symbols: NDArray[np.int64], unit: str, stream: Stream) -> dict[str, float]:
    numbers = range(symbols.shape[1])
    nats = 0.0
    for first in range(0, len(symbols) - 1, 256):
        part = symbols[first : first + 257]
        scores = stream.run(part[:-1], sessions=numbers).astype(np.float64)
        scores -= scores.max(axis=-1, keepdims=True)
        target_scores = np.take_along_axis(scores, part[1:, :, None], axis=-1)[..., 0]
        nats += float((np.log(np.exp(scores).sum(axis=-1)) - target_scores).sum())
    return {unit: nats / symbols[1:].size}
