"""The weights of a layer, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.equations.arrays import Array, described, require
from gatewright.errors import GatewrightError
from gatewright.spec.cell import WEIGHTS, CellSpec, LayerWeights

if TYPE_CHECKING:
    from typing_extensions import Self


class Weights(LayerWeights):
    """The weights of one plain layer, checked: the rows of i, f, g and o in that order, as in `torch.nn.LSTM`.

    Those of another cell are a `gatewright.spec.LayerWeights`, which the equations check against the cell.

    Attributes:
        W_ih: from the input, (4H, D).
        W_hh: from the hidden state, (4H, P).
        b_ih: bias, (4H,), or None for none.
        b_hh: a second bias, (4H,), or None for none.
        W_hr: projection, (P, H), or None for none.

    Raises:
        GatewrightError: if a shape or a dtype does not fit.

    >>> Weights(np.ones((8, 3)), np.ones((8, 2))).hidden_size
    2
    """

    __slots__ = ()

    def __new__(
        cls,
        W_ih: Array,
        W_hh: Array,
        b_ih: Array | None = None,
        b_hh: Array | None = None,
        W_hr: Array | None = None,
        *further: None,
    ) -> Self:
        """Check the weights."""
        for name, W in zip(cls._fields[5:], further, strict=False):
            if W is not None:
                raise GatewrightError(name, "None, for the plain cell", described(W))
        weights = super().__new__(cls, W_ih, W_hh, b_ih, b_hh, W_hr)
        is_float = isinstance(W_ih, np.ndarray) and np.issubdtype(W_ih.dtype, np.floating)
        if not is_float or W_ih.ndim != 2 or W_ih.shape[0] == 0 or W_ih.shape[0] % 4:
            raise GatewrightError("W_ih", "a float array of shape (4H, D), H at least 1", described(W_ih))
        H = len(W_ih) // 4
        if W_hr is not None:
            require("W_hr", W_hr, W_ih.dtype, ("P", H))
        require("W_hh", W_hh, W_ih.dtype, (4 * H, H if W_hr is None else len(W_hr)))
        for name, bias in (("b_ih", b_ih), ("b_hh", b_hh)):
            if bias is not None:
                require(name, bias, W_ih.dtype, (4 * H,))
        return weights

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        return cls(*iterable)  # which checks what `_replace` changes, too


def require_weights(weights: LayerWeights, cell: CellSpec) -> None:
    """Require that weights are those of a cell; one of the two biases may be None.

    Raises:
        GatewrightError: names the weight that does not fit.
    """
    W_ih = weights.W_ih
    is_float = isinstance(W_ih, np.ndarray) and np.issubdtype(W_ih.dtype, np.floating)
    gates = len(cell.gates())
    if not is_float or W_ih.ndim != 2 or W_ih.shape[0] == 0 or W_ih.shape[0] % gates:
        expected = f"a float array of shape ({gates}H, D), H at least 1"
        raise GatewrightError("W_ih", expected, described(W_ih))
    H = len(W_ih) // gates
    cell.require_heads(H)
    shapes = cell.weights(W_ih.shape[1], H)
    for name, field, W in zip(WEIGHTS, weights._fields, weights, strict=True):
        if name not in shapes:
            if W is not None:
                raise GatewrightError(field, "None for this cell", described(W))
        elif W is not None or name not in ("bias_ih", "bias_hh"):
            require(field, W, W_ih.dtype, shapes[name])
