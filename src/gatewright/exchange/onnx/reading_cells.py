"""The cell of an ONNX LSTM node: its activations and options as a `CellSpec`, where that is exact.

Equations: https://onnx.ai/onnx/operators/onnx__LSTM.html.  A factor and a shift of what an activation reads go
into the weights of its gate, so that HardSigmoid of any slope is ours, and Affine of any slope as the candidate's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gatewright.errors import GatewrightError, shorten
from gatewright.exchange.gate_weights import GateWeights
from gatewright.spec.cell import CellSpec

#: Directions of a node, and how many of them it has.
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}

#: Activations that take alpha, those that take beta, and the defaults that ONNX has for them.
_ALPHAS: dict[str, float | None] = {
    "affine": None,
    "leakyrelu": 0.01,
    "thresholdedrelu": 1.0,
    "scaledtanh": None,
    "hardsigmoid": 0.2,
    "elu": 1.0,
}
_BETAS: dict[str, float | None] = {"affine": None, "scaledtanh": None, "hardsigmoid": 0.5}
#: Sigmoid, tanh and hard sigmoid are at their bounds, in float64 too, where their argument is at this one.
_SATURATED = 746.0


class Activation(NamedTuple):
    """An activation as ONNX names it, in lower case, with its parameters."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __str__(self) -> str:
        numbers = {"alpha": self.alpha, "beta": self.beta}
        given = ", ".join(f"{name}={value:g}" for name, value in numbers.items() if value is not None)
        return f"{self.name}({given})" if given else self.name


class Read(NamedTuple):
    """What one of our activations reads: ``scale * z + shift``."""

    activation: str
    scale: float = 1.0
    shift: float = 0.0


class NodeCell(NamedTuple):
    """The cell of a node, and what becomes of the weights of each of its directions.

    Attributes:
        spec: the cell.
        reads: of each direction what its gates and its candidate read.
    """

    spec: CellSpec
    reads: tuple[tuple[Read, Read], ...]

    def folded(self, weights: GateWeights, direction: int) -> GateWeights:
        """Return the weights of one direction with factors and shifts of what its activations read."""
        gate, candidate = self.reads[direction]
        H = weights.W_hh.shape[1]
        scale = np.repeat([gate.scale, gate.scale, candidate.scale, gate.scale], H)
        shift = np.repeat([gate.shift, gate.shift, candidate.shift, gate.shift], H)
        W_ih, W_hh = weights.W_ih * scale[:, None], weights.W_hh * scale[:, None]
        b_ih, b_hh = (None if b is None else b * scale for b in (weights.b_ih, weights.b_hh))
        if np.any(shift):
            b_ih = shift if b_ih is None else b_ih + shift
        w_ch = None if weights.w_ch is None else weights.w_ch * gate.scale
        if self.spec.coupled:  # 1 - σ(z) is σ(-z), also of a hard sigmoid: ours has the forget gate's weights
            for array in (W_ih, W_hh, b_ih, b_hh, w_ch):
                if array is not None:
                    array[H : 2 * H] = -array[:H]
        return GateWeights(W_ih, W_hh, b_ih, b_hh, w_ch)


def cell_of(attributes: Mapping[str, Any], peephole: bool, node: str) -> NodeCell:
    """Return the cell that the attributes of a node describe.

    Args:
        attributes: those of ONNX's LSTM, texts decoded.
        peephole: whether the node has an input P.
        node: its name, for errors.

    Raises:
        GatewrightError: names the attribute that no cell of ours has.

    >>> cell_of({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, False, "n").spec.features()
    ('gate_activation',)
    """
    count = DIRECTIONS[attributes.get("direction", "forward")]
    coupled = bool(attributes.get("input_forget", 0))
    found = []
    for gate, candidate, output in _activations(attributes, count, node):
        z = _gate(gate, node), _candidate(candidate, node)
        found.append((z, _output(output, node)))
        _require_clip(attributes.get("clip"), (*z, found[-1][1]), node)
    kinds = {(gate.activation, candidate.activation, output) for (gate, candidate), output in found}
    if len(kinds) > 1:
        expected = "the same activations in both directions, for one layer"
        raise GatewrightError(f"{node}.activations", expected, shorten(attributes.get("activations")))
    gate_name, candidate_name, output_name = kinds.pop()
    spec = CellSpec(
        peephole=peephole,
        coupled=coupled,
        gate_activation=gate_name,
        candidate_activation=candidate_name,
        output_activation=output_name,
    )
    return NodeCell(spec, tuple(reads for reads, _ in found))


def _activations(attributes: Mapping[str, Any], count: int, node: str) -> Iterator[list[Activation]]:
    """Yield the three activations of each direction; alpha and beta are used up by those that take them."""
    names = attributes.get("activations") or ["Sigmoid", "Tanh", "Tanh"] * count
    if len(names) != 3 * count:
        raise GatewrightError(f"{node}.activations", f"{3 * count} names", str(len(names)))
    alphas, betas = (iter(attributes.get(f"activation_{name}") or ()) for name in ("alpha", "beta"))
    all_of_them = []
    for name in map(str.lower, names):
        alpha = next(alphas, _ALPHAS[name]) if name in _ALPHAS else None
        beta = next(betas, _BETAS[name]) if name in _BETAS else None
        all_of_them.append(Activation(name, alpha, beta))
    for start in range(0, len(names), 3):
        yield all_of_them[start : start + 3]


def _gate(activation: Activation, node: str) -> Read:
    if activation.name == "sigmoid":
        return Read("sigmoid")
    if activation.name == "hardsigmoid" and activation.alpha is not None and activation.beta is not None:
        return Read("hard_sigmoid", 6 * activation.alpha, 6 * (activation.beta - 0.5))  # ours is z / 6 + 0.5
    raise _refused("Sigmoid or HardSigmoid for the gates", activation, node)


def _candidate(activation: Activation, node: str) -> Read:
    alpha, beta = activation.alpha, activation.beta
    if activation.name == "tanh":
        return Read("tanh")
    if activation.name == "scaledtanh" and alpha == 1 and beta is not None:
        return Read("tanh", beta)
    if activation.name == "affine" and alpha is not None and beta is not None:
        return Read("identity", alpha, beta)
    raise _refused(
        "Tanh, ScaledTanh with alpha=1 or Affine with alpha and beta for the candidate", activation, node
    )


def _output(activation: Activation, node: str) -> str:
    if activation.name == "tanh" or activation == Activation("scaledtanh", 1, 1):
        return "tanh"
    if activation == Activation("affine", 1, 0):
        return "identity"
    raise _refused("Tanh or Affine with alpha=1, beta=0 for the output", activation, node)


def _refused(expected: str, activation: Activation, node: str) -> GatewrightError:
    return GatewrightError(f"{node}.activations", expected, shorten(str(activation)).strip("'"))


def _require_clip(clip: float | None, reads: tuple[Read, Read, str], node: str) -> None:
    """Refuse a bound of what activations read, which no cell of ours has, unless it changes nothing."""
    if clip is None:
        return
    gate, candidate, output = reads
    harmless = candidate.activation == "tanh" and output == "tanh"
    for read in (gate, candidate):
        reach = abs(read.scale) * clip - abs(read.shift)
        harmless = harmless and reach >= (3 if read.activation == "hard_sigmoid" else _SATURATED)
    if not harmless:
        expected = "none, or one at which every activation is at its bounds: it limits what the activations read, "
        expected += "where cell_clip of ours limits the cell state"
        raise GatewrightError(f"{node}.clip", expected, f"{clip:g}")
