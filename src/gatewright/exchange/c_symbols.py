"""The vocabulary of a language model as C source: code points, or the bytes of tokens and their merges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from gatewright.data.tokens import contents_of
from gatewright.exchange.c_arrays import block
from gatewright.spec import SEPARATOR, Vocabulary

_CHARACTERS = """\
 * A step reads the number of a symbol, its place in model_symbols, and gives a score (a logit) for each that may
 * follow."""

_CHARACTERS_EXTRAS = """\
/* Unicode code points; the first, U+FFFD, stands for every character that is not among them. */
extern const uint32_t model_symbols[MODEL_SYMBOLS];"""

_TOKENS = """\
 * A step reads the number of a token, and gives a score (a logit) for each that may follow.  Token n is the bytes
 * model_token_bytes[model_token_ends[n - 1]] up to model_token_ends[n], from 0 on for the first; the first 256
 * tokens are the single bytes, in order."""

_TOKENS_EXTRAS = """\
extern const unsigned char model_token_bytes[MODEL_TOKEN_BYTES];
extern const uint32_t model_token_ends[MODEL_SYMBOLS];"""

_MERGES_EXTRAS = """\

/* Three numbers a merge, the first one done first: left token, right token, and what takes their place. */
extern const uint32_t model_merges[3 * MODEL_MERGES];"""

_SEPARATOR = """\
/* Stands between two documents; it has no bytes. */
#define MODEL_SEPARATOR {number}

"""


def of_vocabulary(vocabulary: Vocabulary) -> tuple[dict[str, int], str, str, Iterator[str]]:
    """Return what the C source of a model has of its vocabulary.

    Returns:
        Constants of the header, what a step reads and gives, declarations of the header, and definitions.
    """
    sizes, number = {"SYMBOLS": len(vocabulary.symbols)}, len(vocabulary.symbols) - 1
    separator = _SEPARATOR.format(number=number) if vocabulary.separator else ""
    if vocabulary.tokens == "characters":
        return sizes, _CHARACTERS, separator + _CHARACTERS_EXTRAS, _characters(vocabulary)
    sizes["TOKEN_BYTES"] = sum(map(len, contents_of(vocabulary)))
    extras = separator + _TOKENS_EXTRAS
    if vocabulary.merges:
        sizes["MERGES"] = len(vocabulary.merges)
        extras += _MERGES_EXTRAS
    return sizes, _TOKENS, extras, _tokens(vocabulary)


def _characters(vocabulary: Vocabulary) -> Iterator[str]:
    # The separator is no character: a code point that no text has.
    points = [0x110000 if symbol == SEPARATOR else ord(symbol) for symbol in vocabulary.symbols]
    yield block("const uint32_t model_symbols", [f"{point:#x}" for point in points])


def _tokens(vocabulary: Vocabulary) -> Iterator[str]:
    contents = contents_of(vocabulary)
    yield block("const unsigned char model_token_bytes", [str(byte) for byte in b"".join(contents)])
    yield block("const uint32_t model_token_ends", [str(end) for end in accumulate(map(len, contents))])
    if vocabulary.merges:
        number = {token: place for place, token in enumerate(vocabulary.own)}
        pairs = [merge.split(" ") for merge in vocabulary.merges]
        numbers = [number[token] for left, right in pairs for token in (left, right, left + right)]
        yield block("const uint32_t model_merges", list(map(str, numbers)))
