"""From the hidden states of a sequence to one vector: the last one, their mean, their maximum, or attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pool(nn.Module):
    """Pooling over the steps of sequences.

    Sums run over the steps in order, in float64, so that a prediction that is made step by step has the same bits.
    Attention is that of a single learned query: weights softmax(w · h_t) over the steps (Bahdanau et al. 2015,
    arXiv:1409.0473, without the state of a decoder); it starts as the mean.

    Args:
        pooling: "last", "mean", "max" or "attention".
        width: width of the hidden states; of both directions together.
        bidirectional: whether the second half of a hidden state comes from the reverse direction.

    >>> hidden = torch.tensor([1.0, 3.0, 8.0]).reshape(3, 1, 1)
    >>> Pool("mean", 1)(hidden), Pool("mean", 1)(hidden, torch.tensor([2]))
    (tensor([[4.]]), tensor([[2.]]))
    """

    def __init__(self, pooling: str, width: int, bidirectional: bool = False) -> None:
        super().__init__()
        self.pooling, self.bidirectional = pooling, bidirectional
        self.weight = nn.Parameter(torch.zeros(1, width)) if pooling == "attention" else None

    def forward(self, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return one vector for each row, (B, width).

        Args:
            hidden: hidden states (T, B, width).
            lengths: steps of each row (B,); all T if None.
        """
        if self.pooling == "last" and self.bidirectional:
            half = hidden.shape[-1] // 2
            # The reverse direction has read the whole sequence at its first step.
            return torch.cat([_at_ends(hidden[..., :half], lengths), hidden[0, :, half:]], dim=-1)
        return _at_ends(self.running(hidden, lengths), lengths)

    def at_steps(self, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what a head reads at each step, (T, B, width); arguments as for `forward`.

        That is the vector of the steps so far; of a bidirectional stack that of the whole sequence at every step.
        """
        if self.bidirectional:
            return self(hidden, lengths).expand(len(hidden), -1, -1)
        return self.running(hidden, lengths)

    def running(self, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the vector of the steps so far, at each step, (T, B, width); arguments as for `forward`."""
        if self.pooling == "mean":
            counts = torch.arange(1, len(hidden) + 1, dtype=torch.float64, device=hidden.device)
            return (hidden.double().cumsum(0) / counts[:, None, None]).to(hidden.dtype)
        if self.pooling == "max":
            return hidden.cummax(0).values
        return hidden if self.weight is None else self._attended(hidden, lengths)

    def _attended(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        assert self.weight is not None
        wide = hidden.double()
        scores = (wide * self.weight.double()).sum(-1, keepdim=True)
        if lengths is not None:  # what stands behind the end of a row may not decide on its largest score
            steps = torch.arange(len(hidden), device=hidden.device)[:, None, None]
            scores = scores.masked_fill(steps >= lengths.to(hidden.device)[None, :, None], -torch.inf)
        shares = (scores - scores.detach().amax(0)).exp()
        # The shares of early steps may all be too small for a float64 next to that of a later one.
        total = shares.cumsum(0).clamp_min(torch.finfo(torch.float64).tiny)
        return ((shares * wide).cumsum(0) / total).to(hidden.dtype)


def _at_ends(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the values (T, B, width) of the last step of each row, (B, width)."""
    if lengths is None:
        return values[-1]
    rows = torch.arange(len(lengths), device=values.device)
    return values[lengths.to(values.device) - 1, rows]
