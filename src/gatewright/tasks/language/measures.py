"""Measures of a text's likelihood: per token, per byte, perplexity."""

from __future__ import annotations

import math

from gatewright.data.text import streams
from gatewright.data.tokens import Sizes

#: Largest number of nats whose exponential is a finite float64.
_LARGEST = 709.0


def scored_bytes(sizes: Sizes, count: int) -> int:
    """Return the bytes of UTF-8 of the tokens that are scored: all but the first of each parallel stream.

    Args:
        sizes: bytes of each token of the text.
        count: parallel streams.
    """
    return int(streams(sizes, count)[1:].sum())


def measures(nats: float, tokens: int, size: int) -> dict[str, float | None]:
    """Return bits per byte, which texts in different tokens share, and the perplexity of a token.

    Args:
        nats: mean negative log-likelihood of a token.
        tokens: number of tokens that were scored.
        size: their bytes in UTF-8.

    Returns:
        ``bits_per_byte``, None where no byte was scored; ``perplexity``, None where it is no finite number.

    >>> measures(math.log(2), tokens=6, size=3)
    {'bits_per_byte': 2.0, 'perplexity': 2.0}
    """
    bits = nats * tokens / math.log(2) / size if size else None
    return {"bits_per_byte": bits, "perplexity": math.exp(nats) if nats <= _LARGEST else None}


def plural(unit: str) -> str:
    """Return what several tokens are called.

    >>> plural("char"), plural("byte")
    ('characters', 'bytes')
    """
    return "characters" if unit == "char" else f"{unit}s"
