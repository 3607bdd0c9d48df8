"""The seasonal-difference skip: what a forecaster adds to the output of its head, past its layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SeasonSkip(nn.Module):
    """Weights of seasonal differences, one for each season, step ahead and target.

    ``y[j] + sum over s of weight[s, j] * (level[t + j - m_s] - level[t - m_s])``: the change that followed the row
    one season before.  `gatewright.spec.seasonal_rows` says which row stands for ``t + j - m_s``.

    Args:
        seasons: number of seasons.
        horizon: steps ahead.
        targets: number of targets.
        moved: number of the first outputs of a step ahead and target that they are added to; None for all.

    >>> skip = SeasonSkip(1, 2, 1)
    >>> _ = nn.init.ones_(skip.weight)
    >>> skip(torch.zeros(1, 1, 2, 1, 1), torch.tensor([3.0, 5.0]).view(1, 1, 1, 2, 1)).ravel()
    tensor([3., 5.], grad_fn=<ViewBackward0>)
    """

    def __init__(self, seasons: int, horizon: int, targets: int, moved: int | None = None) -> None:
        super().__init__()
        self.moved = moved
        self.weight = nn.Parameter(torch.zeros(seasons, horizon, targets))

    def forward(self, y: Tensor, differences: Tensor) -> Tensor:
        """Add the differences, times their weights.

        Args:
            y: output of the head (..., horizon, targets, outputs).
            differences: in the scaler's units (..., seasons, horizon, targets); 0 where a row was not seen.
        """
        # Season by season, as the native stream adds them, to the same bits.
        total = self.weight[0] * differences[..., 0, :, :]
        for number in range(1, len(self.weight)):
            total = total + self.weight[number] * differences[..., number, :, :]
        return moved_by(y, total.unsqueeze(-1), self.moved)


def moved_by(y: Tensor, amount: Tensor, moved: int | None) -> Tensor:
    """Add an amount to the first outputs of each step ahead and target.

    Args:
        y: (..., outputs).
        amount: (..., 1).
        moved: number of these outputs; None for all.

    >>> moved_by(torch.zeros(1, 3), torch.ones(1, 1), 1)
    tensor([[1., 0., 0.]])
    """
    if moved is None or moved == y.shape[-1]:
        return y + amount
    return torch.cat([y[..., :moved] + amount, y[..., moved:]], dim=-1)
