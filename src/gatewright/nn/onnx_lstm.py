"""The operator of a layer as an ``LSTM`` node of ONNX, with plain operations around it, for torch's two exporters.

`decomposed` says in torch's operations what a call is, with one operator in their midst that is the node.
The layer calls it while either exporter traces it, and the operator where a program of `torch.export` is written.
What no such node can say is refused.

The node's equations: https://onnx.ai/onnx/operators/onnx__LSTM.html.  Its gates are in the order i, o, f, c.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright.errors import GatewrightError
from gatewright.nn import _torch_private, operators, precision
from gatewright.nn.extras import Extras
from gatewright.spec.cell import CellSpec, LayerWeights

#: Bias of a gate that is 1: both of its activations give 1 of it, in float64 too.
_OPEN = 64.0

#: Activations of the node by ours, with their alpha and beta; ONNX has no "hard_tanh".
_ACTIVATIONS = {
    "sigmoid": ("Sigmoid",),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "tanh": ("Tanh",),
    "identity": ("Affine", 1.0, 0.0),
}
#: What the node has of a cell next to its weights, once the rest is folded into these.
_FOLDED: dict[str, Any] = {
    "bias": True,
    "proj_size": 0,
    "coupled": False,
    "input_gate": True,
    "forget_gate": True,
    "output_gate": True,
}


def is_exported() -> bool:
    """Whether torch writes the calling module as ONNX: then a layer calls `decomposed`."""
    if torch.jit.is_tracing() and torch.onnx.is_in_onnx_export():  # type: ignore[attr-defined]
        _register_symbol()
        return True
    return torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export()


def is_translated() -> bool:
    """Whether torch writes a program of `torch.export` as ONNX, whose operators it calls to see what they are."""
    return (
        "torch.onnx" in sys.modules  # which takes long to import
        and torch.onnx.is_in_onnx_export()
        and _torch_private.dispatch_stack_length is not None
        and _torch_private.dispatch_stack_length() > 0
    )


@functools.cache
def _register_symbol() -> None:
    """Say how the exporter by tracing writes the node; late, since `torch.onnx` takes long to import."""
    from torch.onnx import symbolic_helper

    symbol = symbolic_helper.parse_args(*"vvvvvvvv", "i", "i", "s")(_symbol)
    torch.onnx.register_custom_op_symbolic("gatewright::onnx_lstm", symbol, 9)  # type: ignore[attr-defined]


def decomposed(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    cell: int,
    batch_sizes: Tensor | None,
    options: Sequence[int],
    *extras: Any,
) -> tuple[Tensor, ...]:
    """Return what `operators.lstm_kernel` does, by an ``LSTM`` node; its arguments are the same.

    A projection is folded into the node: W_hh W_hr reads the hidden state before it, and what h_0 adds to the
    first step comes with the input.  A coupled input gate has the weights of the forget gate with the other sign,
    since 1 - σ(z) = σ(-z); a gate that is left out has the bias 64.

    Raises:
        GatewrightError: if the node cannot say what the call does.
    """
    more = Extras(*extras)
    spec = CellSpec.decoded(cell, more.rates)
    _refuse(spec, batch_sizes, options, more)
    layer = LayerWeights.of(cell, weights)
    reverse = bool(options[0])
    W, R = layer.W_ih, layer.W_hh
    start = h_0
    if layer.W_hr is not None:
        first = _first_steps(x, more.lengths, reverse=reverse)[..., None]
        x = torch.cat([x, torch.where(first, h_0, torch.zeros_like(h_0))], dim=-1)
        W, R = torch.cat([W, R], dim=-1), R @ layer.W_hr
        start = torch.zeros_like(c_0)
    y, h_n, c_n = _node(
        x,
        (_ordered(W, spec)[None], _ordered(R, spec)[None], _biases(layer, spec)[None], _peepholes(layer, spec)),
        None if more.lengths is None else more.lengths.to(torch.int32),
        (start[None], c_0[None]),
        dataclasses.replace(spec, **_FOLDED),
        "reverse" if reverse else "forward",
    )
    y, h_n, c_n = y[:, 0], h_n[0], c_n[0]
    if layer.W_hr is not None:
        y, h_n = F.linear(y, layer.W_hr), F.linear(h_n, layer.W_hr)
    if more.lengths is not None:  # runtimes give zeros for the states of rows without steps
        empty = (more.lengths == 0)[:, None]
        h_n, c_n = torch.where(empty, h_0, h_n), torch.where(empty, c_0, c_n)
    return y, h_n, c_n, x.new_empty(0), x.new_empty(0)


def _refuse(cell: CellSpec, batch_sizes: Tensor | None, options: Sequence[int], extras: Extras) -> None:
    """Refuse what the node cannot say."""
    _, record, _, compute = operators.with_compute(options)
    clip, zoneout_cell, zoneout_hidden, *_ = extras.rates or [0.0] * 3
    hard = "hard_tanh"
    reasons: dict[str, tuple[Any, str]] = {
        "input": (batch_sizes is not None, "reads padded input: give lengths= in place of a PackedSequence"),
        "record": (record == 1, "gives no gates: export a module that calls the layer without record=True"),
        "compute": (compute != precision.FULL, 'computes in the type of its input: export with compute="full"'),
        "mask": (extras.mask is not None, "has lengths, but no mask"),
        "reset": (extras.reset is not None, "resets no states"),
        "kind": (cell.is_slstm, "is that of an LSTM, not of an sLSTM"),
        "layer_norm": (cell.layer_norm, "normalises nothing"),
        "cell_clip": (clip, "clips what activations read, not the cell state"),
        "zoneout_cell": (zoneout_cell, "has no zoneout"),
        "zoneout_hidden": (zoneout_hidden, "has no zoneout"),
        "training": (extras.seed is not None, "draws no random numbers: export the layer after .eval()"),
        "candidate_activation": (cell.candidate_activation == hard, f"knows no activation {hard!r}"),
        "output_activation": (cell.output_activation == hard, f"knows no activation {hard!r}"),
    }
    for argument, (applies, reason) in reasons.items():
        if applies:
            sentence = f"an LSTM node of ONNX {reason}"
            raise GatewrightError(argument, "what an LSTM node of ONNX has", "something else", sentence=sentence)


def _first_steps(x: Tensor, lengths: Tensor | None, *, reverse: bool) -> Tensor:
    """Return whether a step is the first that is read, (T, 1), or (T, B) where that depends on the row."""
    steps = torch.arange(x.shape[0], device=x.device)[:, None]
    if not reverse:
        return steps == 0
    return steps == (x.shape[0] if lengths is None else lengths) - 1


def _ordered(W: Tensor, cell: CellSpec) -> Tensor:
    """Return rows of weights, (4H, ...), in the order of the node."""
    i, f, g, o = W.chunk(4)
    none = torch.zeros_like(g)
    i = -f if cell.coupled else i if cell.input_gate else none
    f, o = f if cell.forget_gate else none, o if cell.output_gate else none
    return torch.cat([i, o, f, g])


def _biases(layer: LayerWeights, cell: CellSpec) -> Tensor:
    """Return both biases, (8H,)."""
    H, like = layer.hidden_size, layer.W_ih
    none = like.new_zeros(4 * H)
    first, second = (none if b is None else _ordered(b, cell) for b in (layer.b_ih, layer.b_hh))
    present = (cell.input_gate, cell.output_gate, cell.forget_gate, True)
    if not all(present):
        first = first + torch.cat([like.new_full((H,), 0.0 if each else _OPEN) for each in present])
    return torch.cat([first, second])


def _peepholes(layer: LayerWeights, cell: CellSpec) -> Tensor | None:
    """Return the peepholes, (1, 3H), in the order i, o, f."""
    if layer.w_ch is None:
        return None
    i, f, o = layer.w_ch.chunk(3)
    none = torch.zeros_like(f)
    i = -f if cell.coupled else i if cell.input_gate else none
    return torch.cat([i, o if cell.output_gate else none, f if cell.forget_gate else none])[None]


def _node(
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor | None],
    lengths: Tensor | None,
    state: tuple[Tensor, Tensor],
    cell: CellSpec,
    direction: str,
) -> Sequence[Tensor]:
    """Return the three outputs of a node: Y (T, 1, B, H), Y_h and Y_c (1, B, H).

    Args:
        x: (T, B, D).
        weights: W (1, 4H, D), R (1, 4H, H), B (1, 8H), P (1, 3H) or None.
        lengths: steps of each row, (B,), int32.
        state: h and c, (1, B, H).
        cell: its activations, and whether there are peepholes.
        direction: "forward" or "reverse".
    """
    W, R, b, P = weights
    inputs = [x, W, R, b, lengths, *state, P]
    T, B, H = x.shape[0], x.shape[1], R.shape[-1]
    if torch.jit.is_tracing():  # type: ignore[attr-defined]  # with dynamo=False, which knows no symbolic nodes
        results: Sequence[Tensor] = onnx_lstm(*inputs, cell.code(), int(H), direction)
        return results
    shapes = [(T, 1, B, H), (1, B, H), (1, B, H)]
    attributes = _attributes(cell, H, direction)
    return torch.onnx.ops.symbolic_multi_out("LSTM", inputs, attributes, dtypes=[x.dtype] * 3, shapes=shapes)


def _attributes(cell: CellSpec, H: int, direction: str) -> dict[str, Any]:
    """Return the attributes of a node."""
    attributes: dict[str, Any] = {"hidden_size": H, "direction": direction}
    chosen = [
        _ACTIVATIONS[name] for name in (cell.gate_activation, cell.candidate_activation, cell.output_activation)
    ]
    if chosen != [_ACTIVATIONS[name] for name in ("sigmoid", "tanh", "tanh")]:
        attributes["activations"] = [name for name, *_ in chosen]
        for place, name in ((1, "activation_alpha"), (2, "activation_beta")):
            if numbers := [float(each[place]) for each in chosen if len(each) > 1]:
                attributes[name] = numbers
    return attributes


def _run(
    x: Tensor,
    W: Tensor,
    R: Tensor,
    b: Tensor,
    lengths: Tensor | None,
    h: Tensor,
    c: Tensor,
    P: Tensor | None,
    cell: int,
    _hidden_size: int,
    direction: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a node gives, by the kernels; arguments are those of `_node`, the cell as `CellSpec.code`."""

    def ours(rows: Tensor, order: Sequence[int]) -> Tensor:
        parts = rows.chunk(len(order))
        return torch.cat([parts[k] for k in order])

    biases = [ours(each, (0, 2, 3, 1)) for each in b[0].chunk(2)]
    weights = [ours(W[0], (0, 2, 3, 1)), ours(R[0], (0, 2, 3, 1)), *biases]
    if P is not None:
        weights.append(ours(P[0], (0, 2, 1)))
    options = [int(direction == "reverse"), 0, 0, precision.FULL]
    extras = Extras() if lengths is None else Extras(lengths.to(torch.int64))
    results = operators.lstm_kernel(x, h[0], c[0], weights, cell, None, options, *extras)
    y, h_n, c_n, *_ = results
    return y[:, None], h_n[None], c_n[None]


