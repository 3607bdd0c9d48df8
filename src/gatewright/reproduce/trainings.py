"""Progress of several trainings: which of how many, and the time left for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gatewright.progress import Waits


class Trainings(Waits):
    """Waits of trainings, one after another.

    A training that has not begun is expected to take as long as the others on average.

    Args:
        waits: where progress is shown.
        total: maximum number of trainings: some experiments end early.
    """

    def __init__(self, waits: Waits, total: int) -> None:
        super().__init__(waits.console)
        self._total, self._number = total, 0
        self._finished: list[float] = []
        self._began = 0.0

    @contextmanager
    def counting(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Show the progress of the next training."""
        self._number += 1
        self._began = time.monotonic()
        label = f"training {self._number} of {max(self._total, self._number)}, {what}"
        if self._finished:
            label += f" ({_duration(self._rest(sum(self._finished) / len(self._finished), 0.0))} left for all)"
        with super().counting(label, total, unit) as advance:
            yield advance
        self._finished.append(time.monotonic() - self._began)

    def left(self, seconds: float) -> str:
        """Return the time left for the training, and for all that follow."""
        whole = time.monotonic() - self._began + seconds
        return f"{super().left(seconds)}, {_duration(self._rest(seconds, whole))} for all"

    def _rest(self, seconds: float, whole: float) -> float:
        """Return the seconds left for all trainings.

        Args:
            seconds: those left for the training at hand.
            whole: what it takes from beginning to end; 0 if that is unknown.
        """
        known = [*self._finished, *([whole] if whole else [])]
        return seconds + max(0, self._total - self._number) * sum(known) / len(known)


def _duration(seconds: float) -> str:
    """Return a duration in words.

    >>> _duration(42.3), _duration(600), _duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
