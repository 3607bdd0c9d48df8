"""Largest differences between two models' outputs, and where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Numbers that are compared at once.
_MOST = 2**22


class Difference(NamedTuple):
    """The largest difference of an output.

    Attributes:
        name: of the output.
        absolute: |a - b|; infinity where one of both is not a number, or they are different infinities.
        relative: ``absolute`` over ``scale``.
        scale: the largest finite |a| of the output.
        a: the value of the first model there.
        b: that of the second.
        sequence: number of the sequence, window or part of a text.
        step: number of the step in it.
        part: which number of the output, such as "t+3".
    """

    name: str
    absolute: float
    relative: float
    scale: float
    a: float
    b: float
    sequence: int
    step: int
    part: str = ""


class OutputDifferences:
    """The largest difference of each number of the output, over all steps of all sequences.

    Args:
        names: name of each number of an output, flattened; numbers of the same name are one output.
        parts: which of them it is; None for no words.

    >>> differences = OutputDifferences(["low", "high"])
    >>> differences.add(np.array([[[1.0, 2.0]], [[1.0, 4.0]]]), np.array([[[1.0, 2.0]], [[1.5, 4.0]]]), [7], 0)
    >>> [(each.name, each.absolute, each.sequence, each.step) for each in differences.by_output()]
    [('low', 0.5, 7, 1), ('high', 0.0, 7, 0)]
    """

    def __init__(self, names: Sequence[str], parts: Sequence[str] | None = None) -> None:
        count = len(names)
        self._names, self._parts = list(names), list(parts or [""] * count)
        self._largest, self._scale = np.full(count, -1.0), np.zeros(count)
        self._values, self._places = np.zeros((2, count)), np.zeros((2, count), np.int64)
        #: Steps compared, those of all sequences counted.
        self.steps = 0

    def add(self, a: Array, b: Array, sequences: Sequence[int], first_step: int) -> None:
        """Compare outputs (T, B, ...) of T steps of B sequences.

        Args:
            a: those of the first model.
            b: those of the second, of the same shape.
            sequences: number of each of the B sequences.
            first_step: number of the first of the T steps.
        """
        T, B = a.shape[:2]
        a, b = (each.reshape(T, B, -1) for each in (a, b))
        self.steps += T * B
        at_once = max(1, _MOST // max(1, a[0].size))
        for start in range(0, T, at_once):
            some = slice(start, start + at_once)
            self._add(a[some].astype(np.float64), b[some].astype(np.float64), sequences, first_step + start)

    def _add(self, a: Array, b: Array, sequences: Sequence[int], first_step: int) -> None:
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            gaps = np.where(same, 0.0, np.abs(a - b))
        gaps[np.isnan(gaps)] = np.inf
        finite = np.where(np.isfinite(a), np.abs(a), 0.0)
        self._scale = np.maximum(self._scale, finite.max((0, 1)))
        flat = gaps.reshape(-1, gaps.shape[-1])
        rows = flat.argmax(0)
        columns = np.arange(flat.shape[1])
        larger = flat[rows, columns] > self._largest
        self._largest = np.where(larger, flat[rows, columns], self._largest)
        steps, batch = np.divmod(rows, a.shape[1])
        values = np.stack([each.reshape(flat.shape)[rows, columns] for each in (a, b)])
        self._values = np.where(larger, values, self._values)
        places = np.stack([np.asarray(sequences)[batch], first_step + steps])
        self._places = np.where(larger, places, self._places)

    def by_output(self) -> list[Difference]:
        """Return the largest difference of each output, in order; the scale is that of all its numbers."""
        return list(self._each()) if self.steps else []

    def _each(self) -> Iterator[Difference]:
        names = np.array(self._names)
        for name in dict.fromkeys(self._names):
            own = np.flatnonzero(names == name)
            worst = int(own[self._largest[own].argmax()])
            absolute, scale = float(self._largest[worst]), float(self._scale[own].max())
            a, b = map(float, self._values[:, worst])
            sequence, step = map(int, self._places[:, worst])
            relative = absolute / scale if scale else (0.0 if absolute == 0 else np.inf)
            yield Difference(name, absolute, relative, scale, a, b, sequence, step, self._parts[worst])
