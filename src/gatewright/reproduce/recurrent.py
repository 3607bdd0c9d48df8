"""A recurrent layer with a linear head: an LSTM, or a plain RNN of equal size next to it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from gatewright.nn import LSTM

Cell = Literal["lstm", "rnn"]


class Recurrent(nn.Module):
    """A stack of recurrent layers and a linear head.

    Args:
        cell: "lstm" for `gatewright.LSTM`, "rnn" for `torch.nn.RNN` with tanh (Elman 1990).
        inputs: D, width of the input.
        hidden: H, units of each layer.
        outputs: width of the output.
        layers: number of layers.
        dropout: dropout rate between the layers and before the head.

    >>> network = Recurrent("lstm", 2, 8, 1)
    >>> network(torch.zeros(5, 3, 2), torch.tensor([5, 4, 2])).shape
    torch.Size([3, 1])
    """

    def __init__(
        self, cell: Cell, inputs: int, hidden: int, outputs: int, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        kind = LSTM if cell == "lstm" else nn.RNN
        self.layers: nn.RNNBase = kind(inputs, hidden, layers, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the outputs (T, B, O) of all steps; with lengths (B,) those of the last ones, (B, O)."""
        hidden, _ = self.layers(x)
        if lengths is not None:
            hidden = hidden[lengths - 1, torch.arange(len(lengths))]
        return self.head(self.dropout(hidden))

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    @torch.no_grad()
    def remember(self, steps: int) -> None:
        """Start with memories as long as the sequences: forget gates near one, input gates near zero.

        The biases are log u and -log u with u uniform between 1 and ``steps - 1``.

        Source: Tallec & Ollivier 2018, arXiv:1804.11188, equation 16.
        """
        H = self.layers.hidden_size
        for layer in range(self.layers.num_layers):
            bias, other = (getattr(self.layers, f"bias_{part}_l{layer}") for part in ("ih", "hh"))
            other.zero_()
            bias.zero_()
            bias[H : 2 * H] = torch.log(1 + (steps - 2) * torch.rand(H))
            bias[:H] = -bias[H : 2 * H]


def plain_size(inputs: int, hidden: int, outputs: int) -> int:
    """Return the units of the smallest plain RNN that has at least the weights of an LSTM with ``hidden`` units.

    >>> plain_size(2, 8, 1)
    18
    >>> Recurrent("lstm", 2, 8, 1).weights, Recurrent("rnn", 2, 18, 1).weights
    (393, 415)
    """
    weights = Recurrent("lstm", inputs, hidden, outputs).weights
    size = hidden
    while Recurrent("rnn", inputs, size, outputs).weights < weights:
        size += 1
    return size
