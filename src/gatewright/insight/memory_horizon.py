"""The memory horizon: how strongly the last hidden state depends on the input k steps earlier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.insight.recording import Recording
from gatewright.insight.slstm_state import cell_states_before
from gatewright.nn import LSTM, layer_sizes
from gatewright.nn.initial_state import types_of
from gatewright.nn.model import Model

#: Bounds of the number of windows that the norm is a mean over.
MOST_WINDOWS, LEAST_WINDOWS = 64, 8
#: Multiplications of all windows together, about a second's work: large layers get fewer windows than small ones.
_MULTIPLICATIONS = 2**33
#: Maximum number of lags.
MOST_LAGS = 500


@dataclass(frozen=True, eq=False)
class MemoryHorizon:
    """‖∂h_T/∂x_t‖ by lag T - t.

    Attributes:
        lags: 0 ... K-1 (K,).
        lstm: the norm at each lag (K,).
        peer: the norm of a plain RNN at each lag, for comparison (K,), or None.
    """

    lags: NDArray[np.int64]
    lstm: NDArray[np.float64]
    peer: NDArray[np.float64] | None = None

    def reach(self, part: float = 0.01) -> int:
        """Return the first lag from which the norm stays below a fraction of its maximum; K if it never does."""
        above = np.flatnonzero(self.lstm >= part * self.lstm.max())
        return int(above[-1]) + 1


def memory_horizon(
    recording: Recording, lags: int | None = None, peer: torch.nn.RNN | None = None
) -> MemoryHorizon:
    """Measure in one backward pass how long an input influences the last layer's hidden state.

    The Frobenius norm of the Jacobian is estimated with random signs v, E‖Jᵀv‖² = ‖J‖² (Hutchinson 1990,
    Communications in Statistics 19(2)), over windows evenly spread over the recording, each from its recorded
    state.  The result is the root of the mean square over the windows.

    Args:
        recording: a recording that `look` made, with its model.
        lags: number of lags; if None half of the shortest row, at most 500.
        peer: a plain RNN of the same inputs, for comparison.

    Raises:
        GatewrightError: if the recording comes from a file, is bidirectional, or is too short.

    >>> from gatewright import look
    >>> recording = look(LSTM(3, 4), torch.randn(40, 1, 3))
    >>> memory_horizon(recording, lags=10).lstm.shape
    (10,)
    """
    lstm = recording.model.lstm if isinstance(recording.model, Model) else recording.model
    if not isinstance(lstm, LSTM):
        raise GatewrightError(
            "recording", "a recording that `look` made, with its model", "one from a file, or a part of one"
        )
    if lstm.bidirectional:
        raise GatewrightError("recording", "unidirectional layers", "bidirectional ones")
    shortest = int(recording.lengths.min())
    lags = min(MOST_LAGS, max(1, shortest // 2)) if lags is None else lags
    if not isinstance(lags, int) or isinstance(lags, bool) or not 1 <= lags <= shortest:
        expected = f"a whole number from 1 to the {shortest} steps of the shortest row"
        raise GatewrightError("lags", expected, repr(lags)[:80])
    size = sum(value.numel() for value in lstm.parameters())
    windows = _windows(recording, lags, max(LEAST_WINDOWS, min(MOST_WINDOWS, _MULTIPLICATIONS // (lags * size))))
    x = torch.from_numpy(np.stack([recording.inputs[t : t + lags, row] for row, t in windows], axis=1)).to(
        next(lstm.parameters())
    )
    state = _state(recording, lstm, windows, x)
    training = lstm.training
    lstm.eval()  # without dropout between layers
    try:
        norms = _norms(lambda x: _last(lstm, x, state), x)
    finally:
        lstm.train(training)
    peer_norms = None
    if peer is not None:
        x = x.to(next(peer.parameters()))
        peer_norms = _norms(lambda x: peer(x)[0][-1], x)
    return MemoryHorizon(np.arange(lags), norms, peer_norms)


def _windows(recording: Recording, lags: int, most: int) -> list[tuple[int, int]]:
    """Return row and first step of at most ``most`` windows, evenly spread."""
    lengths = recording.lengths.tolist()
    windows = [(row, t) for row, length in enumerate(lengths) for t in range(length - lags + 1)]
    return [windows[k] for k in np.unique(np.linspace(0, len(windows) - 1, most).astype(int))]


def _state(recording: Recording, lstm: LSTM, windows: list[tuple[int, int]], x: torch.Tensor) -> Any:
    """Return the states of all layers before each window, h and c, as a call of the layers takes them."""
    states = []
    for name, dtype in zip(("hidden", "cell"), types_of(lstm, x.dtype), strict=True):
        of_layers = []
        for number, layer in enumerate(recording.layers):
            if name == "cell" and lstm.cell.is_slstm:
                before = cell_states_before(recording, lstm, number, windows)
            else:
                steps, initial = getattr(layer.forward, name), getattr(layer.forward, f"{name}_initial")
                arrays = [steps[t - 1, row] if t else initial[row] for row, t in windows]
                before = torch.from_numpy(np.stack(arrays))
            of_layers.append(before.to(x.device, dtype))
        states.append(layer_sizes.joined(lstm, of_layers))
    return tuple(states)


def _last(lstm: LSTM, x: torch.Tensor, state: Any) -> torch.Tensor:
    # States are (L, W, ...) with either value of batch_first; so are the last hidden states of the stack.
    h_n = lstm(x.transpose(0, 1) if lstm.batch_first else x, state)[1][0]
    return layer_sizes.one(h_n, lstm.num_layers - 1, 0, 1)


def _norms(last: Any, x: torch.Tensor) -> NDArray[np.float64]:
    """Return the norm at each lag, that of the last step first."""
    x = x.detach().requires_grad_()
    # cuDNN has a backward pass through torch.nn.RNN in training mode only.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        h = last(x)
        signs = (
            torch.randint(0, 2, h.shape, generator=torch.Generator().manual_seed(0), device="cpu").to(h) * 2 - 1
        )
        (gradient,) = torch.autograd.grad((h * signs).sum(), x)
    squares = gradient.double().square().sum(dim=-1).mean(dim=-1)
    return squares.sqrt().flip(0).cpu().numpy()
