"""Tokens: a text as numbers of symbols, and back.  It imports no package but NumPy, since streams use it."""

from __future__ import annotations

import codecs
import functools
from array import array
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gatewright.data.byte_pairs import BytePairs
from gatewright.errors import DataError
from gatewright.spec import BYTE_NAMES, SEPARATOR, Vocabulary

Symbols = NDArray[np.int64]
#: Bytes of each token in UTF-8.
Sizes = NDArray[np.int64]

#: Code points from which on a character has one more byte in UTF-8.
_LONGER = np.array([0x80, 0x800, 0x10000], np.uint32)

_BYTE_OF = {name: byte for byte, name in enumerate(BYTE_NAMES)}


class Decoder(Protocol):
    """Symbols to text, one by one."""

    def add(self, symbol: int) -> str:
        """Return the text that a symbol completes; it may be empty."""

    def end(self) -> str:
        """Return what is left: a replacement character for the beginning of a character without its end."""


class Tokenizer(Protocol):
    """How a model cuts a text into tokens.

    Attributes:
        unit: what a token is: "char", "byte" or "token".
        drawn: numbers of the symbols that a generated text consists of.
        start: numbers of what comes before a text without a beginning: the end of another document, or of a line.
        names: the symbols as a person reads them, in order.
    """

    unit: str
    drawn: slice
    start: tuple[int, ...]
    names: tuple[str, ...]

    def encode(self, text: str) -> Symbols:
        """Return the numbers of the tokens of a text."""

    def sizes(self, text: str) -> Sizes:
        """Return the bytes of each token of a text in UTF-8."""

    def decoder(self) -> Decoder:
        """Return a new decoder."""


@functools.lru_cache(maxsize=16)
def tokenizer_of(vocabulary: Vocabulary) -> Tokenizer:
    """Return how a model with a vocabulary cuts a text.

    >>> from gatewright.spec import UNKNOWN
    >>> tokenizer_of(Vocabulary(BYTE_NAMES, tokens="bytes")).encode("né").tolist()
    [110, 195, 169]
    """
    kinds: dict[str, type[Characters | Bytes]] = {"characters": Characters, "bytes": Bytes, "bpe": MergedBytes}
    return kinds[vocabulary.tokens](vocabulary)


def decode(numbers: Iterable[int], vocabulary: Vocabulary) -> str:
    """Return the text of tokens; bytes that are no UTF-8 become replacement characters.

    >>> decode([110, 195, 169, 195], Vocabulary(BYTE_NAMES, tokens="bytes"))
    'né\ufffd'
    """
    decoder = tokenizer_of(vocabulary).decoder()
    return "".join([*map(decoder.add, numbers), decoder.end()])


def utf8_of(text: str, errors: str = "surrogateescape") -> bytes:
    """Return a text in UTF-8; bytes of a file that are no UTF-8, read with ``surrogateescape``, are themselves.

    Raises:
        DataError: at half of a surrogate pair.
    """
    try:
        return text.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        got = f"half of a surrogate pair at character {error.start}"
        raise DataError("text", "text that UTF-8 can write", got) from None


class Characters:
    """Single characters; those outside the vocabulary are the unknown symbol 0."""

    unit = "char"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.names, own = vocabulary.symbols, vocabulary.own
        self.drawn = slice(1, len(own))
        # One table, from code point to number, serves the whole text; its last entry, all greater code points.
        points = [ord(symbol) for symbol in own]
        self._numbers = np.zeros(max(points) + 2, dtype=np.int64)
        self._numbers[points] = np.arange(len(own))
        self.start = _start(self, vocabulary)

    def encode(self, text: str) -> Symbols:
        """Return the numbers of the characters of a text."""
        return self._numbers[np.minimum(_code_points(text), len(self._numbers) - 1)]

    def sizes(self, text: str) -> Sizes:
        """Return the bytes of each character of a text in UTF-8.

        >>> from gatewright.spec import UNKNOWN
        >>> Characters(Vocabulary((UNKNOWN, "a"))).sizes("aé€🙂").tolist()
        [1, 2, 3, 4]
        """
        return 1 + np.searchsorted(_LONGER, _code_points(text), side="right")

    def decoder(self) -> Decoder:
        """Return a new decoder."""
        return _CharacterDecoder(self.names)


class Bytes:
    """The bytes of a text in UTF-8; no symbol is unknown."""

    unit = "byte"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._contents = contents_of(vocabulary)
        self._lengths = np.array([len(content) for content in self._contents], np.int64)
        self.names = tuple(map(_name, vocabulary.symbols, self._contents))
        self.drawn = slice(0, len(vocabulary.own))
        self.start = _start(self, vocabulary)

    def encode(self, text: str) -> Symbols:
        """Return the bytes of a text.

        Raises:
            DataError: at half of a surrogate pair.
        """
        return np.frombuffer(utf8_of(text), np.uint8).astype(np.int64)

    def sizes(self, text: str) -> Sizes:
        """Return the bytes of each token of a text."""
        return self._lengths[self.encode(text)]

    def decoder(self) -> Decoder:
        """Return a new decoder, which gives no character before its last byte."""
        return _ByteDecoder(self._contents)


class MergedBytes(Bytes):
    """Tokens of a byte pair encoding, on the bytes of a text in UTF-8; no symbol is unknown."""

    unit = "token"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._pairs = BytePairs(vocabulary.merges, vocabulary.own)
        super().__init__(vocabulary)

    def encode(self, text: str) -> Symbols:
        """Return the numbers of the tokens of a text.

        Raises:
            DataError: at half of a surrogate pair.
        """
        utf8_of(text, "strict")
        numbers = array("q")
        for word in self._pairs.words(text):
            numbers.extend(self._pairs.encode(word))
        return np.array(numbers, np.int64)


class _CharacterDecoder:
    def __init__(self, symbols: tuple[str, ...]) -> None:
        self._symbols = symbols

    def add(self, symbol: int) -> str:
        return "" if self._symbols[symbol] == SEPARATOR else self._symbols[symbol]

    def end(self) -> str:
        return ""


class _ByteDecoder:
    def __init__(self, contents: tuple[bytes, ...]) -> None:
        self._contents = contents
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, symbol: int) -> str:
        return self._utf8.decode(self._contents[symbol])

    def end(self) -> str:
        return self._utf8.decode(b"", final=True)


def _start(tokenizer: Tokenizer, vocabulary: Vocabulary) -> tuple[int, ...]:
    return (len(vocabulary.symbols) - 1,) if vocabulary.separator else tuple(tokenizer.encode("\n").tolist())


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def contents_of(vocabulary: Vocabulary) -> tuple[bytes, ...]:
    """Return the bytes of each token of a vocabulary of bytes; the separator has none.

    >>> contents_of(Vocabulary((*BYTE_NAMES, "Ġa"), tokens="bpe", merges=("Ġ a",)))[-1]
    b' a'
    """
    return tuple(
        b"" if symbol == SEPARATOR else bytes(_BYTE_OF[name] for name in symbol) for symbol in vocabulary.symbols
    )


def _name(symbol: str, content: bytes) -> str:
    """Return a token as a person reads it: its text, or its bytes where these are no whole characters."""
    if not content:
        return symbol
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in content)
