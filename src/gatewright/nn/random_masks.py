"""The random numbers of `gatewright.counter_random` as torch operations, on any device and inside transforms."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatewright.counter_random import MULTIPLIERS, ROUNDS, WEYL, Place, threshold

_LOW = 0xFFFFFFFF


class Draws(NamedTuple):
    """The random choices of one layer in one direction, in training.

    Attributes:
        seed: a scalar, int64.
        layer: number of the layer.
        direction: 0 forward, 1 in reverse.
        row_ids: numbers of the rows, (B,), int64; None for 0 ... B-1.
        first_step: number of the first step of the sequence.
    """

    seed: Tensor
    layer: int = 0
    direction: int = 0
    row_ids: Tensor | None = None
    first_step: int = 0

    def hit(self, rate: float, purpose: int, steps: int, rows: int, units: int) -> Tensor:
        """Return which units a rate meets at each step, (T, B, units), bool.

        Args:
            rate: of dropout or zoneout.
            purpose: of `gatewright.counter_random`.
            steps: T, number of steps; those of hidden dropout and weights have no number of a first step.
            rows: number of rows.
            units: number of units.
        """
        seed, device = self.seed, self.seed.device
        stream = Place(0, self.layer, self.direction).stream(purpose)
        b = torch.arange(rows, device=device) if self.row_ids is None else self.row_ids.to(device)
        t = torch.arange(steps, device=device)[:, None, None]
        four = philox(t + self.first_step, b[:, None], torch.arange((units + 3) // 4, device=device), stream, seed)
        return four.flatten(-2)[..., :units] < threshold(rate)

    def scaled(self, rate: float, purpose: int, steps: int, rows: int, units: int, like: Tensor) -> Tensor:
        """Return the factor of dropout, 0 or 1 / (1 - rate), of the type of ``like``; arguments as for `hit`."""
        kept = ~self.hit(rate, purpose, steps, rows, units)
        return kept.to(like.device, like.dtype) * (1 / (1 - rate))


def new_seed() -> Tensor:
    """Draw the seed of a call from torch's generator, so that `torch.manual_seed` repeats it; a scalar, int64."""
    return torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu")


def philox(t: Tensor, row: Tensor, four: Tensor, stream: int, seed: Tensor) -> Tensor:
    """Return the four words of each counter (step, row, unit // 4, stream) as the last dimension, int64.

    Equations: Philox4x32-10 of Salmon et al. 2011; products of 64 bits wrap, and their upper halves are masked.

    >>> zero = torch.zeros(1, dtype=torch.int64)
    >>> [hex(word) for word in philox(zero, zero, zero, 0, zero)[0].tolist()]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    a, b, c, d = (each & _LOW for each in torch.broadcast_tensors(t, row, four, torch.full_like(four, stream)))
    k_0, k_1 = seed & _LOW, (seed >> 32) & _LOW
    for _ in range(ROUNDS):
        p_0, p_1 = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (p_1 >> 32) & _LOW ^ b ^ k_0, p_1 & _LOW, (p_0 >> 32) & _LOW ^ d ^ k_1, p_0 & _LOW
        k_0, k_1 = (k_0 + WEYL[0]) & _LOW, (k_1 + WEYL[1]) & _LOW
    return torch.stack([a, b, c, d], dim=-1)
