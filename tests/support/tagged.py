"""Sequences with a label for each step: which side of zero a sum of noisy steps is on."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from gatewright.data.labels import step_labels_of
from gatewright.data.sequences import Sequences, sequences_of

COLUMNS = ("move", "noise")


@functools.cache
def walks(count: int = 40, seed: int = 0) -> Sequences:
    """Return walks of unequal length; a step is labelled by the side of the sum so far, or not at all."""
    random = np.random.default_rng(seed)
    values, labels = [], []
    for number in range(count):
        steps = 12 + number % 5
        moves = random.choice([-1.0, 1.0], size=steps)
        side = np.sign(moves.cumsum())
        names = np.array(["left", "middle", "right"], object)[side.astype(int) + 1]
        names[3 + number % 4] = None
        values.append(np.stack([moves, random.normal(size=steps)], axis=1))
        labels.append(names)
    sequences = sequences_of(values, columns=COLUMNS, names=[f"w{n}" for n in range(count)])
    return replace(sequences, steps=step_labels_of(labels, sequences.lengths.tolist())[0])


def step_labels(sequences: Sequences) -> list[list[str | None]]:
    """Return the labels of the steps of sequences as text."""
    names = [*sequences.steps.names, None]
    return [[names[number] for number in own] for own in sequences.steps.numbers]


def long_table(sequences: Sequences) -> pl.DataFrame:
    """Return sequences as a long table: who, t, the columns, side."""
    lengths, rows = sequences.lengths, np.concatenate(sequences.values)
    return pl.DataFrame(
        {
            "who": np.repeat(np.array(sequences.names), lengths),
            "t": np.concatenate([np.arange(length) for length in lengths]),
            **{name: rows[:, n] for n, name in enumerate(sequences.columns)},
            "side": [label for own in step_labels(sequences) for label in own],
        }
    )


def write_walks(path: Path, count: int = 40, seed: int = 0) -> Path:
    """Write a long table of walks."""
    long_table(walks(count, seed)).write_csv(path)
    return path
