"""One LSTM step as a module, for loops that a caller writes."""

from __future__ import annotations

from typing import Any

import torch

from gatewright.nn.fx_node import fx_node


class LSTMCell(torch.nn.LSTMCell):
    """One step of an LSTM, a drop-in for `torch.nn.LSTMCell`.

    Parameters, initial values, ``state_dict`` and errors are those of `torch.nn.LSTMCell`.  For the gates of
    every step use `gatewright.nn.LSTM` with ``record=True``.

    Equations: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al.
    2000, Neural Computation 12(10).

    Args:
        input_size: D, width of the input.
        hidden_size: H, units.
        bias: whether the gates have biases.
        device: where the parameters are made.
        dtype: type of the parameters.

    Shapes:
        input (B, D) or (D,), hx a pair (h, c) of (B, H) or (H,), zeros if None; returns (h', c') of the same.

    Raises:
        ValueError: if input or state have more dimensions than that.
        RuntimeError: if sizes do not fit.

    >>> cell = LSTMCell(3, 4)
    >>> h, c = cell(torch.zeros(2, 3))
    >>> h, c = cell(torch.ones(2, 3), (h, c))
    >>> c.shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias, device=device, dtype=dtype)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return h and c after a step, or a node where `torch.fx` traces."""
        node = fx_node(self, *args, **kwargs)
        return super().__call__(*args, **kwargs) if node is None else node
