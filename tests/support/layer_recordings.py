"""Bare layers in float64 with their input, and a recording of unequal rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import LSTM, look
from gatewright.insight.recording import Recording

T, B, D, H, P = 7, 3, 4, 5, 2
INITIAL = ("cell_initial", "hidden_initial")


def made(dtype: torch.dtype = torch.float64, **options: Any) -> tuple[LSTM, Tensor, tuple[Tensor, Tensor]]:
    """Layers in training mode, input (T, B, D), and initial states."""
    torch.manual_seed(0)
    lstm = LSTM(D, H, dtype=dtype, **options)
    states = lstm.num_layers * (2 if lstm.bidirectional else 1)
    x = torch.randn(T, B, D, dtype=dtype)
    h_0 = torch.randn(states, B, lstm.proj_size or H, dtype=dtype)
    c_0 = torch.randn(states, B, H, dtype=dtype)
    return lstm, x, (h_0, c_0)


def unequal(**options: Any) -> Recording:
    """Two layers in both directions over rows of unequal length, from states."""
    lstm, x, state = made(num_layers=2, bidirectional=True, **options)
    return look(lstm, pack_padded_sequence(x, [5, 7, 4], enforce_sorted=False), state=state)
