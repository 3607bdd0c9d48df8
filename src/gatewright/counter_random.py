"""Random numbers of a counter: Philox4x32-10 in NumPy, and which units a rate of dropout or zoneout meets.

A number depends on its place alone - seed, layer, direction, step, row, unit - not on earlier draws.
So a pass has the same numbers however its batch is split, its sequence cut, and its work shared among threads.

Source: Salmon, Moraes, Dror & Shaw 2011, Parallel Random Numbers: As Easy as 1, 2, 3, SC '11.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint32]

#: Purposes of the numbers of a layer.
ZONEOUT_CELL, ZONEOUT_HIDDEN, HIDDEN_DROPOUT, CANDIDATE_DROPOUT, WEIGHT_DROP = range(5)

#: What the two products of a round multiply with, and what is added to the key after each round.
MULTIPLIERS, WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class Place(NamedTuple):
    """Whose numbers they are.

    Attributes:
        seed: the key, 64 bits; a negative number stands for its two's complement.
        layer: number of the layer, from 0.
        direction: 0 forward, 1 in reverse.
    """

    seed: int
    layer: int = 0
    direction: int = 0

    def stream(self, purpose: int) -> int:
        """Return the last word of the counter: it keeps the numbers of layers, directions and purposes apart."""
        return self.layer * 16 + self.direction * 8 + purpose


def philox(counter: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike], seed: int) -> tuple[Words, ...]:
    """Return the four words of each counter.

    Args:
        counter: its four words, whole numbers from 0 to 2³² - 1, of shapes that broadcast to one.
        seed: the key, 64 bits.

    >>> [hex(int(word)) for word in philox((0, 0, 0, 0), 0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    a, b, c, d = (np.asarray(word).astype(np.uint64) & _LOW for word in counter)
    keys = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]
    for _ in range(ROUNDS):
        k_0, k_1 = (np.uint64(key) for key in keys)
        p_0, p_1 = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        a, b, c, d = (p_1 >> _HALF) ^ b ^ k_0, p_1 & _LOW, (p_0 >> _HALF) ^ d ^ k_1, p_0 & _LOW
        keys = [(key + weyl) & 0xFFFFFFFF for key, weyl in zip(keys, WEYL, strict=True)]
    return tuple(word.astype(np.uint32) for word in np.broadcast_arrays(a, b, c, d))


def words(place: Place, purpose: int, steps: ArrayLike, rows: ArrayLike, units: int) -> Words:
    """Return one word for each step, row and unit, (T, B, units).

    The counter is (step, row, unit // 4, stream), and the word of a unit is number unit % 4 of its four.

    Args:
        place: whose numbers they are.
        purpose: what they are for.
        steps: numbers of the steps, (T,).
        rows: numbers of the rows, (B,).
        units: number of units.
    """
    t = np.atleast_1d(np.asarray(steps, np.int64))[:, None, None]
    b = np.atleast_1d(np.asarray(rows, np.int64))[:, None]
    four = np.stack(philox((t, b, np.arange((units + 3) // 4), place.stream(purpose)), place.seed), axis=-1)
    return four.reshape(*four.shape[:2], -1)[..., :units]


def threshold(rate: float) -> int:
    """Return the number of words that a rate meets: the first ones, rate · 2³² rounded down.

    >>> threshold(0.5) == 2**31
    True
    """
    return int(rate * 2.0**32)


def hit(
    rate: float, place: Place, purpose: int, steps: ArrayLike, rows: ArrayLike, units: int
) -> NDArray[np.bool_]:
    """Return which units a rate meets: is dropped, or kept back, (T, B, units); arguments as for `words`.

    >>> hit(0.5, Place(seed=7), HIDDEN_DROPOUT, [0], [0, 1], 6).astype(int)[0]
    array([[1, 0, 1, 1, 1, 0],
           [0, 1, 0, 1, 1, 1]])
    """
    return words(place, purpose, steps, rows, units) < threshold(rate)


def scaled_mask(
    rate: float, place: Place, purpose: int, steps: ArrayLike, rows: ArrayLike, units: int, dtype: Any
) -> NDArray[Any]:
    """Return the factor by which dropout multiplies: 0 where a unit is dropped, else 1 / (1 - rate)."""
    dropped = hit(rate, place, purpose, steps, rows, units)
    return np.where(dropped, np.zeros((), dtype), np.asarray(1 / (1 - rate), dtype))
