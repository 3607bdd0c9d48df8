"""The states of an sLSTM at any step of a recording, from its weights: a recording has the average c / n alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright.equations import Array
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM

_STATES = ("hidden", "cell")
_TINY = float(np.finfo(np.float64).tiny)


@torch.no_grad()
def cell_states_before(recording: Recording, lstm: LSTM, layer: int, windows: Sequence[tuple[int, int]]) -> Tensor:
    """Return [c | n | m] before steps of rows, (W, 3H), float64, of a layer that reads forward.

    The scale of c and n is free.  With n = 1, c is the average, and m the logarithm of the sum of all weights read
    before: log n_t = log i_t - log share_t, and what is kept of the sum before is keep_t = f_t n_{t-1} / n_t.
    Where nothing was read, all three are 0.

    Args:
        recording: of the layers.
        lstm: the layers.
        layer: number of the layer.
        windows: row and step of each.
    """
    record = recording.layers[layer].forward
    rows, steps = (np.array(numbers) for numbers in zip(*windows, strict=True))
    h, a = (_before(getattr(record, name), getattr(record, f"{name}_initial"), rows, steps) for name in _STATES)
    x = torch.from_numpy(_read(recording, layer)[steps, rows]).double()
    log_i, log_f = _log_gates(lstm, layer, x, h)
    gates = record.input_gate, record.forget_gate
    share, keep = (torch.from_numpy(each[steps, rows]).double() for each in gates)
    log_n = log_i - share.clamp(min=_TINY).log() + keep.clamp(min=_TINY).log() - log_f
    parts = (torch.where(keep > 0, each, 0) for each in (a, torch.ones_like(a), log_n))
    return torch.cat(tuple(parts), dim=1)


def _before(after: Array, initial: Array, rows: Array, steps: Array) -> Tensor:
    """Return a state before steps of rows, (W, H)."""
    states = np.where((steps > 0)[:, None], after[steps - 1, rows], initial[rows])
    return torch.from_numpy(states).double()


def _read(recording: Recording, layer: int) -> Array:
    """Return what a layer reads, (T, B, D): with residual connections the sum of all outputs below."""
    if layer == 0:
        return recording.inputs
    below = recording.layers[0 if recording.about.residual else layer - 1 : layer]
    read: Array = sum(each.forward.hidden for each in below)  # type: ignore[assignment]
    return read


def _log_gates(lstm: LSTM, layer: int, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the input and of the forget gate, (W, H)."""
    weights, heads = lstm.layer_weights(layer), lstm.cell.heads
    W_ih, W_hh, *biases = (W.cpu().double() for W in weights.present())
    R = W_hh.unflatten(0, (4, heads, -1))  # (4, heads, H / heads, H / heads)
    recurrent = torch.einsum("ghab,whb->wgha", R, h.unflatten(1, (heads, -1)))
    sums = x @ W_ih.T + recurrent.flatten(1)
    log_i, f, _, _ = sum(biases, sums).chunk(4, dim=1)
    return log_i, f if lstm.cell.forget_gate_activation == "exponential" else F.logsigmoid(f)
