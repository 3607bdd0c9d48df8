"""Sampling of text from a language model, token by token."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.tokens import Tokenizer
from gatewright.errors import GatewrightError, SpecError
from gatewright.runtime.stream import Stream

_DRAW = struct.Struct("<qq")


def generate(stream: Stream, prompt: str, length: int, temperature: float = 1.0, seed: int = 0) -> Iterator[str]:
    """Continue a text.

    Args:
        stream: a trained language model with one session, which is reset first.
        prompt: text to continue; characters outside the vocabulary are read as the unknown symbol.  Without one, a
            model of several documents begins one, and any other a line.
        length: number of characters, bytes or tokens to generate.
        temperature: 1 samples from the distribution of the model, less favours likely characters, 0 always takes
            the most likely one.
        seed: random seed; the same seed gives the same text.

    Yields:
        Pieces of text, of whole characters: never the unknown symbol or the end of a document.

    Raises:
        SpecError: if the model is not a language model.
        GatewrightError: if an argument is out of range.

    >>> from gatewright.nn.model import Model
    >>> from gatewright.spec import UNKNOWN, ModelSpec, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
    >>> spec = ModelSpec(SymbolEncoder(symbols=2, embedding_size=4), StackSpec(8), SymbolHead())
    >>> model = Model(spec, vocabulary=Vocabulary((UNKNOWN, "a")))
    >>> "".join(generate(model.stream(), prompt="b", length=3))
    'aaa'
    """
    tokenizer = stream.tokenizer
    if tokenizer is None:
        raise SpecError("model", "a language model", "one that does not read symbols")
    require_drawable(length, temperature, seed, "--")
    read = tokenizer.encode(prompt).tolist() or list(tokenizer.start)
    return _pieces(stream, tokenizer, read, length, temperature, seed)


def _pieces(
    stream: Stream, tokenizer: Tokenizer, read: list[int], length: int, temperature: float, seed: int
) -> Iterator[str]:
    stream.reset()
    scores, decoder = stream.run(read)[-1], tokenizer.decoder()
    for place in range(len(read), len(read) + length):
        symbol = draw(scores, temperature, seed, place, tokenizer.drawn)
        if piece := decoder.add(symbol):
            yield piece
        scores = stream.step(symbol)
    if piece := decoder.end():
        yield piece


#: Symbols of a model of characters that are sampled: all but the unknown one.
KNOWN = slice(1, None)


def draw(scores: NDArray[np.float32], temperature: float, seed: int, place: int, drawn: slice = KNOWN) -> int:
    """Return the number of a symbol, sampled by its score.

    Args:
        scores: logits, (V,).
        temperature: as for `generate`.
        seed: as for `generate`.
        place: number of steps that the session has taken.  A sample depends only on it and the seed, so that an
            interrupted text continues as it would have without the interruption.
        drawn: the symbols to choose from.

    >>> draw(np.array([9.0, 1.0, 2.0], np.float32), temperature=0, seed=0, place=0)
    2
    """
    known, first = scores[drawn].astype(np.float64), drawn.start
    if temperature == 0:
        return int(first + known.argmax())
    with np.errstate(over="ignore"):
        # Relative to the highest score, so that a low temperature does not overflow.
        chances = np.exp((known - known.max()) / temperature).cumsum()
    return int(first + np.searchsorted(chances, chances[-1] * _uniform(seed, place), side="right"))


def _uniform(seed: int, place: int) -> float:
    """Return a number in [0, 1) with 53 random bits."""
    digest = hashlib.blake2b(_DRAW.pack(seed, place), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def require_drawable(length: Any, temperature: Any, seed: Any, prefix: str = "") -> None:
    """Check the arguments of `generate`.

    Args:
        length: as for `generate`.
        temperature: as for `generate`.
        seed: as for `generate`.
        prefix: prefix of the argument names in errors.

    Raises:
        GatewrightError: if an argument is out of range.
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise GatewrightError(f"{prefix}length", "a whole number of at least 0", repr(length)[:80])
    if not isinstance(temperature, int | float) or not 0 <= temperature < math.inf:
        raise GatewrightError(f"{prefix}temperature", "a number of at least 0", repr(temperature)[:80])
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise GatewrightError(f"{prefix}seed", f"a whole number from 0 to {2**63 - 1}", repr(seed)[:80])
