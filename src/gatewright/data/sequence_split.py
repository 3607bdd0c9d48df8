"""Split of labelled sequences into parts: whole ones class by class or at random, or the steps of a single one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.data.labels import in_order
from gatewright.errors import DataError, GatewrightError, shorten

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class SequenceParts:
    """Numbers of the sequences of each part, rising."""

    train: Numbers
    valid: Numbers
    test: Numbers


def classes_of(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the different labels, as `in_order` does.

    Raises:
        DataError: if there are fewer than two.

    >>> classes_of(("10", "2", "10"))
    ('2', '10')
    """
    classes = in_order(labels)
    if len(classes) < 2:
        got = f"{shorten(classes[0])} alone" if classes else "none"
        raise DataError("labels", "at least two classes to tell apart", got)
    return classes


def stratified(labels: tuple[str, ...], valid: str, test: str, seed: int) -> SequenceParts:
    """Split sequences so that each class has its share of every part.

    A class has at least one sequence in every part that is not empty.  The split depends on the labels, the sizes
    and the seed alone.

    Args:
        labels: label of each sequence.
        valid: size of the validation part: a share such as "0.15", or a number of sequences; "0" for none.
        test: the same for the test part.
        seed: random seed.

    Raises:
        GatewrightError: if a size cannot be read, or a class has too few sequences.

    >>> parts = stratified(("a",) * 8 + ("b",) * 4, valid="0.25", test="0", seed=0)
    >>> len(parts.train), len(parts.valid), len(parts.test)
    (9, 3, 0)
    """
    shares = _shares(valid, test, len(labels))
    needed = 1 + sum(share > 0 for share in shares)
    parts: tuple[list[Numbers], ...] = ([], [], [])
    for place, name in enumerate(classes_of(labels)):
        numbers = np.flatnonzero(np.array([label == name for label in labels]))
        if len(numbers) < needed:
            wanted = {1: "training", 2: "training and validation", 3: "training, validation and test"}
            if needed == 2 and not shares[0]:
                wanted[2] = "training and test"
            expected = f"at least {needed} sequences, one for each of {wanted[needed]}"
            raise DataError(f"class {shorten(name)}", expected, str(len(numbers)))
        shuffled = np.random.default_rng((seed, place)).permutation(numbers)
        counts = _counts(shares, len(numbers))
        first, second = counts[1], counts[1] + counts[0]
        for part, chosen in zip(parts, (shuffled[second:], shuffled[first:second], shuffled[:first]), strict=True):
            part.append(chosen)
    train, valid_, test_ = (np.sort(np.concatenate(part)).astype(np.int64) for part in parts)
    return SequenceParts(train, valid_, test_)


def shuffled(total: int, valid: str, test: str, seed: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return the numbers of the sequences of the training, validation and test part, rising, drawn at random.

    Args:
        total: number of sequences.
        valid: as for `stratified`.
        test: as for `stratified`.
        seed: random seed.

    Raises:
        GatewrightError: if a size cannot be read, or there are too few sequences.

    >>> [part.tolist() for part in shuffled(6, valid="1", test="0.2", seed=0)]
    [[0, 1, 4, 5], [2], [3]]
    """
    shares = _shares(valid, test, total)
    needed = 1 + sum(share > 0 for share in shares)
    if total < needed:
        raise DataError("sequences", f"at least {needed}, one for each part, or a single one", str(total))
    counts = _counts(shares, total)
    order = np.random.default_rng(seed).permutation(total).astype(np.int64)
    parts = np.split(order, [counts[1], counts[1] + counts[0]])
    held, validation, train = map(np.sort, parts)
    return train, validation, held


def in_order_of_time(steps: int, valid: str, test: str) -> tuple[slice, slice, slice]:
    """Return the steps of a single sequence that are the training, validation and test part, in this order.

    Args:
        steps: number of steps.
        valid: size of the validation part: a share, or a number of steps; "0" for none.
        test: the same for the test part.

    Raises:
        GatewrightError: if a size cannot be read, or there are too few steps.

    >>> in_order_of_time(20, valid="0.15", test="4")
    (slice(0, 13, None), slice(13, 16, None), slice(16, 20, None))
    """
    shares = _shares(valid, test, steps)
    needed = 1 + sum(share > 0 for share in shares)
    if steps < needed:
        raise DataError("steps of the sequence", f"at least {needed}, one for each part", str(steps))
    counts = _counts(shares, steps)
    second, third = steps - counts[0] - counts[1], steps - counts[1]
    return slice(0, second), slice(second, third), slice(third, steps)


def _counts(shares: tuple[float, float], total: int) -> list[int]:
    """Return how many of all are in the validation and the test part: at least one for a share above 0."""
    counts = [max(1, round(share * total)) if share else 0 for share in shares]
    while total - sum(counts) < 1:  # a small class gives to training first
        counts[int(np.argmax(counts))] -= 1
    return counts


def _shares(valid: str, test: str, total: int) -> tuple[float, float]:
    """Return the sizes of the validation and the test part as shares of all sequences, or of all steps of one."""
    shares = _share("--valid", valid, total), _share("--test", test, total)
    if sum(shares) >= 1:
        raise GatewrightError("--valid and --test", "sizes that leave a training part", f"{valid} and {test}")
    return shares


def _share(name: str, size: str, total: int) -> float:
    """Return a size as a share of all sequences."""
    try:
        number = float(size)
    except ValueError:
        number = -1.0
    if 0 <= number < 1:
        return number
    if number.is_integer() and 1 <= number < total:
        return number / total
    expected = "a share such as 0.15, or a number of sequences below all of them"
    if name == "--test":
        expected += ", or the path of a file"
    raise GatewrightError(name, expected, f"{shorten(size)} of {total} sequences")