def _shapes(x: Tensor, *others: Any) -> tuple[Tensor, ...]:
    h = others[4]
    return x.new_empty(x.shape[0], 1, *h.shape[1:]), x.new_empty(h.shape), x.new_empty(h.shape)


def _symbol(
    g: Any,
    x: Any,
    W: Any,
    R: Any,
    b: Any,
    lengths: Any,
    h: Any,
    c: Any,
    P: Any,
    cell: int,
    H: int,
    direction: str,
) -> Any:
    """Return the node in a graph of the exporter by tracing; arguments are those of `_run`."""
    inputs = [x, W, R, b, lengths, h, c, *([] if P.node().mustBeNone() else [P])]
    suffix = {int: "_i", str: "_s", list: "_f"}
    attributes = {
        name + ("_s" if name == "activations" else suffix[type(value)]): value
        for name, value in _attributes(CellSpec.decoded(cell), H, direction).items()
    }
    return g.op("LSTM", *inputs, **attributes, outputs=3)


_NODE = (
    "(Tensor x, Tensor W, Tensor R, Tensor B, Tensor? sequence_lens, Tensor initial_h, Tensor initial_c, "
    "Tensor? P, int cell, int hidden_size, str direction) -> (Tensor, Tensor, Tensor)"
)
onnx_lstm = operators.define("onnx_lstm", _run, _shapes, _NODE)
