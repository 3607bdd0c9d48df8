"""From the hidden states of a sequence to one vector: the last one, their mean, their maximum, or attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatewright.nn import onnx_lstm


class Pool(nn.Module):
    """Pooling over the steps of sequences.

    Sums run over the steps in order, in float64, as in a stream (``native/stream/pooling.h``), so that a
    prediction that is made step by step has the same bits.  For the same reason the weights of attention are
    powers of two, whose exponents are whole and scaled exactly, times factors that additions and multiplications
    give.
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
        if self.pooling != "last" and onnx_lstm.is_exported():
            return self._plain(hidden, lengths)
        if self.pooling == "last" and self.bidirectional:
            half = hidden.shape[-1] // 2
            # The reverse direction has read the whole sequence at its first step.
            return torch.cat([_at_ends(hidden[..., :half], lengths), hidden[0, :, half:]], dim=-1)
        return _at_ends(self.running(hidden, lengths), lengths)

    def _plain(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the vectors of whole sequences by operations that ONNX has; the bits of sums are others."""
        steps = torch.arange(hidden.shape[0], device=hidden.device)[:, None, None]
        within = steps < (hidden.shape[0] if lengths is None else lengths.to(hidden.device)[None, :, None])
        if self.pooling == "max":
            return hidden.masked_fill(~within, -torch.inf).amax(0)
        scores = torch.zeros_like(hidden[..., :1]) if self.weight is None else hidden @ self.weight.T
        shares = scores.double().masked_fill(~within, -torch.inf).softmax(0)
        return (shares * hidden.double()).sum(0).to(hidden.dtype)

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
        scores = (wide * self.weight.double()).cumsum(-1)[..., -1:] * _LOG2_OF_E
        if lengths is not None:  # what stands behind the end of a row may not decide on its largest score
            steps = torch.arange(len(hidden), device=hidden.device)[:, None, None]
            scores = scores.masked_fill(steps >= lengths.to(hidden.device)[None, :, None], _LOWEST)
        exponents = scores.detach().round()
        shares = _power_of_two_within_one(scores - exponents) * _power_of_two(exponents - exponents.amax(0))
        # The shares of early steps may all be too small for a float64 next to that of a later one.
        total = shares.cumsum(0).clamp_min(torch.finfo(torch.float64).tiny)
        return ((shares * wide).cumsum(0) / total).to(hidden.dtype)


_LOG2_OF_E = 1.4426950408889634
#: Score of what stands behind the end of a row: lower than any other.
_LOWEST = -1e60

#: ln(2)^k / k!
_TAYLOR = (
    1.0, 0.6931471805599453, 0.24022650695910072, 0.05550410866482158, 0.009618129107628477,
    0.0013333558146428443, 0.0001540353039338161, 1.5252733804059841e-05, 1.321548679014431e-06,
    1.01780860092397e-07, 7.054911620801123e-09, 4.4455382718708116e-10, 2.5678435993488206e-11,
    1.3691488853904128e-12,
)  # fmt: skip


def _power_of_two_within_one(exponents: Tensor) -> Tensor:
    """Return 2 to exponents between -1/2 and 1/2: the same bits everywhere, which no library's ``exp2`` has."""
    result = torch.zeros_like(exponents)
    for coefficient in reversed(_TAYLOR):
        result = result * exponents + coefficient
    return result


def _power_of_two(exponents: Tensor) -> Tensor:
    """Return 2 to whole exponents up to 0, exactly; 0 below the smallest normal number.

    >>> _power_of_two(torch.tensor([0.0, -3.0, -2000.0], dtype=torch.float64)).tolist()
    [1.0, 0.125, 0.0]
    """
    biased = exponents.clamp_min(-1023.0).long() + 1023
    return (biased << 52).view(torch.float64)


def _at_ends(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the values (T, B, width) of the last step of each row, (B, width)."""
    if lengths is None:
        return values[-1]
    rows = torch.arange(values.shape[1], device=values.device)
    return values[lengths.to(values.device) - 1, rows]
