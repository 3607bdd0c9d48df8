"""LSTM nodes of an ONNX model as layers, each with its place in the graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, shorten
from gatewright.exchange.gate_weights import ONNX, ONNX_PEEPHOLES, TORCH, GateWeights, layer_of, reordered
from gatewright.exchange.onnx.reading_cells import DIRECTIONS, NodeCell, cell_of
from gatewright.exchange.onnx.reading_graph import Scope
from gatewright.nn.initial_state import parameters
from gatewright.nn.lstm import LSTM

Array = NDArray[Any]

_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_QUANTISED_INPUTS = (*_INPUTS, "W_scale", "W_zero_point", "R_scale", "R_zero_point")
_OUTPUTS = ("Y", "Y_h", "Y_c")
#: Inputs of the operators that become layers, by domain and name.
_OPERATORS = {
    ("", "LSTM"): _INPUTS,
    ("ai.onnx", "LSTM"): _INPUTS,
    ("com.microsoft", "DynamicQuantizeLSTM"): _QUANTISED_INPUTS,
}
_ATTRIBUTES = {"activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size"}
_ATTRIBUTES |= {"input_forget", "layout", "output_sequence"}
_TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


class LSTMNode(NamedTuple):
    """An LSTM node of an ONNX model, as a layer and a place.

    Attributes:
        name: of the node, or of its first output where the node has none; before it the names of the nodes that it
            is within, each with a "/".
        layer: with its weights; ``batch_first`` is the node's ``layout``.
        operator: "LSTM" or "DynamicQuantizeLSTM".
        direction: "forward", "reverse" or "bidirectional".
        inputs: names of the values that the node reads at run time, by ONNX's names: "X", and of "sequence_lens",
            "initial_h" and "initial_c" those that are not constant.
        outputs: names of the values that it gives, by ONNX's names, out of "Y", "Y_h" and "Y_c".
        fed_by: for each of ``inputs`` the node that gives it, or the value's own name.
        feeds: for each of ``outputs`` the nodes that read it, and its own name if it is an output of the graph.
        lengths: steps of each row, (B,), where they are constant; else None.
    """

    name: str
    layer: LSTM
    operator: str
    direction: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    fed_by: dict[str, str]
    feeds: dict[str, tuple[str, ...]]
    lengths: Array | None = None


def layers(model: Any) -> dict[str, LSTM]:
    """Return the LSTM nodes of an ONNX model as layers, by name; `lstm_nodes` has their places too.

    Args:
        model: the path of a file, or an `onnx.ModelProto`.

    Raises:
        GatewrightError: as for `lstm_nodes`.

    >>> import numpy as np
    >>> from onnx import TensorProto, helper, numpy_helper
    >>> shapes = {"W": (1, 16, 3), "R": (1, 16, 4)}
    >>> weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()]
    >>> node = helper.make_node("LSTM", ["x", "W", "R"], ["y"], name="encoder", hidden_size=4)
    >>> ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    >>> layers(helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], weights)))
    {'encoder': LSTM(3, 4, bias=False)}
    """
    return {node.name: node.layer for node in lstm_nodes(model)}


def lstm_nodes(model: Any) -> list[LSTMNode]:
    """Return the LSTM nodes of an ONNX model, each as a layer and its place in the graph.

    Nodes of subgraphs and of local functions are among them, these once for each call.  Weights are initialisers,
    constants, or worked out of those (DequantizeLinear, Concat, Transpose and the like).  A layer of direction
    "reverse" is a `gatewright.nn.reverse.ReverseLSTM`.  A constant initial state other than zero becomes that of
    the layer, with ``initial_state="learned"``.  DynamicQuantizeLSTM gives the weights that its whole numbers
    stand for; ONNX Runtime also rounds x and h, which the layer does not.

    Args:
        model: the path of a file, or an `onnx.ModelProto`.

    Raises:
        GatewrightError: if there is no such model, or it has no LSTM node; names a node and its input or attribute
            that cannot be a layer's, such as weights that are computed at run time.
    """
    found: dict[str, LSTMNode] = {}
    for scope, number in Scope.of(model).walk():
        node = scope.nodes[number]
        if (node.domain, node.op_type) in _OPERATORS:
            lstm = _Reader(scope, number).node()
            if lstm.name in found:
                raise GatewrightError(
                    "model", "LSTM nodes with names of their own", f"two of {shorten(lstm.name)}"
                )
            found[lstm.name] = lstm
    if not found:
        raise GatewrightError("model", "a graph with an LSTM or DynamicQuantizeLSTM node", "one without")
    return list(found.values())


class _Reader:
    """One LSTM node."""

    def __init__(self, scope: Scope, number: int) -> None:
        self.scope, self.proto, self.name = scope, scope.nodes[number], scope.names[number]
        names = _OPERATORS[self.proto.domain, self.proto.op_type]
        if len(self.proto.input) > len(names):
            raise GatewrightError(self.name, f"at most {len(names)} inputs", str(len(self.proto.input)))
        given = zip(names, self.proto.input, strict=False)
        self.values = {name: value for name, value in given if value and not scope.missing(value)}
        self.attributes = scope.attributes_of(self.proto)
        for name in self.attributes.keys() - _ATTRIBUTES:
            raise GatewrightError(f"{self.name}.{name}", "an attribute of ONNX's LSTM", "another one")
        self.direction = self.attributes.get("direction", "forward")
        if self.direction not in DIRECTIONS:
            raise GatewrightError(f"{self.name}.direction", f"one of {list(DIRECTIONS)}", shorten(self.direction))

    def node(self) -> LSTMNode:
        """Return it as a layer and its place."""
        if "X" not in self.values:
            raise GatewrightError(f"{self.name}.X", "an input of the node", "none")
        cell = cell_of(self.attributes, "P" in self.values, self.name)
        directions, dtype = self._weights(cell)
        start = self._initial_state(len(directions), directions[0].W_hh.shape[1])
        layer = layer_of(
            directions,
            cell.spec,
            dtype=dtype,
            reverse=self.direction == "reverse",
            argument=self.name,
            batch_first=self.attributes.get("layout", 0) == 1,
            initial_state="zeros" if start is None else "learned",
        )
        if start is not None:
            with torch.no_grad():
                for (_, parameter), array in zip(parameters(layer), start, strict=True):
                    parameter.copy_(torch.from_numpy(array))
        lengths = self._lengths()
        states = [name for name in ("sequence_lens", "initial_h", "initial_c") if name in self.values]
        inputs = {
            name: self.values[name] for name in ("X", *states) if name == "X" or self._constant(name) is None
        }
        outputs = {name: value for name, value in zip(_OUTPUTS, self.proto.output, strict=False) if value}
        return LSTMNode(
            self.name,
            layer,
            self.proto.op_type,
            self.direction,
            inputs,
            outputs,
            {name: self.scope.producer(value) for name, value in inputs.items()},
            {name: self.scope.readers(value) for name, value in outputs.items()},
            lengths,
        )

    def _constant(self, name: str) -> Array | None:
        return self.scope.constant(self.values[name]) if name in self.values else None

    def _required(self, name: str) -> Array:
        """Return an input that has to be constant."""
        where = f"{self.name}.{name}"
        if name not in self.values:
            raise GatewrightError(where, "an input of the node", "none")
        array = self._constant(name)
        if array is None:
            expected = "weights that are constant, or worked out of constants by Concat, Transpose and the like"
            raise GatewrightError(where, expected, f"{shorten(self.values[name])}, computed at run time")
        return array

    def _shaped(self, name: str, shape: tuple[int, ...]) -> Array:
        array = self._required(name)
        if array.shape != shape:
            raise GatewrightError(f"{self.name}.{name}", f"the shape {shape}", str(array.shape))
        return array.astype(np.float64)

    def _weights(self, cell: NodeCell) -> tuple[list[GateWeights], torch.dtype]:
        """Return the weights of each direction, and the type that they are in."""
        W, R, dtype = self._quantised() if "W_scale" in self.values else self._full()
        count = DIRECTIONS[self.direction]
        H = R.shape[-1] if R.ndim == 3 else 0
        D = W.shape[-1] if W.ndim == 3 else 0
        hidden = {"hidden_size": H, **self.attributes}["hidden_size"]
        for name, array, shape in (("W", W, (count, 4 * hidden, D)), ("R", R, (count, 4 * hidden, hidden))):
            if array.shape != shape:
                raise GatewrightError(f"{self.name}.{name}", f"the shape {shape}", str(array.shape))
        B = self._shaped("B", (count, 8 * H)) if "B" in self.values else None
        P = self._shaped("P", (count, 3 * H)) if "P" in self.values else None
        directions = []
        for k in range(count):
            W_ih, W_hh = (reordered(each[k].astype(np.float64), ONNX, TORCH) for each in (W, R))
            w_ch = None if P is None else reordered(P[k], ONNX_PEEPHOLES, "ifo")
            weights = GateWeights(W_ih, W_hh, w_ch=w_ch)
            if B is not None:
                b_ih, b_hh = (reordered(each, ONNX, TORCH) for each in np.split(B[k], 2))
                weights = weights._replace(b_ih=b_ih, b_hh=b_hh)
            directions.append(cell.folded(weights, k))
        return directions, dtype

    def _full(self) -> tuple[Array, Array, torch.dtype]:
        W, R = self._required("W"), self._required("R")
        kinds = {W.dtype.name, R.dtype.name}
        if len(kinds) > 1 or not kinds <= _TYPES.keys():
            raise GatewrightError(f"{self.name}.W", f"one type out of {list(_TYPES)} with R", " and ".join(kinds))
        return W, R, _TYPES[W.dtype.name]

    def _quantised(self) -> tuple[Array, Array, torch.dtype]:
        """Return the weights of DynamicQuantizeLSTM, gates first as in LSTM: (numbers - zero point) · scale."""
        found = []
        for name in "WR":
            whole = self._required(name)
            if whole.ndim != 3 or whole.dtype.name not in ("int8", "uint8"):
                got = f"{whole.dtype.name} of shape {whole.shape}"
                raise GatewrightError(f"{self.name}.{name}", "int8 or uint8 with three dimensions", got)
            numbers = whole.astype(np.float64)
            for part in ("zero_point", "scale"):
                factor = self._required(f"{name}_{part}")
                if factor.shape not in ((len(whole),), (len(whole), whole.shape[2])):
                    expected = f"the shape {(len(whole),)} or {(len(whole), whole.shape[2])}"
                    raise GatewrightError(f"{self.name}.{name}_{part}", expected, str(factor.shape))
                factor = factor.astype(np.float64).reshape(len(whole), 1, -1)
                numbers = numbers - factor if part == "zero_point" else numbers * factor
            found.append(numbers.transpose(0, 2, 1))
        return found[0], found[1], torch.float32

    def _lengths(self) -> Array | None:
        lengths = self._constant("sequence_lens")
        if lengths is not None and (lengths.ndim != 1 or lengths.dtype.name not in ("int32", "int64")):
            got = f"{lengths.dtype.name} of shape {lengths.shape}"
            raise GatewrightError(f"{self.name}.sequence_lens", "whole numbers of shape (B,)", got)
        return lengths

    def _initial_state(self, count: int, H: int) -> tuple[Array, Array] | None:
        """Return the constant states that a call starts from, (S, H) each; None for zeros or none."""
        states = {name: self._constant(name) for name in ("initial_h", "initial_c") if name in self.values}
        known = {name: array for name, array in states.items() if array is not None}
        nonzero = [name for name, array in known.items() if np.any(array)]
        if not nonzero:
            return None
        if len(known) < len(states):
            got = f"{nonzero[0]} constant, and the other computed at run time"
            raise GatewrightError(f"{self.name}.initial_h", "both states constant, or both computed", got)
        rows = {name: self._one_row(name, array, count, H) for name, array in known.items()}
        zeros = np.zeros((count, H))
        return rows.get("initial_h", zeros), rows.get("initial_c", zeros)

    def _one_row(self, name: str, array: Array, count: int, H: int) -> Array:
        state = array.transpose(1, 0, 2) if self.attributes.get("layout", 0) == 1 and array.ndim == 3 else array
        if state.ndim != 3 or state.shape[0] != count or state.shape[2] != H or not state.shape[1]:
            raise GatewrightError(f"{self.name}.{name}", f"the shape ({count}, B, {H})", str(array.shape))
        if np.any(state != state[:, :1]):
            expected = "one state for all rows, or an input of the graph, which the caller passes as hx"
            raise GatewrightError(f"{self.name}.{name}", expected, f"{state.shape[1]} rows that differ")
        return np.ascontiguousarray(state[:, 0], np.float64)
