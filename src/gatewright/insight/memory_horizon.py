"""The memory horizon: how much the last hidden state hangs on what was read so many steps before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM
from gatewright.nn.model import Model

#: Windows that the norm is a mean over: of large layers fewer than of small ones, so that it takes about a second.
MOST_WINDOWS, LEAST_WINDOWS = 64, 8
_MULTIPLICATIONS = 2**33
#: Lags that are looked at, at most.
MOST_LAGS = 500


@dataclass(frozen=True, eq=False)
class Horizon:
    """‖∂h_T/∂x_t‖ by lag T - t.

    Attributes:
        lags: 0 ... K-1 (K,).
        lstm: the norm at each lag (K,).
        peer: that of a plain RNN beside it (K,), or None.
    """

    lags: NDArray[np.int64]
    lstm: NDArray[np.float64]
    peer: NDArray[np.float64] | None = None

    def reach(self, part: float = 0.01) -> int:
        """Return the first lag from which on the norm stays below a part of its largest; K if it never does."""
        above = np.flatnonzero(self.lstm >= part * self.lstm.max())
        return int(above[-1]) + 1


def horizon(recording: Recording, lags: int | None = None, peer: torch.nn.RNN | None = None) -> Horizon:
    """Measure how long what a model reads has a say in its last layer's hidden state, in one backward pass.

    The Jacobian's Frobenius norm is estimated with random signs v, E‖Jᵀv‖² = ‖J‖² (Hutchinson 1990,
    Communications in Statistics 19(2)), over windows evenly spread over the recording, each from its recorded
    state; the root of the mean of squares over windows is given.

    Args:
        recording: of the model, which it still has with it.
        lags: how many lags; at most half of the shortest row, and 500, if None.
        peer: a plain RNN of the same inputs.

    Raises:
        GatewrightError: if the recording came from a file, reads in both directions, or is too short.

    >>> from gatewright import look
    >>> recording = look(LSTM(3, 4), torch.randn(40, 1, 3))
    >>> horizon(recording, lags=10).lstm.shape
    (10,)
    """
    lstm = recording.model.lstm if isinstance(recording.model, Model) else recording.model
    if not isinstance(lstm, LSTM):
        raise GatewrightError(
            "recording", "one that `look` made, with its model", "one from a file, or a part of one"
        )
    if lstm.bidirectional:
        raise GatewrightError("recording", "layers that run forward", "bidirectional ones, which see all at once")
    shortest = int(recording.lengths.min())
    lags = min(MOST_LAGS, max(1, shortest // 2)) if lags is None else lags
    if not isinstance(lags, int) or isinstance(lags, bool) or not 1 <= lags <= shortest:
        expected = f"a whole number from 1 to the {shortest} steps of the shortest row"
        raise GatewrightError("lags", expected, repr(lags)[:80])
    size = sum(value.numel() for value in lstm.parameters())
    places = _places(recording, lags, max(LEAST_WINDOWS, min(MOST_WINDOWS, _MULTIPLICATIONS // (lags * size))))
    x = torch.from_numpy(np.stack([recording.inputs[t : t + lags, row] for row, t in places], axis=1)).to(
        next(lstm.parameters())
    )
    state = tuple(_states(recording, places, name).to(x) for name in ("hidden", "cell"))
    training = lstm.training
    lstm.eval()  # dropout between layers would be of training alone
    try:
        found = _norms(lambda x: _last(lstm, x, state), x)
    finally:
        lstm.train(training)
    beside = None
    if peer is not None:
        x = x.to(next(peer.parameters()))
        beside = _norms(lambda x: peer(x)[0][-1], x)
    return Horizon(np.arange(lags), found, beside)


def _places(recording: Recording, lags: int, most: int) -> list[tuple[int, int]]:
    """Return row and first step of each window, evenly spread."""
    places = [(row, t) for row, length in enumerate(recording.lengths.tolist()) for t in range(length - lags + 1)]
    chosen = np.unique(np.linspace(0, len(places) - 1, most).astype(int))
    return [places[k] for k in chosen]


def _states(recording: Recording, places: list[tuple[int, int]], name: str) -> torch.Tensor:
    """Return the states of all layers before each window: (L, W, H or P)."""
    layers = []
    for layer in recording.layers:
        steps, initial = getattr(layer.forward, name), getattr(layer.forward, f"{name}_initial")
        layers.append(np.stack([steps[t - 1, row] if t else initial[row] for row, t in places]))
    return torch.from_numpy(np.stack(layers))


def _last(lstm: LSTM, x: torch.Tensor, state: Any) -> torch.Tensor:
    # The states are (L, W, ...) whatever batch_first is; so are the last hidden states of the stack.
    h_n: torch.Tensor = lstm(x.transpose(0, 1) if lstm.batch_first else x, state)[1][0]
    return h_n[-1]


def _norms(last: Any, x: torch.Tensor) -> NDArray[np.float64]:
    """Return the norm at each lag: the last step first."""
    x = x.detach().requires_grad_()
    # cuDNN goes back through a torch.nn.RNN in training mode only.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        h = last(x)
        signs = torch.randint(0, 2, h.shape, generator=torch.Generator().manual_seed(0)).to(h) * 2 - 1
        (gradient,) = torch.autograd.grad((h * signs).sum(), x)
    squares = gradient.double().square().sum(dim=-1).mean(dim=-1)
    return squares.sqrt().flip(0).cpu().numpy()
