"""Noise on what a model reads of sequences while training: at each step, and the same at all steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.spec import FeatureEncoder
from gatewright.tasks.settings import NoiseSettings

#: Keep the numbers that are drawn for noise apart from those for the order of sequences, and from each other.
_OF_NOISE, _OF_SHIFTS = 1_000_003, 1_000_004


@dataclass(frozen=True)
class Noise:
    """Normal noise on what a model reads, drawn anew at each step of the training.

    Attributes:
        scale: its standard deviation at each step of a sequence, in those of each column; 0 for none.
        encoder: which columns there are.
        shift: standard deviation of what is added to a column at all steps of a sequence, (columns,), or None.
    """

    scale: float
    encoder: FeatureEncoder
    shift: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        settings: NoiseSettings,
        encoder: FeatureEncoder,
        rows: Sequence[NDArray[np.float32]],
        labels: NDArray[np.int64] | None = None,
    ) -> Noise:
        """Return the noise that settings mean for sequences.

        Args:
            settings: the settings.
            encoder: which columns there are.
            rows: the sequences of the training part as a model reads them, (T, D).
            labels: number of the class of each; None where a sequence has no class.
        """
        if not settings.shift:
            return cls(settings.noise, encoder)
        shift = np.float32(settings.shift) * spread_of_means(rows, encoder, labels)
        return cls(settings.noise, encoder, shift if shift.any() else None)

    def on(
        self, x: Tensor, seed: tuple[int, ...], whole: tuple[int, int] | None = None, rows: slice = slice(None)
    ) -> Tensor:
        """Return rows with noise on the values that were observed.

        Args:
            x: of the batch of a step, this process's rows (T, B, D).
            seed: of the step.
            whole: steps and rows of the batch of all processes, from which the noise is drawn: that of a row does
                not depend on the number of processes.  None for those of ``x``.
            rows: which rows of that batch these are.
        """
        if not self.scale and self.shift is None:
            return x
        columns, missing = len(self.encoder.columns), self.encoder.missing
        steps, count = whole or tuple(x.shape[:2])
        noise = np.zeros((*x.shape[:2], columns), np.float32)
        if self.scale:
            noise += self.scale * _drawn(_OF_NOISE, seed, (steps, count, columns))[: len(x), rows]
        if self.shift is not None:
            noise += self.shift * _drawn(_OF_SHIFTS, seed, (count, columns))[rows]
        for _, place in self.encoder.category_places():
            noise[..., place] = 0.0
        added = torch.from_numpy(noise).to(x.device)
        for number, name in enumerate(missing):  # a missing value stays the mean
            added[..., self.encoder.columns.index(name)] *= x[..., columns + number]
        return torch.cat([x[..., :columns] + added, x[..., columns:]], dim=-1)


def _drawn(kind: int, seed: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng((kind, *seed)).standard_normal(shape, np.float32)


def spread_of_means(
    rows: Sequence[NDArray[np.float32]], encoder: FeatureEncoder, labels: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Return the standard deviation of the mean of a sequence within its class, for each column, (columns,).

    By so much do sequences with the same label differ as a whole; sequences that were each standardised do not.

    >>> rows = [np.array([[0.0], [2.0]]), np.array([[3.0]]), np.array([[8.0]])]
    >>> spread_of_means(rows, FeatureEncoder(("x",)), np.array([0, 0, 1]))
    array([1.4142135], dtype=float32)
    """
    means = np.stack([_means(own, encoder) for own in rows])
    labels = np.zeros(len(rows), np.int64) if labels is None else labels
    classes, numbers = np.unique(labels, return_inverse=True)
    free = len(rows) - len(classes)
    if not free:
        return np.zeros(means.shape[1], np.float32)
    centres = np.stack([means[numbers == number].mean(axis=0) for number in range(len(classes))])
    spread: NDArray[np.float32] = (((means - centres[numbers]) ** 2).sum(axis=0) / free) ** 0.5
    # What is left of a sum that should be 0 is no spread.
    return np.where(spread > 1e-5, spread, 0.0).astype(np.float32)


def _means(own: NDArray[np.float32], encoder: FeatureEncoder) -> NDArray[np.float64]:
    """Return the mean of the observed values of each column of a sequence; 0 without one."""
    columns = len(encoder.columns)
    sums, counts = own[:, :columns].sum(axis=0, dtype=np.float64), np.full(columns, len(own), np.float64)
    for number, name in enumerate(encoder.missing):
        counts[encoder.columns.index(name)] = own[:, columns + number].sum()
    return sums / np.maximum(counts, 1)
