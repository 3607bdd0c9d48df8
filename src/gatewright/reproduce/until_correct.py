"""Online training until the criterion of Hochreiter & Schmidhuber 1997: the latest sequences were all correct."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewright.progress import Waits
from gatewright.reproduce.experiment import Curve
from gatewright.reproduce.recurrent import Recurrent

#: Sequences between two points of a curve.
EACH = 500


@dataclass(frozen=True)
class Batch:
    """Sequences of unequal length.

    Attributes:
        x: inputs (T, B, D), zero after the end of a row.
        y: targets (B, outputs).
        lengths: steps of each row (B,).
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class Criterion:
    """When a training has succeeded: the latest sequences were all correct, and their mean error is small.

    Attributes:
        tolerance: a sequence is correct if its absolute error is below this.
        mean: the mean absolute error of the latest sequences must be below this.
        window: number of latest sequences.
    """

    tolerance: float
    mean: float
    window: int = 2000


class Recent:
    """The latest errors of a training.

    >>> recent = Recent(Criterion(tolerance=0.1, mean=0.05, window=3))
    >>> [recent.add([error]) for error in (0.3, 0.01, 0.02, 0.03)]
    [False, False, False, True]
    """

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion
        self.seen = 0
        self._wrong = 0
        self._errors: deque[float] = deque()

    def add(self, errors: list[float]) -> bool:
        """Add the errors of sequences, oldest first; return whether the criterion is met after them."""
        for error in errors:
            self._errors.append(error)
            self._wrong += not error < self.criterion.tolerance
            if len(self._errors) > self.criterion.window:
                self._wrong -= not self._errors.popleft() < self.criterion.tolerance
        self.seen += len(errors)
        full = len(self._errors) == self.criterion.window
        return full and not self._wrong and self.mean < self.criterion.mean

    @property
    def mean(self) -> float:
        """Mean of the latest errors."""
        return sum(self._errors) / len(self._errors)


@dataclass(frozen=True)
class Online:
    """How a network is trained on sequences that are drawn as it learns.

    Attributes:
        draw: function of a random generator and a number of sequences that returns a batch.
        errors: function of outputs and targets (B, outputs) that returns the absolute errors (B,).
        criterion: criterion of success.
        batch: sequences in an update.
        lr: learning rate of Adam.
        budget: maximum number of sequences.
        clip: maximum norm of the gradient.
    """

    draw: Callable[[np.random.Generator, int], Batch]
    errors: Callable[[Tensor, Tensor], Tensor]
    criterion: Criterion
    batch: int
    lr: float
    budget: int
    clip: float = 1.0

    def train(
        self, network: Recurrent, rng: np.random.Generator, waits: Waits, label: str
    ) -> tuple[int | None, Curve]:
        """Train on the mean squared error, and count the sequences.

        A sequence is judged before the network has learned from it.

        Returns:
            The number of sequences until the criterion, None if it was not met within the budget; the mean
            absolute error as a function of the sequences.
        """
        optimizer = torch.optim.Adam(network.parameters(), self.lr)
        recent = Recent(self.criterion)
        part: list[float] = []
        curve = Curve([], [])
        with waits.counting(label, self.budget, "sequences") as advance:
            while recent.seen < self.budget:
                batch = self.draw(rng, self.batch)
                target = torch.from_numpy(batch.y)
                output = network(torch.from_numpy(batch.x), torch.from_numpy(batch.lengths))
                loss = (output - target).square().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), self.clip)
                optimizer.step()
                errors = self.errors(output.detach(), target).tolist()
                met = recent.add(errors)
                part += errors
                advance(len(errors))
                if met or len(part) >= EACH:
                    curve.x.append(recent.seen)
                    curve.y.append(sum(part) / len(part))
                    part = []
                if met:
                    return recent.seen, curve
        return None, curve

    @torch.no_grad()
    def wrong(self, network: Recurrent, rng: np.random.Generator, number: int) -> int:
        """Return how many of newly drawn test sequences are wrong."""
        count = 0
        for start in range(0, number, 256):
            batch = self.draw(rng, min(256, number - start))
            output = network(torch.from_numpy(batch.x), torch.from_numpy(batch.lengths))
            count += int((self.errors(output, torch.from_numpy(batch.y)) >= self.criterion.tolerance).sum())
        return count


def seeded(seed: int, *purpose: int) -> np.random.Generator:
    """Return a generator for one purpose of one seed, and seed torch's with the same entropy.

    >>> seeded(0, 1).integers(100) == seeded(0, 1).integers(100)
    np.True_
    """
    sequence = np.random.SeedSequence([seed, *purpose])
    torch.manual_seed(int(sequence.generate_state(1)[0]))
    return np.random.default_rng(sequence)
