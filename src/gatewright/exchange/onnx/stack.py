"""The layers of a model in an ONNX graph: LSTM nodes, or a Scan over the steps of a cell that has none."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.exchange.onnx import scan
from gatewright.exchange.onnx.graph import Graph, Value, whole
from gatewright.exchange.onnx.kept_weights import kept
from gatewright.spec.cell import CellSpec, LayerWeights
from gatewright.spec.model import StackSpec

Array = NDArray[Any]

#: Bias of a gate that is 1: both activations of gates give 1 of it.
_OPEN = 64.0
#: Activations of an LSTM node by ours, with their alpha and beta.
_ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "sigmoid": ("Sigmoid",),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "tanh": ("Tanh",),
    "identity": ("Affine", 1.0, 0.0),
}


class States(NamedTuple):
    """Names of the hidden and the cell states of each layer, in each direction: (rows, P) and (rows, H)."""

    hidden: list[str]
    cell: list[str]


class Steps(NamedTuple):
    """Which steps rows have.

    Attributes:
        lengths: (rows,), int64.
        within: whether a step is within a row, (steps, rows, 1), bool.
        present: whether a row has steps, (rows, 1), bool.
    """

    lengths: str
    within: str
    present: str

    @classmethod
    def of(cls, g: Graph, lengths: str, x: str) -> Steps:
        """Return them for an input (steps, rows, ...)."""
        numbers = g("Unsqueeze", step_numbers(g, x), whole(1, 2))
        within = g("Less", numbers, g("Unsqueeze", lengths, whole(1)))
        return cls(lengths, within, g("Unsqueeze", g("Greater", lengths, np.int64(0)), whole(1)))


def step_numbers(g: Graph, x: str) -> str:
    """Return 0, 1 ... of the first axis of a value."""
    steps = g("Gather", g("Shape", x), np.int64(0), axis=0)
    return str(g("Range", np.int64(0), steps, np.int64(1)))


def is_node(cell: CellSpec) -> bool:
    """Whether an LSTM node can say a cell after training."""
    features = {"layer_norm", "cell_clip", "zoneout_cell", "zoneout_hidden", "kind"}
    hard = "hard_tanh" in (cell.candidate_activation, cell.output_activation)
    return not hard and not features & set(cell.features())


def layers(
    g: Graph,
    stack: StackSpec,
    tensors: Mapping[str, Array],
    x: str,
    start: States,
    steps: Steps,
    kept_as: str = "float32",
) -> tuple[str, States]:
    """Add the layers of a model, and return their output (steps, rows, P) and their last states.

    Args:
        g: the graph.
        stack: of the model.
        tensors: its weights.
        x: what the first layer reads, (steps, rows, D).
        start: states before the first step.
        steps: which rows have.
        kept_as: the format of the weights of gates, out of `kept_weights.FORMATS`.
    """
    end = States([], [])
    cell = stack.cell
    directions = ("", "_reverse") if stack.bidirectional else ("",)
    for layer in range(stack.num_layers):
        ys = []
        for k, direction in enumerate(directions):
            names = [f"lstm.{name}_l{layer}{direction}" for name in cell.weights(1, stack.hidden_sizes[layer])]
            weights = LayerWeights.of(cell.code(), [tensors[name] for name in names])
            place = layer * len(directions) + k
            before = start.hidden[place], start.cell[place]
            one_layer = functools.partial(_node, kept_as=kept_as) if is_node(cell) else scan.layer
            y, h, c = one_layer(g, cell, weights, x, before, steps, reverse=k == 1)
            ys.append(y)
            end.hidden.append(h)
            end.cell.append(c)
        y = ys[0] if len(ys) == 1 else g("Concat", *ys, axis=-1)
        x = g("Add", x, y) if layer > 0 and stack.residual else y
    return x, end


def _node(
    g: Graph,
    cell: CellSpec,
    weights: LayerWeights,
    x: str,
    before: tuple[str, str],
    steps: Steps,
    *,
    reverse: bool,
    kept_as: str = "float32",
) -> tuple[str, str, str]:
    """Add an LSTM node: one layer in one direction; as `gatewright.nn.onnx_lstm.decomposed` has it.

    A projection is folded into the node: W_hh W_hr reads the hidden state before it, and what the initial hidden
    state adds to the first step comes with the input.
    """
    h, c = before
    start = h
    W, R = (kept(g, _ordered(each, cell), kept_as) for each in (weights.W_ih, weights.W_hh))
    if weights.W_hr is not None:
        first = np.int64(0) if not reverse else g("Unsqueeze", g("Sub", steps.lengths, np.int64(1)), whole(1))
        is_first = g("Equal", g("Unsqueeze", step_numbers(g, x), whole(1, 2)), first)
        x = g("Concat", x, g("Where", is_first, h, np.float32(0)), axis=-1)
        W, R = _folded(g, W, R, weights.W_hr)
        start = g("Mul", c, np.float32(0))
    H = weights.hidden_size
    y, h_n, c_n = g(
        "LSTM",
        x,
        *(g("Unsqueeze", each, whole(0)) if isinstance(each, str) else np.asarray(each)[None] for each in (W, R)),
        _biases(weights, cell)[None],
        g("Cast", steps.lengths, to=6),  # int32
        g("Unsqueeze", start, whole(0)),
        g("Unsqueeze", c, whole(0)),
        None if weights.w_ch is None else _peepholes(weights.w_ch, cell)[None],
        outputs=3,
        hidden_size=H,
        direction="reverse" if reverse else "forward",
        **_activations(cell),
    )
    y, h_n, c_n = g("Squeeze", y, whole(1)), g("Squeeze", h_n, whole(0)), g("Squeeze", c_n, whole(0))
    if weights.W_hr is not None:
        y, h_n = (g("MatMul", each, weights.W_hr.T) for each in (y, h_n))
    # Of rows without steps, runtimes give zeros.
    return y, g("Where", steps.present, h_n, h), g("Where", steps.present, c_n, c)


def _folded(g: Graph, W: Value, R: Value, W_hr: Array) -> tuple[Value, Value]:
    """Return the weights of a node that reads the initial hidden state next to x, and projects what it gives."""
    if isinstance(W, str) or isinstance(R, str):
        return str(g("Concat", W, R, axis=1)), str(g("MatMul", R, W_hr))
    assert W is not None
    assert R is not None
    return np.concatenate([W, R], axis=1), (R.astype(np.float64) @ W_hr).astype(np.float32)


def _ordered(W: Array, cell: CellSpec) -> Array:
    """Return rows of weights of the gates that a cell has in the order i, o, f, c of all four."""
    names = cell.gates()
    gate: dict[str, Any] = dict(zip(names, np.split(W, len(names)), strict=True))
    none = np.zeros_like(gate["candidate"])
    if cell.coupled:  # 1 - sigmoid(z) = sigmoid(-z)
        gate["input_gate"] = -gate["forget_gate"]
    order = ("input_gate", "output_gate", "forget_gate", "candidate")
    return np.concatenate([gate.get(name, none) for name in order]).astype(np.float32)


def _biases(weights: LayerWeights, cell: CellSpec) -> Array:
    rows = np.zeros(len(weights.W_ih), np.float32)
    first, second = (_ordered(rows if b is None else b, cell) for b in (weights.b_ih, weights.b_hh))
    present = np.array([cell.input_gate, cell.output_gate, cell.forget_gate, True])
    first += np.repeat(np.where(present, 0, _OPEN), weights.hidden_size).astype(np.float32)
    return np.concatenate([first, second])


def _peepholes(w_ch: Array, cell: CellSpec) -> Array:
    """Return the weights of peepholes in the order i, o, f."""
    names = [name for name in cell.gates() if name != "candidate"]
    gate: dict[str, Any] = dict(zip(names, np.split(w_ch, len(names)), strict=True))
    if cell.coupled:
        gate["input_gate"] = -gate["forget_gate"]
    none = np.zeros(len(w_ch) // len(names), np.float32)
    return np.concatenate([gate.get(name, none) for name in ("input_gate", "output_gate", "forget_gate")])


def _activations(cell: CellSpec) -> dict[str, Any]:
    names = (cell.gate_activation, cell.candidate_activation, cell.output_activation)
    if names == ("sigmoid", "tanh", "tanh"):
        return {}
    chosen = [_ACTIVATIONS[name] for name in names]
    attributes: dict[str, Any] = {"activations": [name for name, *_ in chosen]}
    for place, name in ((1, "activation_alpha"), (2, "activation_beta")):
        if numbers := [each[place] for each in chosen if len(each) > 1]:
            attributes[name] = numbers
    return attributes
