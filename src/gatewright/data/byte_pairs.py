"""Byte pair encoding (Sennrich et al. 2016) of the bytes of a text: its words, and the merges within them.

A text is cut into words first, and no token reaches over the end of a word.  The pattern names ASCII characters
only, and takes all others for letters, so that no token depends on tables of Unicode, which differ between
versions and programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

_SPACE = r"\t\n\v\f\r "
_LETTERS = "A-Za-z\u0080-\U0010ffff"
#: Characters of a word, whose encoding takes time that grows with their square.
_LONGEST = 32

#: A word: letters, up to three digits, or other characters, with the space before them; or white space.
PATTERN = (
    rf" ?[{_LETTERS}]{{1,{_LONGEST}}}"
    r"| ?[0-9]{1,3}"
    rf"| ?[^{_LETTERS}0-9{_SPACE}]{{1,{_LONGEST}}}"
    rf"|[{_SPACE}]{{0,{_LONGEST - 1}}}[\r\n]"
    rf"|[{_SPACE}]{{1,{_LONGEST}}}(?![^{_SPACE}])"
    rf"|[{_SPACE}]"
)

_WORDS = re.compile(PATTERN)

#: Number of words whose tokens are remembered.
_REMEMBERED = 200_000


class BytePairs:
    """The merges of a byte pair encoding.

    Args:
        merges: as in `gatewright.spec.Vocabulary`.
        tokens: all tokens; the place of one is its number.
    """

    def __init__(self, merges: Sequence[str], tokens: Sequence[str]) -> None:
        number = {token: place for place, token in enumerate(tokens)}
        self._merges: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, merge in enumerate(merges):
            left, right = merge.split(" ")
            self._merges[number[left], number[right]] = (rank, number[left + right])
        self._known: dict[str, tuple[int, ...]] = {}

    def encode(self, word: str) -> tuple[int, ...]:
        """Return the numbers of the tokens of a word.

        Of all merges that can be done, the first in their order is done, the leftmost where it can be done twice;
        and so on until none is left.
        """
        known = self._known.get(word)
        if known is None:
            known = self._encode(word)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[word] = known
        return known

    def _encode(self, word: str) -> tuple[int, ...]:
        numbers = list(word.encode("utf-8"))
        while len(numbers) > 1:
            pairs = enumerate(pairwise(numbers))
            ranks = [(*self._merges[pair], place) for place, pair in pairs if pair in self._merges]
            if not ranks:
                break
            _, token, place = min(ranks, key=lambda found: (found[0], found[2]))
            numbers[place : place + 2] = [token]
        return tuple(numbers)

    @staticmethod
    def words(text: str) -> Iterator[str]:
        """Yield the words of a text, which make up all of it.

        >>> list(BytePairs.words("I'll come, 1234  no"))
        ['I', "'", 'll', ' come', ',', ' 123', '4', ' ', ' no']
        """
        return (match.group() for match in _WORDS.finditer(text))
