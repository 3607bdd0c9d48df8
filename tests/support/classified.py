"""Labelled sequences for tests: handwritten digits, read row by row (scikit-learn's copy of UCI's)."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import polars as pl

from gatewright.data.sequences import Sequences, sequences_of

COLUMNS = tuple(f"p{n}" for n in range(8))


@functools.cache
def digits(count: int = 300, classes: int = 4, uneven: bool = True) -> Sequences:
    """Return the first digits below a number: 8 pixels a row, of unequal length, the last row of some cut off."""
    from sklearn.datasets import load_digits

    data = load_digits()
    chosen = np.flatnonzero(data.target < classes)[:count]
    images = data.images[chosen].astype(np.float64)
    lengths = 8 - (np.arange(len(chosen)) % 3 if uneven else np.zeros(len(chosen), int))
    rows = [image[:length] for image, length in zip(images, lengths, strict=True)]
    return sequences_of(rows, data.target[chosen], columns=COLUMNS)


def long_table(sequences: Sequences) -> pl.DataFrame:
    """Return sequences as a long table: who, t, the columns, label."""
    lengths = sequences.lengths
    rows = np.concatenate(sequences.values)
    return pl.DataFrame(
        {
            "who": np.repeat(np.array(sequences.names), lengths),
            "t": np.concatenate([np.arange(length) for length in lengths]),
            **{name: rows[:, n] for n, name in enumerate(sequences.columns)},
            "digit": np.repeat(np.array(sequences.labels), lengths),
        }
    )


def write_digits(path: Path, count: int = 120, classes: int = 3) -> Path:
    """Write a long table of digits."""
    long_table(digits(count, classes)).write_csv(path)
    return path
