"""What a cell is: its gates, its weights - their names, order and shapes - and what a record of it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gatewright.errors import GatewrightError
from gatewright.spec.json import Spec, require_size

#: Bits of `CellSpec.code`.
_BIAS, _PROJECTION = 1, 2


@dataclass(frozen=True)
class CellSpec(Spec):
    """What a cell is, its sizes aside.

    Attributes:
        bias: whether the gates have biases; two, as in torch, whose sum counts.
        proj_size: P, width to which the hidden state is projected; 0 for none.

    Raises:
        SpecError: if ``proj_size`` is no size.

    >>> CellSpec(proj_size=2).weights(D=3, H=4)["weight_hh"]
    (16, 2)
    >>> CellSpec.from_json(CellSpec().to_json()) == CellSpec()
    True
    """

    bias: bool = True
    proj_size: int = 0

    def __post_init__(self) -> None:
        require_size("proj_size", self.proj_size, least=0)

    def gates(self) -> tuple[str, ...]:
        """Return the names of the gates, in the order in which their weights are stacked."""
        return ("input_gate", "forget_gate", "candidate", "output_gate")

    def weights(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every weight of a layer, in order: the names of torch, less the layer's number.

        Args:
            D: width of the input.
            H: units.
        """
        rows, P = len(self.gates()) * H, self.proj_size or H
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, D), "weight_hh": (rows, P)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (P, H)
        return shapes

    def recorded(self) -> tuple[str, ...]:
        """Return the names of what a record holds of each step, in order."""
        return (*self.gates(), "cell", "hidden")

    def code(self) -> int:
        """Return the number by which operators and the native module know this cell: a bit for each feature."""
        return cell_code(self.bias, self.proj_size)


#: Every weight that a cell may have, in order, as `CellSpec.weights` names them; the fields of `LayerWeights`.
WEIGHTS = tuple(CellSpec(proj_size=1).weights(1, 1))


def cell_code(bias: bool, proj_size: int) -> int:
    """Return `CellSpec.code` of a cell with these, unchecked: a layer asks at every call."""
    return (_BIAS if bias else 0) | (_PROJECTION if proj_size else 0)


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

    @classmethod
    def of(cls, code: int, weights: Sequence[Any]) -> LayerWeights:
        """Return the weights of a cell, given in the order of `CellSpec.weights`.

        Args:
            code: which cell, `CellSpec.code`.
            weights: those that it has.

        Raises:
            GatewrightError: if the cell has more of them, or fewer.
        """
        bias, projected = 2 * (code & _BIAS), code & _PROJECTION != 0
        if len(weights) != 2 + bias + projected:
            raise GatewrightError("weights", f"{2 + bias + projected} tensors for this cell", str(len(weights)))
        b_ih, b_hh = weights[2:4] if bias else (None, None)
        return cls(weights[0], weights[1], b_ih, b_hh, weights[-1] if projected else None)

    def present(self) -> list[Any]:
        """Return the weights that are there, in the order of `CellSpec.weights`."""
        return [W for W in self if W is not None]

    @property
    def code(self) -> int:
        """Which cell these are the weights of: `CellSpec.code`."""
        return cell_code(self.b_ih is not None or self.b_hh is not None, self.W_hr is not None)

    @property
    def hidden_size(self) -> int:
        """H, the size of the cell state and of every gate."""
        return len(self.W_ih) // 4

    @property
    def output_size(self) -> int:
        """P, the size of the hidden state: that of the projection, or H without one."""
        return self.hidden_size if self.W_hr is None else len(self.W_hr)
