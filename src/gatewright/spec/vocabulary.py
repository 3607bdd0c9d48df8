"""The symbols of a text model: characters, bytes, or tokens that a byte pair encoding merges."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright.spec.encoders import Encoder
from gatewright.spec.json import Spec, left_out, require, require_text

#: Stands for every character that the training part did not have; always symbol 0 of a vocabulary of characters.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"

#: Stands for the end of a document, in a model of several.  No token has its name: a character is shorter, and
#: tokens of bytes have no spaces.
SEPARATOR = "<end of document>"

#: What a text can be cut into.
TOKENS = ("characters", "bytes", "bpe")

#: Maximum number of tokens of a byte pair encoding, and of bytes in a token.
MOST_TOKENS, LONGEST_TOKEN = 131_072, 256


def _byte_names() -> tuple[str, ...]:
    """Return a printable character for each byte, as GPT-2's encoding has them (Radford et al. 2019)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    names = {byte: chr(byte) for byte in shown} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
    return tuple(names[byte] for byte in range(256))


#: Name of each byte: itself where it is a printable character of Latin-1, else a character from U+0100 on.
BYTE_NAMES = _byte_names()


@dataclass(frozen=True)
class Vocabulary(Spec):
    """The symbols of a text model, in order.

    Attributes:
        symbols: of characters: `UNKNOWN`, then single characters.  Of bytes: `BYTE_NAMES`.  Of a byte pair
            encoding: `BYTE_NAMES`, then the tokens in the order of the merges that make them, written in these
            names.  `SEPARATOR` at the end, if there is one.
        tokens: what a text is cut into, out of `TOKENS`.
        merges: of a byte pair encoding, the first is done first: two tokens with a space between them.
        separator: whether the last symbol is `SEPARATOR`.

    >>> Vocabulary((UNKNOWN, "a", "b")).symbols.index("b")
    2
    >>> Vocabulary((*BYTE_NAMES, "th"), tokens="bpe", merges=("t h",)).symbols[256]
    'th'
    """

    symbols: tuple[str, ...]
    tokens: str = left_out("characters", since=4)
    merges: tuple[str, ...] = left_out((), since=4)
    separator: bool = left_out(False, since=4)

    def __post_init__(self) -> None:
        require_text("vocabulary", self.symbols)
        require(self.tokens in TOKENS, "vocabulary.tokens", f"one of {', '.join(TOKENS)}", self.tokens)
        if self.separator:
            require(
                self.symbols[-1:] == (SEPARATOR,), "vocabulary", f"{SEPARATOR!r} at the end", self.symbols[-1:]
            )
        if self.tokens != "bpe":
            require(not self.merges, "vocabulary.merges", f"none for {self.tokens}", self.merges)
        check = {"characters": self._check_characters, "bytes": self._check_bytes, "bpe": self._check_merges}
        check[self.tokens]()

    @property
    def own(self) -> tuple[str, ...]:
        """The symbols without the separator."""
        return self.symbols[:-1] if self.separator else self.symbols

    def _check_characters(self) -> None:
        require(self.symbols[:1] == (UNKNOWN,), "vocabulary", f"{UNKNOWN!r} as symbol 0", self.symbols[:1])
        for symbol in self.own:
            require(len(symbol) == 1, "vocabulary", "single characters", symbol)
        require(len(set(self.symbols)) == len(self.symbols), "vocabulary", "no symbol twice", "a repetition")

    def _check_bytes(self) -> None:
        require(self.own == BYTE_NAMES, "vocabulary", "the names of the 256 bytes", self.own)

    def _check_merges(self) -> None:
        most = MOST_TOKENS - len(BYTE_NAMES)
        require(len(self.merges) <= 2 * most, "vocabulary.merges", f"at most {2 * most}", len(self.merges))
        tokens = tokens_of(self.merges)
        require(self.own == tokens, "vocabulary", f"the {len(tokens)} tokens that the merges make", self.own)
        require(len(tokens) <= MOST_TOKENS, "vocabulary", f"at most {MOST_TOKENS} tokens", len(tokens))

    def misfit(self, encoder: Encoder) -> tuple[str, str, str] | None:
        """Return what does not fit an encoder (argument, expected, got), or None if all does."""
        if len(self.symbols) != encoder.symbols:
            return "vocabulary", f"the {encoder.symbols} symbols of the encoder", f"{len(self.symbols)}"
        return None


def tokens_of(merges: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tokens of a byte pair encoding: the names of the bytes, then what the merges make, in order.

    Raises:
        SpecError: if a merge is not of two earlier tokens, comes twice, or makes a token too long.
    """
    tokens = dict.fromkeys(BYTE_NAMES)
    require(len(set(merges)) == len(merges), "vocabulary.merges", "no merge twice", "a repetition")
    for merge in merges:
        parts = merge.split(" ")
        known = len(parts) == 2 and all(part in tokens for part in parts)
        require(known, "vocabulary.merges", "two tokens of earlier merges or bytes, such as 't h'", merge)
        token = "".join(parts)
        require(
            len(token) <= LONGEST_TOKEN, "vocabulary.merges", f"tokens of at most {LONGEST_TOKEN} bytes", merge
        )
        tokens[token] = None
    return tuple(tokens)
