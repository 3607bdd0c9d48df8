"""Sampling of text from a language model, character by character."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, SpecError
from gatewright.runtime.stream import Stream

_DRAW = struct.Struct("<qq")


def generate(stream: Stream, prompt: str, length: int, temperature: float = 1.0, seed: int = 0) -> Iterator[str]:
    """Continue a text.

    Args:
        stream: a trained language model with one session, which is reset first.
        prompt: text to continue; characters outside the vocabulary are read as the unknown symbol.
        length: number of characters to generate.
        temperature: 1 samples from the distribution of the model, less favours likely characters, 0 always takes
            the most likely one.
        seed: random seed; the same seed gives the same text.

    Yields:
        Characters; never the unknown symbol.

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
    if not stream.symbols:
        raise SpecError("model", "a language model", "one that does not read symbols")
    require_drawable(length, temperature, seed, "--")
    return _characters(stream, prompt or "\n", length, temperature, seed)


def _characters(stream: Stream, prompt: str, length: int, temperature: float, seed: int) -> Iterator[str]:
    stream.reset()
    scores = stream.run(prompt)[-1]
    for place in range(len(prompt), len(prompt) + length):
        symbol = draw(scores, temperature, seed, place)
        yield stream.symbols[symbol]
        scores = stream.step(symbol)


def draw(scores: NDArray[np.float32], temperature: float, seed: int, place: int) -> int:
    """Return the number of a symbol, sampled by its score; never the first one, the unknown symbol.

    Args:
        scores: logits, (V,).
        temperature: as for `generate`.
        seed: as for `generate`.
        place: number of steps that the session has taken.  A sample depends only on it and the seed, so that an
            interrupted text continues as it would have without the interruption.

    >>> draw(np.array([9.0, 1.0, 2.0], np.float32), temperature=0, seed=0, place=0)
    2
    """
    known = scores[1:].astype(np.float64)
    if temperature == 0:
        return 1 + int(known.argmax())
    with np.errstate(over="ignore"):
        # Relative to the highest score, so that a low temperature does not overflow.
        chances = np.exp((known - known.max()) / temperature).cumsum()
    return 1 + int(np.searchsorted(chances, chances[-1] * _uniform(seed, place), side="right"))


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
