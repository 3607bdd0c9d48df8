"""Encoded sequences of unequal length as batches of padded rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Largest number of numbers in a batch of inputs and hidden states, when no gradient is needed.
_LARGEST = 2**22


def padded(
    encoded: Sequence[NDArray[np.float32]], numbers: Iterable[int], device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Return some sequences as (T, B, D) with zeros behind their ends, and their lengths on the CPU.

    The lengths are None where all are equal.  No sequences have one step: (1, 0, D).

    >>> padded([np.ones((2, 1), "f4"), np.ones((1, 1), "f4")], [0, 1], torch.device("cpu"))[0][..., 0]
    tensor([[1., 1.],
            [1., 0.]])
    """
    rows = [encoded[number] for number in numbers]
    lengths = [len(row) for row in rows]
    if not rows:
        return torch.zeros(1, 0, encoded[0].shape[1]).to(device), None
    x = np.zeros((max(lengths), len(rows), rows[0].shape[1]), np.float32)
    for place, row in enumerate(rows):
        x[: len(row), place] = row
    even = min(lengths) == max(lengths)
    return torch.from_numpy(x).to(device), None if even else torch.tensor(lengths, device="cpu")


def even_batches(encoded: Sequence[NDArray[np.float32]], width: int, most: int = 256) -> list[NDArray[np.int64]]:
    """Return all numbers of sequences in batches of alike lengths.

    Args:
        encoded: the sequences.
        width: numbers that a step of a sequence takes.
        most: maximum number of sequences in a batch.
    """
    order = np.argsort([len(row) for row in encoded], kind="stable")
    batches, first = [], 0
    while first < len(order):
        size = most
        longest = len(encoded[order[min(first + size, len(order)) - 1]])
        while size > 1 and size * longest * width > _LARGEST:
            size //= 2
            longest = len(encoded[order[min(first + size, len(order)) - 1]])
        batches.append(order[first : first + size])
        first += size
    return batches
