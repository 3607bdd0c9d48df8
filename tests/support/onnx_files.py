"""Modules as ONNX files by either of torch's exporters, and what ONNX Runtime makes of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import gatewright
from gatewright import CellSpec

#: Arguments of layers that an LSTM node can say.
LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two layers, both directions": {"num_layers": 2, "bidirectional": True},
    "without biases": {"bias": False},
    "batch first": {"batch_first": True},
    "projection": {"proj_size": 3, "num_layers": 2, "bidirectional": True},
    "residual": {"num_layers": 2, "residual": True},
    "unequal layers": {"hidden_size": [5, 4]},
    "learned initial state": {"initial_state": "learned"},
    "peepholes": {"cell": CellSpec(peephole=True)},
    "coupled, peepholes, projection": {"cell": CellSpec(coupled=True, peephole=True), "proj_size": 3},
    "no input gate": {"cell": CellSpec(input_gate=False, peephole=True)},
    "no forget gate": {"cell": CellSpec(forget_gate=False, peephole=True)},
    "no output gate": {"cell": CellSpec(output_gate=False, peephole=True)},
    "hard gates, plain candidate": {
        "cell": CellSpec(gate_activation="hard_sigmoid", candidate_activation="identity", coupled=True)
    },
    "plain output": {"cell": CellSpec(output_activation="identity")},
    "dropouts": {"cell": CellSpec(hidden_dropout=0.5, candidate_dropout=0.5, weight_drop=0.5)},
}
#: Arguments of layers that it cannot, and the argument that the error names.
REFUSED: dict[str, dict[str, Any]] = {
    "layer_norm": {"cell": CellSpec(layer_norm=True)},
    "cell_clip": {"cell": CellSpec(cell_clip=1.0)},
    "zoneout_cell": {"cell": CellSpec(zoneout_cell=0.1)},
    "zoneout_hidden": {"cell": CellSpec(zoneout_hidden=0.1)},
    "candidate_activation": {"cell": CellSpec(candidate_activation="hard_tanh")},
    "output_activation": {"cell": CellSpec(output_activation="hard_tanh")},
    "kind": {"cell": CellSpec(kind="slstm")},
    "compute": {"compute": "bf16"},
}


class Caller(nn.Module):
    """A layer behind arguments by place: x, and as the caller likes lengths (B,), h and c."""

    def __init__(self, *, lengths: bool = False, state: bool = False, **options: Any) -> None:
        super().__init__()
        self.with_lengths, self.with_state = lengths, state
        self.layer = gatewright.LSTM(options.pop("input_size", 3), **{"hidden_size": 5, **options})
        self.eval()
        for each in self.layer.parameters():
            nn.init.normal_(each, std=0.5)

    @property
    def names(self) -> list[str]:
        """Names of the inputs."""
        return ["x", *(["lengths"] if self.with_lengths else []), *(["h", "c"] if self.with_state else [])]

    def forward(self, x: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        rest = list(more)
        lengths = rest.pop(0) if self.with_lengths else None
        y, state = self.layer(x, tuple(rest) if self.with_state else None, lengths=lengths)
        return y * 2, *tree_leaves(state)

    def example(self, T: int, B: int) -> tuple[Tensor, ...]:
        """Return random arguments."""
        layer = self.layer
        x = torch.randn((B, T) if layer.batch_first else (T, B), dtype=torch.float32)[..., None]
        arguments = [x.repeat(1, 1, layer.input_size) * torch.randn(layer.input_size)]
        if self.with_lengths:
            arguments.append(torch.randint(0, T + 1, (B,)))
            arguments[-1][0] = T
        if self.with_state:
            S = layer.num_layers * (2 if layer.bidirectional else 1)
            H = layer.hidden_size
            arguments += [torch.randn(S, B, layer.proj_size or H), torch.randn(S, B, H)]
        return tuple(arguments)

    def axes(self) -> list[dict[int, str]]:
        """Return the dynamic axes of each input, by name."""
        rows = 0 if self.layer.batch_first else 1
        lengths = [{0: "rows"}] if self.with_lengths else []
        state = [{1: "rows"}, {1: "rows"}] if self.with_state else []
        return [{rows: "rows", 1 - rows: "steps"}, *lengths, *state]


def exported(module: nn.Module, arguments: Sequence[Tensor], axes: Sequence[dict[int, str]], dynamo: bool) -> Any:
    """Return a module as a model of ONNX, with dynamic axes."""
    names = getattr(module, "names", [f"x{k}" for k in range(len(arguments))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            first, *rest = (dict.fromkeys(each, torch.export.Dim.DYNAMIC) for each in axes)
            shapes = (first, *([tuple(rest)] if rest else []))
            program = torch.onnx.export(
                module, tuple(arguments), input_names=names, dynamo=True, dynamic_shapes=shapes, verbose=False
            )
            assert program is not None
            return program.model_proto
        buffer = io.BytesIO()
        by_name = dict(zip(names, axes, strict=True))
        torch.onnx.export(
            module,
            tuple(arguments),
            buffer,
            input_names=names,
            dynamo=False,
            dynamic_axes=by_name,  # type: ignore[arg-type]
        )
        return onnx.load_from_string(buffer.getvalue())


def nodes(model: Any) -> list[str]:
    """Return the operators of a graph."""
    return [node.op_type for node in model.graph.node]


def largest_difference(model: Any | Path, module: nn.Module, cases: Sequence[Sequence[Tensor]]) -> float:
    """Return the largest difference of ONNX Runtime from a module, by the size of the output, at least 1."""
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content)
    names = [each.name for each in session.get_inputs()]
    worst = 0.0
    for arguments in cases:
        with torch.no_grad():
            expected = [each.numpy() for each in tree_leaves(module(*arguments)) if each is not None]
        got = session.run(None, {name: each.numpy() for name, each in zip(names, arguments, strict=True)})
        for ours, theirs in zip(expected, got, strict=True):
            assert ours.shape == theirs.shape
            worst = max(worst, float(np.abs(ours - theirs).max() / max(1.0, np.abs(ours).max())))
    return worst
