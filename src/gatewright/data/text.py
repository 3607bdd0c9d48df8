"""Preprocessing of texts for a language model: reading, splitting, numbering, parallel streams."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gatewright.data.bpe_training import merges_of
from gatewright.data.kept_sources import read_once
from gatewright.data.source_files import read_utf8, require_file
from gatewright.data.sources import Text, TextFiles, Texts, TextSource, as_path
from gatewright.data.tokens import Sizes, Symbols, tokenizer_of
from gatewright.errors import DataError, GatewrightError, unusable
from gatewright.spec import BYTE_NAMES, SEPARATOR, UNKNOWN, Vocabulary
from gatewright.spec.vocabulary import tokens_of

#: A text, or the pieces of a text of several documents: between two pieces, a document ends.
Passage = str | tuple[str, ...]


@dataclass(frozen=True)
class TextParts:
    """A text split in order."""

    train: Passage
    valid: Passage
    test: Passage


def read_text(path: Path, raw: bool = False) -> str:
    """Return the text of a file, also compressed as ``.gz``.

    Args:
        path: the file.
        raw: whether any bytes will do: those that are no UTF-8 come as ``surrogateescape`` has them.  Otherwise
            it is text in UTF-8, whose byte order mark is left out.

    Raises:
        DataError: if it cannot be read, is empty, or is not UTF-8; it names the line.
    """
    return read_once(path, ("text", raw), lambda: _read(path, raw))


def _read(path: Path, raw: bool) -> str:
    text = _raw(path).decode("utf-8", "surrogateescape") if raw else read_utf8(path).decode("utf-8")
    if not text:
        raise DataError(str(path), "a text", "an empty file")
    return text


def _raw(path: Path) -> bytes:
    require_file(path)
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (OSError, EOFError, zlib.error, ValueError, MemoryError) as error:
        raise unusable(DataError, path, error) from None


def text_of(source: TextSource, raw: bool = False) -> Passage:
    """Return the text of a source; of several documents, their pieces and an empty one at the end.

    Args:
        source: a text, the path of one, or several of them; documents without a character are left out.
        raw: as for `read_text`.

    Raises:
        DataError: see `read_text`.

    >>> text_of(Text("abba")), text_of(Texts(("ab", "", "ba")))
    ('abba', ('ab', 'ba', ''))
    """
    if isinstance(source, Texts | TextFiles):
        if isinstance(source, Texts):
            contents = [_checked(content, f"text {number}") for number, content in enumerate(source.contents)]
        else:
            contents = [read_text(path, raw) for path in source.files() if path.stat().st_size]
        contents = [content for content in contents if content]
        if not contents:
            raise DataError("source", "a text", "documents without a character")
        return (*contents, "")
    if isinstance(source, Text):
        if not source.content:
            raise DataError("source", "a text", "an empty one")
        return _checked(source.content, "source")
    return read_text(
        as_path(source, "the path of a text, or Text(...)", "Text(...) makes a source of a text"), raw
    )


def _checked(content: str, name: str) -> str:
    try:
        content.encode()
    except UnicodeEncodeError as error:
        got = f"half of a surrogate pair at character {error.start}"
        raise DataError(name, "text that UTF-8 can write", got) from None
    return content


def split_text(text: Passage, valid: str, test: str) -> TextParts:
    """Split a text in order; sizes are shares ("0.05") or numbers of characters ("50000").

    Documents are split where they stand: the first characters of a document may be in one part, and the others in
    the next.

    Raises:
        GatewrightError: if a size cannot be read, or a part would have fewer than two characters.

    >>> split_text("abcdefghij", "0.2", "3")
    TextParts(train='abcde', valid='fg', test='hij')
    >>> split_text(("abcd", "efg", "hij", ""), "0.2", "3")
    TextParts(train=('abcd', 'e'), valid=('fg', ''), test=('hij', ''))
    """
    sizes = []
    total = characters(text)
    for name, size in (("--valid", valid), ("--test", test)):
        try:
            number = float(size)
        except ValueError:
            number = -1.0
        if not (0 < number < 1 or (number >= 1 and number.is_integer())):
            raise GatewrightError(name, "a share between 0 and 1 or a whole number of characters", repr(size))
        sizes.append(round(number * total) if number < 1 else int(number))
    train = total - sum(sizes)
    if min(train, *sizes) < 2:
        got = f"{valid} and {test} of {total}"
        raise GatewrightError("--valid and --test", "at least 2 characters left in all three parts", got)
    rest, last = _cut(text, train + sizes[0])
    return TextParts(*_cut(rest, train), last)


def _cut(text: Passage, place: int) -> tuple[Passage, Passage]:
    """Return the first characters of a text, and the others; a document's end belongs to its last character."""
    if isinstance(text, str):
        return text[:place], text[place:]
    for number, piece in enumerate(text):
        if place < len(piece):
            return (*text[:number], piece[:place]), (piece[place:], *text[number + 1 :])
        place -= len(piece)
    return text, ()


def characters(text: Passage) -> int:
    """Return the number of characters of a text."""
    return len(text) if isinstance(text, str) else sum(map(len, text))


def build_vocabulary(text: Passage, tokens: str = "characters", size: int = 0) -> Vocabulary:
    """Return the vocabulary of a training part; that of several documents has the separator.

    Args:
        text: the training part.
        tokens: what a text is cut into.  Characters are in code point order, after the unknown symbol.
        size: maximum number of tokens of a byte pair encoding, without the separator.

    Raises:
        GatewrightError: if the package that finds a byte pair encoding is not installed.

    >>> build_vocabulary("abba").symbols[1:]
    ('a', 'b')
    """
    pieces = (text,) if isinstance(text, str) else text
    merges: tuple[str, ...] = ()
    if tokens == "characters":
        symbols: tuple[str, ...] = (UNKNOWN, *sorted(set().union(*pieces) - {UNKNOWN}))
    elif tokens == "bytes":
        symbols = BYTE_NAMES
    else:
        merges = merges_of(pieces, size)
        symbols = tokens_of(merges)
    separator = not isinstance(text, str)
    return Vocabulary((*symbols, SEPARATOR) if separator else symbols, tokens, merges, separator)


def encode_text(text: Passage, vocabulary: Vocabulary) -> Symbols:
    """Return the tokens of a text as numbers, with the separator between pieces.

    Raises:
        DataError: if there are several documents, and the vocabulary has no separator.

    >>> encode_text("abc", build_vocabulary("ab")).tolist()
    [1, 2, 0]
    >>> encode_text(("ab", "b", ""), build_vocabulary(("ab", "b", ""))).tolist()
    [1, 2, 3, 2, 3]
    """
    return _joined(text, vocabulary, tokenizer_of(vocabulary).encode, len(vocabulary.symbols) - 1)


def byte_sizes(text: Passage, vocabulary: Vocabulary) -> Sizes:
    """Return the bytes in UTF-8 of each token of a text; a separator has none.

    Raises:
        DataError: as `encode_text`.
    """
    return _joined(text, vocabulary, tokenizer_of(vocabulary).sizes, 0)


def _joined(text: Passage, vocabulary: Vocabulary, of_piece: Callable[[str], Symbols], between: int) -> Symbols:
    if isinstance(text, str):
        return of_piece(text)
    if not vocabulary.separator:
        got = f"{len(text) - 1}, and a model that was trained on one"
        raise DataError("documents", "one", got)
    parts = [of_piece(text[0])]
    for piece in text[1:]:
        parts += [np.array([between]), of_piece(piece)]
    return np.concatenate(parts)


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
