"""From a text to symbols: read, split in order, numbered, laid out as parallel streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, GatewrightError
from gatewright.spec import UNKNOWN, Vocabulary

Symbols = NDArray[np.int64]


@dataclass(frozen=True)
class TextParts:
    """A text split in order."""

    train: str
    valid: str
    test: str


def read_text(path: Path) -> str:
    """Read a UTF-8 text.

    Raises:
        DataError: if it cannot be read, is empty, or is not UTF-8 (the line is named).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(str(path), "a file that can be read", error.strerror or str(error)) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        got = f"byte 0x{raw[error.start]:02x} in line {line}"
        raise DataError(str(path), "UTF-8 text", got) from None
    if not text:
        raise DataError(str(path), "a text", "an empty file")
    return text


def split_text(text: str, valid: str, test: str) -> TextParts:
    """Split a text in order; sizes are shares ("0.05") or numbers of characters ("50000").

    Raises:
        GatewrightError: if a size cannot be read or leaves no training part.

    >>> split_text("abcdefghij", "0.2", "1")
    TextParts(train='abcdefg', valid='hi', test='j')
    """
    sizes = []
    for name, size in (("valid", valid), ("test", test)):
        try:
            number = float(size)
        except ValueError:
            number = -1.0
        if not 0 < number < 1 and (number < 1 or number != int(number)):
            raise GatewrightError(name, "a share between 0 and 1 or a whole number of characters", repr(size))
        sizes.append(round(number * len(text)) if number < 1 else int(number))
    train = len(text) - sum(sizes)
    if train < 2 or min(sizes) < 1:
        got = f"{train} and {sizes} of {len(text)} characters"
        raise GatewrightError("valid and test", "characters left in all three parts", got)
    return TextParts(text[:train], text[train : train + sizes[0]], text[train + sizes[0] :])


def build_vocabulary(text: str) -> Vocabulary:
    """Return the characters of the training part in code point order, after the unknown symbol.

    >>> build_vocabulary("abba").symbols[1:]
    ('a', 'b')
    """
    return Vocabulary((UNKNOWN, *sorted(set(text) - {UNKNOWN})))


def encode_text(text: str, vocabulary: Vocabulary) -> Symbols:
    """Number the characters of a text; those that the vocabulary lacks become the unknown symbol 0.

    >>> encode_text("abc", build_vocabulary("ab")).tolist()
    [1, 2, 0]
    """
    # One table look-up for the whole text: code point -> number.
    table = np.zeros(0x110000, dtype=np.int64)
    table[[ord(symbol) for symbol in vocabulary.symbols]] = np.arange(len(vocabulary.symbols))
    return table[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")]


def decode(numbers: Sequence[int], vocabulary: Vocabulary) -> str:
    """Return the text of symbol numbers.

    >>> decode([1, 2], build_vocabulary("ab"))
    'ab'
    """
    return "".join(vocabulary.symbols[number] for number in numbers)


Item = TypeVar("Item", bound=np.generic)


def streams(symbols: NDArray[Item], batch: int) -> NDArray[Item]:
    """Lay a text out as parallel streams, (steps, batch): column b+1 reads on where column b ends.

    The last ``len(symbols) % batch`` symbols are left out.

    >>> streams(np.arange(7), 2)
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    steps = len(symbols) // batch
    return symbols[: steps * batch].reshape(batch, steps).T
