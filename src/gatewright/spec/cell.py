"""The weights of a cell: their names, order and shapes."""

from __future__ import annotations

from typing import Any, NamedTuple


class LayerWeights(NamedTuple):
    """The weights of one layer in one direction, gates stacked in the order i, f, g, o.

    They are NumPy arrays, torch's tensors, or memory that goes to the native module, all of one call alike.

    Attributes:
        W_ih: from the input, (4H, D).
        W_hh: from the hidden state, (4H, H), or (4H, P) with a projection.
        b_ih: bias, (4H,), or None.
        b_hh: a second bias, (4H,), or None.
        W_hr: projection of the hidden state, (P, H), or None.

    >>> import numpy as np
    >>> weights = LayerWeights(np.zeros((8, 3)), np.zeros((8, 2)))
    >>> weights.hidden_size, weights.output_size
    (2, 2)
    """

    W_ih: Any
    W_hh: Any
    b_ih: Any = None
    b_hh: Any = None
    W_hr: Any = None

    @property
    def hidden_size(self) -> int:
        """H, the size of the cell state and of every gate."""
        return len(self.W_ih) // 4

    @property
    def output_size(self) -> int:
        """P, the size of the hidden state: that of the projection, or H without one."""
        return self.hidden_size if self.W_hr is None else len(self.W_hr)
