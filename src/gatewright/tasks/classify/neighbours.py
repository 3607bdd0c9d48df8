"""The nearest training sequence, by dynamic time warping or Euclidean distance; and the nearest single row.

One nearest neighbour by dynamic time warping is what a classifier of series has to beat (Bagnall et al. 2017).
Equations: Sakoe & Chiba 1978; the band is a tenth of the length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.spec import FeatureEncoder

Array = NDArray[np.float64]

#: Width of the band on each side of the diagonal, as a share of the length.
BAND = 0.1
#: Maximum number of cells, over all pairs of sequences, that warping may take; seconds.
MOST_CELLS = 400_000_000
#: Maximum number of pairs of single rows that are compared; seconds.
MOST_PAIRS = 400_000_000
#: Longest sequence that is compared; longer ones are resampled to it.
LONGEST = 512


#: Maximum number of values of a category that distances count.
MOST_VALUES = 50


def comparable(encoded: Sequence[NDArray[np.float32]], encoder: FeatureEncoder) -> list[NDArray[np.float32]]:
    """Return encoded sequences (T, D) whose Euclidean distances count categories.

    A value has a column of its own, so that two different ones are a standard deviation apart.  A category of many
    values is left out.
    """
    tables = {
        each.column: np.eye(each.count, dtype=np.float32) * np.float32(0.5**0.5)
        for each in encoder.categories
        if each.count <= MOST_VALUES
    }
    left_out = {each.column for each in encoder.categories} - set(tables)

    def columns(rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        for place, name in enumerate(encoder.columns):
            if name in tables:
                yield tables[name][rows[:, place].astype(np.int64)]
            elif name not in left_out:
                yield rows[:, place : place + 1]
        yield rows[:, len(encoder.columns) :]

    return [np.concatenate(list(columns(rows)), axis=1) for rows in encoded]


class Neighbours(NamedTuple):
    """The nearest training sequence of each test sequence.

    Attributes:
        number: its number (n,).
        method: how the distance was measured, for a person.
    """

    number: NDArray[np.int64]
    method: str


def nearest(
    train: Sequence[NDArray[np.floating]],
    test: Sequence[NDArray[np.floating]],
    progress: Callable[[int], None] = lambda _: None,
) -> Neighbours:
    """Return the nearest training sequence of each test sequence.

    Sequences of unequal length, or longer than `LONGEST`, are resampled to one length first.

    Args:
        train: sequences (T, D).
        test: sequences (T, D).
        progress: is given the number of test sequences after each batch.
    """
    lengths = [len(each) for each in (*train, *test)]
    length = min(max(lengths), LONGEST)
    even = min(lengths) == max(lengths) == length
    known, asked = (np.stack([_resampled(each, length) for each in part]) for part in (train, test))
    band = max(1, round(BAND * length))
    cells = len(train) * len(test) * length * (2 * band + 1) * known.shape[2]
    how = "" if even else f" of sequences resampled to {length} steps"
    warped = cells <= MOST_CELLS
    method = f"1-NN DTW, band {band}{how}" if warped else f"1-NN Euclidean distance{how}"
    at_once = max(1, 20_000_000 // (len(train) * (band + 1 if warped else length) * known.shape[2]))
    found = []
    for first in range(0, len(asked), at_once):
        some = asked[first : first + at_once]
        distances = warping(some, known, band) if warped else _euclidean(some, known)
        found.append(distances.argmin(axis=1))
        progress(len(some))
    return Neighbours(np.concatenate(found), method)


def warping(a: Array, b: Array, band: int) -> Array:
    """Return the squared cost of the best warping path of every pair, (len(a), len(b)).

    ``cost(i, j) = (a_i - b_j)² + min(cost(i-1, j), cost(i, j-1), cost(i-1, j-1))`` where i and j differ by at most
    the band; the cells of one anti-diagonal at once.

    Args:
        a: sequences (n, T, D).
        b: sequences (m, T, D).
        band: maximum difference of i and j.

    >>> float(warping(np.array([[[0.0], [1.0], [1.0]]]), np.array([[[0.0], [0.0], [1.0]]]), band=1)[0, 0])
    0.0
    """
    T = a.shape[1]
    shape = (len(a), len(b), T + 1)  # place i + 1 of a diagonal is row i; place 0 stays infinite
    before, last, here = (np.full(shape, np.inf) for _ in range(3))
    for diagonal in range(2 * T - 1):
        first = max(0, diagonal - T + 1, -((band - diagonal) // 2))
        end = min(T - 1, diagonal, (diagonal + band) // 2) + 1
        rows, columns = slice(first, end), diagonal - np.arange(first, end)
        differences = a[:, None, rows] - b[None, :, columns]
        cost = np.einsum("nmtd,nmtd->nmt", differences, differences)
        if diagonal:
            best = np.minimum(last[..., first:end], last[..., first + 1 : end + 1])
            cost += np.minimum(best, before[..., first:end])
        here[..., first + 1 : end + 1] = cost
        # The next diagonals read one place further on either side, where an older one has left its numbers.
        here[..., first] = np.inf
        here[..., end + 1 : end + 2] = np.inf
        before, last, here = last, here, before
    return last[..., T].copy()


def nearest_rows(
    train: NDArray[np.floating], test: NDArray[np.floating], progress: Callable[[int], None] = lambda _: None
) -> Neighbours:
    """Return the nearest training row of each test row, by Euclidean distance.

    Where there are more than `MOST_PAIRS` pairs, only every n-th training row is compared.

    Args:
        train: rows (n, D).
        test: rows (m, D).
        progress: is given the number of test rows after each batch.

    >>> nearest_rows(np.array([[0.0], [4.0]]), np.array([[3.0], [1.0]])).number.tolist()
    [1, 0]
    """
    apart = max(1, -(-len(train) * len(test) // MOST_PAIRS))
    known = train[::apart].astype(np.float64)
    size = max(1, 4_000_000 // len(known))
    found = []
    for first in range(0, len(test), size):
        some = test[first : first + size].astype(np.float64)
        found.append(_euclidean(some, known).argmin(axis=1) * apart)
        progress(len(some))
    method = "1-NN of single rows" + (f", of which 1 in {apart:,}" if apart > 1 else "")
    return Neighbours(np.concatenate(found), method)


def _euclidean(a: Array, b: Array) -> Array:
    flat, known = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return (flat**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2 * flat @ known.T


def _resampled(rows: NDArray[np.floating], length: int) -> Array:
    """Return a sequence at evenly spaced places, linearly between its rows, (length, D)."""
    if len(rows) == length:
        return rows.astype(np.float64)
    places = np.linspace(0, len(rows) - 1, length)
    return np.stack([np.interp(places, np.arange(len(rows)), column) for column in rows.T], axis=1)
