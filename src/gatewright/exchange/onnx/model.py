"""A whole model as one ONNX graph, with its states as inputs and outputs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from gatewright.exchange.onnx import kept_weights, labels, series
from gatewright.exchange.onnx.graph import Graph, whole
from gatewright.exchange.onnx.interface import interface_of
from gatewright.exchange.onnx.stack import States, Steps, layers
from gatewright.files.model_file import ModelFile
from gatewright.runtime.signature import Signature
from gatewright.spec import ModelSpec

#: States that are zeros before the first step; those of all other names are NaN.
_ZEROS = ("h0", "c0")


def built(file: ModelFile, weights: str = "float32") -> Any:
    """Return a model as an ``onnx.ModelProto``.

    Args:
        file: the model.
        weights: the format that keeps those of the gates, out of `kept_weights.FORMATS`.

    Raises:
        GatewrightError: if ONNX's operators cannot compute what it does.
    """
    spec, g = file.spec, Graph("gatewright")
    kept_weights.require(weights, spec)
    if spec.forecaster is not None:
        series.refuse(spec.forecaster[1], spec.forecaster[0])

    rows: list[Steps] = []

    def steps(x: str) -> Steps:
        rows.append(Steps.of(g, g.input("lengths", np.int64, "rows"), x))
        return rows[0]

    left = None
    if spec.forecaster is not None:
        x, left = series.encoded(g, file, steps)
    elif spec.labeller is not None:
        steps(g.input("x", np.float64, "steps", "rows", len(spec.encoder.columns)))
        x = labels.encoded(g, file)
    else:
        steps(symbols := g.input("x", np.int64, "steps", "rows"))
        x = g("Gather", file.tensors["encoder.weight"], symbols, axis=0)
    y, end = layers(g, spec.lstm, file.tensors, x, _start(g, spec, x), rows[0], weights)
    if not spec.lstm.bidirectional:
        _give_states(g, spec, end)
    if spec.classifier is not None:
        y = labels.pooled(g, file, y, end, rows[0])
    scores = g("Add", g("MatMul", y, file.tensors["head.weight"].T), file.tensors["head.bias"])
    if left is not None:
        series.output(g, file, scores, left, rows[0])
    elif spec.labeller is not None:
        labels.output(g, file, scores, rows[0])
    else:
        logits = g("Where", rows[0].within, scores, np.float32(np.nan))
        g.output("logits", logits, np.float32, "steps", "rows", spec.output_size)
    model = g.model({})
    _add_metadata(model, file)
    return model


def _widths(spec: ModelSpec) -> list[tuple[int, int]]:
    """Return the widths of the hidden and the cell state of each layer."""
    P = spec.lstm.proj_size
    sizes = zip(spec.lstm.hidden_sizes, spec.lstm.cell_state_sizes, strict=True)
    return [(P or H, cell) for H, cell in sizes]


def _start(g: Graph, spec: ModelSpec, x: str) -> States:
    """Add the states before the first step: of layers of equal size h0 (layers, rows, P) and c0; else one each."""
    widths = _widths(spec)
    if spec.lstm.bidirectional:  # which reads whole sequences
        rows = g("Slice", g("Shape", x), whole(1), whole(2), whole(0))
        each = [[_zeros(g, rows, part) for pair in widths for part in (pair[k],) * 2] for k in (0, 1)]
        return States(*each)
    if not spec.lstm.is_unequal:
        stacked = (
            g.input(f"{name}0", np.float32, len(widths), "rows", widths[0][k]) for k, name in enumerate("hc")
        )
        return States(*([g("Gather", each, np.int64(n), axis=0) for n in range(len(widths))] for each in stacked))
    names = [[f"{name}0_l{n}" for n in range(len(widths))] for name in "hc"]
    for n, pair in enumerate(widths):
        for k in (0, 1):
            g.input(names[k][n], np.float32, "rows", pair[k])
    return States(*names)


def _zeros(g: Graph, rows: str, width: int) -> str:
    return str(g("Expand", np.float32(0), g("Concat", rows, whole(width), axis=0)))


def _give_states(g: Graph, spec: ModelSpec, end: States) -> None:
    """Add the states after the last step, as `_start` has them."""
    widths = _widths(spec)
    for k, (name, each) in enumerate(zip("hc", end, strict=True)):
        if spec.lstm.is_unequal:
            for n, state in enumerate(each):
                g.output(f"{name}n_l{n}", state, np.float32, "rows", widths[n][k])
        else:
            stacked = g("Concat", *(g("Unsqueeze", state, whole(0)) for state in each), axis=0)
            g.output(f"{name}n", stacked, np.float32, len(widths), "rows", widths[0][k])


def states_of(model: Any) -> dict[str, tuple[str, float]]:
    """Return the states of a graph: name of the output that follows each input, and its number at the start."""
    outputs = {each.name for each in model.graph.output}
    states = {}
    for each in model.graph.input:
        stem, _, layer = each.name.partition("_")
        following = f"{stem[:-1]}n{'_' + layer if layer else ''}"
        if stem.endswith("0") and following in outputs:
            states[each.name] = (following, 0.0 if stem in _ZEROS else float("nan"))
    return states


def _add_metadata(model: Any, file: ModelFile) -> None:
    """Add what a program needs to feed the graph, as texts by name; all but texts are JSON."""
    from onnx import helper

    spec = file.spec
    signature = Signature.of(spec, file.vocabulary)
    states = [
        {"input": name, "output": following, "start": 0 if start == 0 else "nan"}
        for name, (following, start) in states_of(model).items()
    ]
    kinds = {"forecaster": spec.forecaster, "classifier": spec.classifier, "tagger": spec.tagger}
    kind = next((name for name, found in kinds.items() if found), "language model")
    content = interface_of(file) | {"context": signature.context or None, "states": states}
    texts = {
        f"gatewright.{name}": json.dumps(value, ensure_ascii=False) for name, value in content.items() if value
    }
    texts |= {"gatewright.kind": kind, "gatewright.fingerprint": file.fingerprint}
    texts |= {"gatewright.time_zone": signature.time_zone} if signature.reads_time else {}
    texts |= {"gatewright.step": signature.step} if signature.step else {}
    helper.set_model_props(model, texts)
