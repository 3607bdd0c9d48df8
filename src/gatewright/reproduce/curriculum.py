"""Lengths of training sequences that grow as a network learns."""

from __future__ import annotations

from dataclasses import dataclass

#: Weight of earlier updates in the moving mean, and how far the mean falls back when the length grows: the longer
#: sequences have to be answered too.
KEPT, FALL = 0.9, 0.02


@dataclass
class Curriculum:
    """The length of training sequences: it grows by a tenth, at least by 2, once the latest answers were right.

    Attributes:
        length: length of the next sequences.
        longest: greatest length.
        enough: share of right answers, as a moving mean over updates, from which on the length grows.

    >>> curriculum = Curriculum(length=3, longest=6, enough=0.5)
    >>> lengths = []
    >>> for _ in range(10):
    ...     curriculum.add(1.0)
    ...     lengths.append(curriculum.length)
    >>> lengths
    [3, 3, 3, 3, 3, 3, 5, 6, 6, 6]
    """

    length: int
    longest: int
    enough: float
    _mean: float = 0.0

    def add(self, right: float) -> None:
        """Add the share of right answers of an update."""
        self._mean = KEPT * self._mean + (1 - KEPT) * right
        if self.learned and self.length < self.longest:
            self.length = min(self.longest, self.length + max(2, self.length // 10))
            self._mean = self.enough - FALL

    @property
    def learned(self) -> bool:
        """Whether the latest answers were right often enough."""
        return self._mean >= self.enough

    @property
    def finished(self) -> bool:
        """Whether sequences of the greatest length are answered well enough."""
        return self.length == self.longest and self.learned
