"""Published answers of Random123, and numpy.random.Philox by way of plain integers, judge `counter_random`."""

from __future__ import annotations

import numpy as np
import pytest

from gatewright import counter_random
from gatewright.counter_random import Place

#: Rows `philox4x32 10` of `kat_vectors` in Random123 (Salmon et al. 2011): counter, key, answer.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
#: Multipliers and key increments by the width of a word.
CONSTANTS = {
    32: ((0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)),
    64: ((0xD2E7470EE14C6C93, 0xCA5A826395121157), (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)),
}


def numbers(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def by_integers(counter: list[int], key: list[int], width: int) -> list[int]:
    """Philox4 with 10 rounds as the paper writes it, for words of 32 or of 64 bits."""
    mask, (multipliers, weyl) = 2**width - 1, CONSTANTS[width]
    left_0, right_0, left_1, right_1 = counter
    for _ in range(10):
        low_0, high_0 = (multipliers[0] * left_0) & mask, (multipliers[0] * left_0) >> width
        low_1, high_1 = (multipliers[1] * left_1) & mask, (multipliers[1] * left_1) >> width
        left_0, right_0, left_1, right_1 = high_1 ^ right_0 ^ key[0], low_1, high_0 ^ right_1 ^ key[1], low_0
        key = [(key[0] + weyl[0]) & mask, (key[1] + weyl[1]) & mask]
    return [left_0, right_0, left_1, right_1]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_published_answers(counter: str, key: str, answer: str) -> None:
    low, high = numbers(key)
    got = counter_random.philox(tuple(numbers(counter)), low | high << 32)  # type: ignore[arg-type]
    assert [int(word) for word in got] == numbers(answer) == by_integers(numbers(counter), [low, high], 32)


def test_numpy_judges_the_integers_and_they_judge_the_arrays() -> None:
    random = np.random.default_rng(0)
    key = [int(word) for word in random.integers(0, 2**64, 2, dtype=np.uint64)]
    theirs = np.random.Philox(key=np.array(key, np.uint64), counter=np.array([5, 6, 7, 8], np.uint64))
    assert theirs.random_raw(4).tolist() == by_integers([6, 6, 7, 8], key, 64)  # NumPy counts up before it draws
    steps, rows = [0, 3, 2**31], [1, 2**32 - 1]
    for seed in (12345, 2**63 - 1, -(2**62)):
        place = Place(seed, layer=3, direction=1)
        got = counter_random.words(place, counter_random.CANDIDATE_DROPOUT, steps, rows, 6)
        assert got.shape == (3, 2, 6)
        assert got.dtype == np.uint32
        bits = seed % 2**64
        for (t, b, unit), word in np.ndenumerate(got):
            counter = [steps[t], rows[b], unit // 4, 3 * 16 + 8 + 3]
            assert word == by_integers(counter, [bits % 2**32, bits >> 32], 32)[unit % 4]


def test_a_rate_meets_its_share_and_a_number_depends_on_its_place_alone() -> None:
    place, purpose = Place(seed=3), counter_random.ZONEOUT_CELL
    hit = counter_random.hit(0.3, place, purpose, range(50), range(20), 30)
    assert abs(hit.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / hit.size)
    part = counter_random.hit(0.3, place, purpose, range(10, 20), [7, 3], 9)
    np.testing.assert_array_equal(part, hit[10:20, [7, 3], :9])
    assert not counter_random.hit(0.0, place, purpose, [0], [0], 8).any()
    mask = counter_random.scaled_mask(0.3, place, purpose, range(50), range(20), 30, np.float32)
    assert mask.dtype == np.float32
    np.testing.assert_array_equal(mask, np.where(hit, 0, np.float32(1 / 0.7)))
    others = [Place(4), Place(3, layer=1), Place(3, direction=1)]
    for other in (counter_random.hit(0.3, each, purpose, range(50), range(20), 30) for each in others):
        assert 0.3 < (other != hit).mean() < 0.5
    assert counter_random.threshold(1 / 3) == 2**32 // 3
