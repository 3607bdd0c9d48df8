"""Weights of LSTM layers between packages: orders of gates, sums of biases, and layers from them and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.nn.lstm import LSTM
from gatewright.nn.reverse import ReverseLSTM
from gatewright.spec.cell import CellSpec

Array = NDArray[Any]

#: Gates as PyTorch, Keras, RTNeural, Flax and Equinox stack them; Keras and ONNX call the candidate c.
TORCH = "ifgo"
#: Gates, and those with peepholes, as ONNX stacks them.
ONNX, ONNX_PEEPHOLES = "iofg", "iof"


def reordered(array: Array, source: str, target: str, axis: int = 0) -> Array:
    """Return blocks of gates in another order.

    Args:
        array: blocks of equal size along ``axis``, one for each gate of ``source``.
        source: their order, a letter each.
        target: the order wanted; gates that it leaves out are left out.
        axis: where the gates are stacked.

    >>> reordered(np.array([1, 2, 3, 4]), ONNX, TORCH)
    array([1, 3, 4, 2])
    """
    blocks = dict(zip(source, np.split(array, len(source), axis=axis), strict=True))
    return np.concatenate([blocks[gate] for gate in target], axis=axis)


class GateWeights(NamedTuple):
    """The weights of one layer in one direction, gates stacked in the order i, f, g, o; as `LayerWeights`.

    Attributes:
        W_ih: from the input, (4H, D).
        W_hh: from the hidden state, (4H, H).
        b_ih: bias, (4H,), or None for none.
        b_hh: a second bias, (4H,), or None for zeros.
        w_ch: peepholes of i, f and o, (3H,), or None.
    """

    W_ih: Array
    W_hh: Array
    b_ih: Array | None = None
    b_hh: Array | None = None
    w_ch: Array | None = None

    @property
    def bias(self) -> Array | None:
        """The sum of both biases, as packages with a single one have it."""
        if self.b_ih is None or self.b_hh is None:
            return self.b_ih
        return self.b_ih + self.b_hh

    def require_shapes(self, argument: str) -> None:
        """Require weights of one size, all of them finite.

        Args:
            argument: what they are of, for an error.

        Raises:
            GatewrightError: names the weight that does not fit.
        """
        rows = self.W_ih.shape[0] if self.W_ih.ndim == 2 else 0
        H = rows // 4
        if not H or rows % 4 or not self.W_ih.shape[1]:
            raise GatewrightError(f"{argument}.W_ih", "the shape (4H, D)", str(self.W_ih.shape))
        expected = {"W_hh": (rows, H), "b_ih": (rows,), "b_hh": (rows,), "w_ch": (3 * H,)}
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise GatewrightError(f"{argument}.{name}", f"the shape {shape}", str(array.shape))
        for name, array in self._asdict().items():
            if array is not None and not np.isfinite(array).all():
                raise GatewrightError(f"{argument}.{name}", "finite numbers", "a NaN or an infinity")


def layer_of(
    directions: Sequence[GateWeights],
    cell: CellSpec,
    *,
    dtype: torch.dtype = torch.float32,
    reverse: bool = False,
    argument: str = "weights",
    **options: Any,
) -> LSTM:
    """Return one layer with given weights; see `stack_of`."""
    return stack_of([directions], cell, dtype=dtype, reverse=reverse, argument=argument, **options)


def stack_of(
    layers: Sequence[Sequence[GateWeights]],
    cell: CellSpec,
    *,
    dtype: torch.dtype = torch.float32,
    reverse: bool = False,
    argument: str = "weights",
    **options: Any,
) -> LSTM:
    """Return a stack of layers with given weights.

    Args:
        layers: of each layer its directions, forward first.
        cell: the cell of all of them; of its bias, whether there is one follows from the weights.
        dtype: type of the parameters.
        reverse: whether a single direction reads from the end.
        argument: what the weights are of, for an error.
        options: further arguments of the layer.

    Raises:
        GatewrightError: if weights do not fit each other.

    >>> weights = GateWeights(np.ones((8, 3)), np.ones((8, 2)), np.ones(8))
    >>> stack_of([[weights]], CellSpec())
    LSTM(3, 2)
    """
    width = None
    for number, directions in enumerate(layers):
        for weights in directions:
            weights.require_shapes(argument)
            D, H = weights.W_ih.shape[1], weights.W_hh.shape[1]
            if width not in (None, D) or directions[0].W_hh.shape[1] != H:
                got = f"one of {D} inputs and {H} units"
                raise GatewrightError(
                    argument, f"layers whose sizes follow upon each other at layer {number}", got
                )
        width = len(directions) * directions[0].W_hh.shape[1]
        if len(directions) != len(layers[0]):
            raise GatewrightError(argument, "layers that all have the same directions", f"layer {number}")
    flat = [weights for directions in layers for weights in directions]
    bias = any(weights.b_ih is not None for weights in flat)
    sizes = [directions[0].W_hh.shape[1] for directions in layers]
    lstm = (ReverseLSTM if reverse else LSTM)(
        layers[0][0].W_ih.shape[1],
        sizes,
        bias=bias,
        bidirectional=len(layers[0]) == 2,
        dtype=dtype,
        cell=cell if cell.features() else None,
        **options,
    )
    with torch.no_grad():
        for number, directions in enumerate(layers):
            for suffix, weights in zip(("", "_reverse"), directions, strict=False):
                for name, array in _stacked(weights, cell, bias).items():
                    parameter = lstm.get_parameter(f"{name}_l{number}{suffix}")
                    parameter.copy_(torch.from_numpy(np.ascontiguousarray(array, np.float64)))
    return lstm


def _stacked(weights: GateWeights, cell: CellSpec, bias: bool) -> dict[str, Array]:
    """Return the parameters of a layer: those of the gates that its cell has."""
    letters = {"input_gate": "i", "forget_gate": "f", "candidate": "g", "output_gate": "o"}
    gates = "".join(letters[name] for name in cell.gates())
    arrays = {"weight_ih": weights.W_ih, "weight_hh": weights.W_hh}
    if bias:
        zeros = np.zeros(len(weights.W_ih))
        arrays["bias_ih"] = zeros if weights.b_ih is None else weights.b_ih
        arrays["bias_hh"] = zeros if weights.b_hh is None else weights.b_hh
    stacked = {name: reordered(array, TORCH, gates) for name, array in arrays.items()}
    if weights.w_ch is not None:
        stacked["weight_ch"] = reordered(weights.w_ch, "ifo", gates.replace("g", ""))
    return stacked


def weights_of(lstm: LSTM, user: str, allowed: Sequence[str] = ()) -> list[list[GateWeights]]:
    """Return the weights of each layer and direction, as NumPy arrays, for a package with plain cells.

    Args:
        lstm: the layer.
        user: the package, for an error.
        allowed: features of the cell that the package has too.

    Raises:
        GatewrightError: if the layer has what the package does not.

    >>> [[weights]] = weights_of(LSTM(3, 4), "Keras")
    >>> weights.W_ih.shape, weights.bias.shape
    ((16, 3), (16,))
    """
    if not isinstance(lstm, LSTM):
        raise GatewrightError("lstm", "a gatewright.LSTM", type(lstm).__name__)
    features = [name for name in lstm.cell.features() if name not in allowed]
    if features:
        expected = f"a cell without what {user} does not have"
        raise GatewrightError("cell", expected, ", ".join(features))
    if lstm.cell.proj_size:
        raise GatewrightError("proj_size", f"0 for {user}", str(lstm.cell.proj_size))
    if lstm.residual:
        raise GatewrightError("residual", f"False for {user}", "True")
    if lstm.initial_state != "zeros":
        expected = f"'zeros' for {user}, whose callers pass initial states"
        raise GatewrightError("initial_state", expected, repr(lstm.initial_state))
    directions = range(2 if lstm.bidirectional else 1)
    return [[_direction(lstm, layer, bool(each)) for each in directions] for layer in range(lstm.num_layers)]


def _direction(lstm: LSTM, layer: int, reverse: bool) -> GateWeights:
    weights = lstm.layer_weights(layer, reverse)
    present = (weights.W_ih, weights.W_hh, weights.b_ih, weights.b_hh)
    arrays = [None if each is None else _array(each) for each in present]
    return GateWeights(*arrays)  # type: ignore[arg-type]  # the first two are there


def _array(tensor: torch.Tensor) -> Array:
    """Return a copy of a weight; one of 16 bits as float32, which NumPy has."""
    wide = tensor.detach().cpu()
    return (wide if wide.dtype in (torch.float32, torch.float64) else wide.float()).numpy().copy()


def cells_of(cells: Any, argument: str) -> list[list[Any]]:
    """Return cells of another package by layer and direction.

    Args:
        cells: one cell, or a sequence of layers, each a cell or a pair of them: forward and reverse.
        argument: its name, for an error.

    Raises:
        GatewrightError: if it is an empty sequence, or a layer is no pair.

    >>> cells_of("cell", "cells"), cells_of(["a", ("b", "c")], "cells")
    ([['cell']], [['a'], ['b', 'c']])
    """
    layers = list(cells) if isinstance(cells, list | tuple) else [cells]
    each = [list(layer) if isinstance(layer, list | tuple) else [layer] for layer in layers]
    if not each or any(len(directions) not in (1, 2) for directions in each):
        raise GatewrightError(
            argument, "a cell, or one for each layer, or a pair of them for each layer", "others"
        )
    return each


def require_equations(cell: Any, kinds: Sequence[type], argument: str, method: str = "__call__") -> None:
    """Require a cell that computes what its package's own cells compute, which its weights do not show.

    Args:
        cell: the cell.
        kinds: the package's classes.
        argument: what the cell is, for an error.
        method: their method that computes a step.

    Raises:
        GatewrightError: if it is of another class, or of a subclass with such a method of its own.
    """
    if getattr(type(cell), method, None) not in [getattr(kind, method) for kind in kinds]:
        names = " or ".join(kind.__name__ for kind in kinds)
        expected = f"{names}, or a subclass with the same {method}"
        raise GatewrightError(
            argument, expected, f"a {type(cell).__name__}, whose weights do not say what it does"
        )
