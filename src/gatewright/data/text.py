"""Preprocessing of a text for a language model: reading, splitting, numbering, parallel streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gatewright.data.source_files import read_utf8
from gatewright.data.sources import Text, TextSource, as_path
from gatewright.errors import DataError, GatewrightError
from gatewright.spec import UNKNOWN, Vocabulary

Symbols = NDArray[np.int64]
#: Bytes of each token in UTF-8.
Sizes = NDArray[np.int64]


@dataclass(frozen=True)
class TextParts:
    """A text split in order."""

    train: str
    valid: str
    test: str


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, also compressed as ``.gz``, without its byte order mark.

    Raises:
        DataError: if it cannot be read, is empty, or is not UTF-8; it names the line.
    """
    text = read_utf8(path).decode("utf-8")
    if not text:
        raise DataError(str(path), "a text", "an empty file")
    return text


def text_of(source: TextSource) -> str:
    """Return the text of a source.

    Raises:
        DataError: see `read_text`.

    >>> text_of(Text("abba"))
    'abba'
    """
    if isinstance(source, Text):
        if not source.content:
            raise DataError("source", "a text", "an empty one")
        try:
            source.content.encode()
        except UnicodeEncodeError as error:
            got = f"half of a surrogate pair at character {error.start}"
            raise DataError("source", "text that UTF-8 can write", got) from None
        return source.content
    return read_text(as_path(source, "the path of a text, or Text(...)", "Text(...) makes a source of a text"))


def split_text(text: str, valid: str, test: str) -> TextParts:
    """Split a text in order; sizes are shares ("0.05") or numbers of characters ("50000").

    Raises:
        GatewrightError: if a size cannot be read, or a part would have fewer than two characters.

    >>> split_text("abcdefghij", "0.2", "3")
    TextParts(train='abcde', valid='fg', test='hij')
    """
    sizes = []
    for name, size in (("--valid", valid), ("--test", test)):
        try:
            number = float(size)
        except ValueError:
            number = -1.0
        if not (0 < number < 1 or (number >= 1 and number.is_integer())):
            raise GatewrightError(name, "a share between 0 and 1 or a whole number of characters", repr(size))
        sizes.append(round(number * len(text)) if number < 1 else int(number))
    train = len(text) - sum(sizes)
    if min(train, *sizes) < 2:
        got = f"{valid} and {test} of {len(text)}"
        raise GatewrightError("--valid and --test", "at least 2 characters left in all three parts", got)
    return TextParts(text[:train], text[train : train + sizes[0]], text[train + sizes[0] :])


def build_vocabulary(text: str) -> Vocabulary:
    """Return the characters of the training part in code point order, after the unknown symbol.

    >>> build_vocabulary("abba").symbols[1:]
    ('a', 'b')
    """
    return Vocabulary((UNKNOWN, *sorted(set(text) - {UNKNOWN})))


def encode_text(text: str, vocabulary: Vocabulary) -> Symbols:
    """Return the characters of a text as numbers; those outside the vocabulary become the unknown symbol 0.

    >>> encode_text("abc", build_vocabulary("ab")).tolist()
    [1, 2, 0]
    """
    # One table, from code point to number, serves the whole text.
    table = np.zeros(0x110000, dtype=np.int64)
    table[[ord(symbol) for symbol in vocabulary.symbols]] = np.arange(len(vocabulary.symbols))
    return table[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")]


def byte_sizes(text: str) -> Sizes:
    """Return the bytes of each character of a text in UTF-8.

    >>> byte_sizes("aé€🙂").tolist()
    [1, 2, 3, 4]
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return 1 + (points[:, None] >= np.array([0x80, 0x800, 0x10000])).sum(axis=1)


def decode(numbers: Sequence[int], vocabulary: Vocabulary) -> str:
    """Return the text of symbol numbers.

    >>> decode([1, 2], build_vocabulary("ab"))
    'ab'
    """
    return "".join(vocabulary.symbols[number] for number in numbers)


Item = TypeVar("Item", bound=np.generic)


def streams(symbols: NDArray[Item], batch: int) -> NDArray[Item]:
    """Arrange a text as parallel streams, (steps, batch): column b+1 continues where column b ends.

    The last ``len(symbols) % batch`` symbols are left out.

    >>> streams(np.arange(7), 2)
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    steps = len(symbols) // batch
    return symbols[: steps * batch].reshape(batch, steps).T
