"""The states of an sLSTM at any step of a recording, from its weights: a recording has the average c / n alone."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright.insight.recording import Recording
from gatewright.nn import LSTM

_TINY = float(np.finfo(np.float64).tiny)


@torch.no_grad()
def cell_state_before(recording: Recording, lstm: LSTM, layer: int, row: int, t: int) -> Tensor:
    """Return [c | n | m] before step t of a row, (3H,), float64, of a layer that reads forward.

    The scale of c and n is free.  With n = 1, c is the average, and m the logarithm of the sum of all weights read
    before: log n_t = log i_t - log share_t, and what is kept of the sum before is keep_t = f_t n_{t-1} / n_t.
    Where nothing was read, all three are 0.

    Args:
        recording: of the layers.
        lstm: the layers.
        layer: number of the layer.
        row: row of the batch.
        t: the step.
    """
    record = recording.layers[layer].forward
    h = record.hidden[t - 1, row] if t else record.hidden_initial[row]
    a = record.cell[t - 1, row] if t else record.cell_initial[row]
    log_i, log_f = _log_gates(lstm, layer, _input(recording, layer, row, t), h)
    share, keep = (torch.from_numpy(each[t, row]).double() for each in (record.input_gate, record.forget_gate))
    read = keep > 0
    log_n = log_i - share.clamp(min=_TINY).log() + keep.clamp(min=_TINY).log() - log_f
    c, m = torch.where(read, torch.from_numpy(a).double(), 0), torch.where(read, log_n, 0)
    return torch.cat([c, read.double(), m])


def _input(recording: Recording, layer: int, row: int, t: int) -> np.ndarray:
    """Return what a layer reads at a step, (D,): with residual connections the sum of all outputs below."""
    if layer == 0:
        return recording.inputs[t, row]
    below = recording.layers[0 if recording.about.residual else layer - 1 : layer]
    return np.sum([each.forward.hidden[t, row] for each in below], axis=0)


def _log_gates(lstm: LSTM, layer: int, x: np.ndarray, h: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the input and of the forget gate of one row, (H,)."""
    weights, heads = lstm.layer_weights(layer), lstm.cell.heads
    bias = 0 if weights.b_ih is None else weights.b_ih + weights.b_hh
    R = weights.W_hh.double().cpu().unflatten(0, (4, heads, -1))  # (4, heads, H / heads, H / heads)
    recurrent = torch.einsum("ghab,hb->gha", R, torch.from_numpy(h).double().unflatten(0, (heads, -1)))
    sums = weights.W_ih.double().cpu() @ torch.from_numpy(x).double() + recurrent.flatten()
    log_i, f, _, _ = (sums + torch.as_tensor(bias, device="cpu").double()).chunk(4)
    return log_i, f if lstm.cell.forget_gate_activation == "exponential" else F.logsigmoid(f)
