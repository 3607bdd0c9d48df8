"""Split of labelled sequences into training, validation and test part: whole sequences, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, GatewrightError, shorten

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class SequenceParts:
    """Numbers of the sequences of each part, rising."""

    train: Numbers
    valid: Numbers
    test: Numbers


def classes_of(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the different labels in order: by number if all are numbers, else by text.

    Raises:
        DataError: if there is only one.

    >>> classes_of(("10", "2", "10"))
    ('2', '10')
    """
    classes = sorted(set(labels))
    try:
        classes.sort(key=float)
    except ValueError:
        classes.sort()
    if len(classes) < 2:
        raise DataError("labels", "at least two classes to tell apart", f"{shorten(classes[0])} alone")
    return tuple(classes)


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
    total = len(labels)
    shares = _share("--valid", valid, total), _share("--test", test, total)
    if sum(shares) >= 1:
        raise GatewrightError("--valid and --test", "sizes that leave a training part", f"{valid} and {test}")
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
        counts = [max(1, round(share * len(numbers))) if share else 0 for share in shares]
        while len(numbers) - sum(counts) < 1:  # a small class gives to training first
            counts[int(np.argmax(counts))] -= 1
        first, second = counts[1], counts[1] + counts[0]
        for part, chosen in zip(parts, (shuffled[second:], shuffled[first:second], shuffled[:first]), strict=True):
            part.append(chosen)
    train, valid_, test_ = (np.sort(np.concatenate(part)).astype(np.int64) for part in parts)
    return SequenceParts(train, valid_, test_)


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
