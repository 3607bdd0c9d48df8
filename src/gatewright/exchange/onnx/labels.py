"""A classifier or a tagger in an ONNX graph: rows of columns in, probabilities of classes out."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.exchange.onnx.graph import Graph, whole
from gatewright.exchange.onnx.series import DOUBLE, FLOAT, NAN, vectors
from gatewright.exchange.onnx.stack import States, Steps
from gatewright.files.model_file import ModelFile
from gatewright.spec import FeatureEncoder

#: Lowest number of float64, as the start of a maximum.
_LOWEST = np.float64(np.finfo(np.float64).min)


def encoded(g: Graph, file: ModelFile) -> str:
    """Add the input and the encoder; return what the first layer reads.

    Args:
        g: the graph, with an input ``x`` (steps, rows, columns).
        file: a classifier or a tagger.
    """
    encoder, scaler = file.spec.encoder, file.scaler
    assert isinstance(encoder, FeatureEncoder)
    assert scaler is not None
    x = "x"
    missing = g("IsNaN", x)
    scaled = g("Div", g("Sub", x, np.array(scaler.mean)), np.array(scaler.scale))
    scaled = g("Where", missing, np.float64(0), scaled) if encoder.missing or encoder.categories else scaled
    parts = [g("Cast", scaled, to=FLOAT)]
    if encoder.missing:
        places = np.array([encoder.columns.index(name) for name in encoder.missing])
        parts.append(g("Cast", g("Not", g("Gather", missing, places, axis=2)), to=FLOAT))
    if encoder.categories:
        parts[0] = _with_vectors(g, file, encoder, parts[0])
    return parts[0] if len(parts) == 1 else str(g("Concat", *parts, axis=-1))


def _with_vectors(g: Graph, file: ModelFile, encoder: FeatureEncoder, columns: str) -> str:
    """Return columns with the vectors of categories in place of their indices."""
    parts, end = [], 0
    for number, (_, place) in enumerate(encoder.category_places()):
        if place.start > end:
            parts.append(g("Slice", columns, whole(end), whole(place.start), whole(2)))
        index = g("Slice", columns, whole(place.start), whole(place.stop), whole(2))
        parts.append(vectors(g, file, number, index, 1))
        end = place.stop
    if end < len(encoder.columns):
        parts.append(g("Slice", columns, whole(end), whole(len(encoder.columns)), whole(2)))
    return str(g("Concat", *parts, axis=-1))


def pooled(g: Graph, file: ModelFile, y: str, end: States, steps: Steps) -> str:
    """Add the pooling of a classifier over the steps so far; return what the head reads, (rows, width).

    What is kept of earlier calls, NaN before the first: the sum of the hidden states and their number; their
    maximum; or their weighted sum, the sum of the weights and the largest score.  A model of both directions reads
    whole sequences, and keeps nothing.

    Args:
        g: the graph.
        file: a classifier.
        y: output of the layers, (steps, rows, width).
        end: their last states.
        steps: which rows have.
    """
    assert file.spec.classifier is not None
    pooling, stack = file.spec.classifier[1].pooling, file.spec.lstm
    if pooling == "last":
        if stack.residual:  # whose output is no hidden state
            return _last_outputs(g, y, steps, stack.output_size, both=stack.bidirectional)
        last = end.hidden[-2:] if stack.bidirectional else end.hidden[-1:]
        return last[0] if len(last) == 1 else str(g("Concat", *last, axis=-1))
    wide = g("Cast", y, to=DOUBLE)
    width = stack.output_size + KEPT[pooling]
    before = "" if stack.bidirectional else g.input("pool0", np.float64, "rows", width)
    one = {"mean": _mean, "max": _maximum, "attention": _attention}[pooling]
    result, kept = one(g, file, wide, steps, before)
    if before:
        g.output("pooln", g("Where", steps.present, kept, before), np.float64, "rows", width)
    return str(g("Cast", result, to=FLOAT))


#: How many numbers a pooling keeps next to one for each hidden unit.
KEPT = {"mean": 1, "max": 0, "attention": 2}


def _last_outputs(g: Graph, y: str, steps: Steps, width: int, *, both: bool) -> str:
    """Return the output of each direction after its last step, (rows, width)."""
    ones = np.ones((1, 1, width), np.int64)
    places = g("Mul", g("Unsqueeze", g("Max", g("Sub", steps.lengths, ONE), ONE - ONE), whole(0, 2)), ones)
    at_end = g("Squeeze", g("GatherElements", y, places, axis=0), whole(0))
    if not both:
        return str(at_end)
    first = g("Gather", y, np.int64(0), axis=0)
    return str(g("Where", np.arange(width) < width // 2, at_end, first))


ONE = np.int64(1)


def _known(g: Graph, before: str, otherwise: Any) -> str:
    """Return what was kept, or something else before the first step."""
    return str(g("Where", g("IsNaN", before), otherwise, before))


def _mean(g: Graph, file: ModelFile, y: str, steps: Steps, before: str) -> tuple[str, str]:
    within = g("Where", steps.within, y, np.float64(0))
    count = g("Cast", g("Unsqueeze", steps.lengths, whole(1)), to=DOUBLE)
    kept = g("Concat", g("ReduceSum", within, whole(0), keepdims=0), count, axis=-1)
    if before:
        kept = g("Add", kept, _known(g, before, np.float64(0)))
    P = file.spec.lstm.output_size
    total, count = (g("Slice", kept, whole(first), whole(last), whole(1)) for first, last in ((0, P), (P, P + 1)))
    return str(g("Div", total, count)), str(kept)


def _maximum(g: Graph, _: ModelFile, y: str, steps: Steps, before: str) -> tuple[str, str]:
    kept = g("ReduceMax", g("Where", steps.within, y, _LOWEST), whole(0), keepdims=0)
    kept = g("Max", kept, _known(g, before, _LOWEST)) if before else kept
    return kept, kept


def _attention(g: Graph, file: ModelFile, y: str, steps: Steps, before: str) -> tuple[str, str]:
    """Return the mean with the weights softmax(w · h_t)."""
    P = file.spec.lstm.output_size
    scores = g("MatMul", y, file.tensors["pool.weight"].astype(np.float64).T)
    scores = g("Where", steps.within, scores, _LOWEST)
    largest = g("ReduceMax", scores, whole(0), keepdims=0)
    parts: list[str] = []
    if before:
        known = [_known(g, g("Slice", before, whole(0), whole(P + 1), whole(1)), np.float64(0))]
        known.append(_known(g, g("Slice", before, whole(P + 1), whole(P + 2), whole(1)), _LOWEST))
        largest = g("Max", largest, known[1])
        parts.append(g("Mul", known[0], g("Exp", g("Sub", known[1], largest))))
    weights = g("Exp", g("Sub", scores, largest))
    weighted = g("Mul", weights, g("Where", steps.within, y, np.float64(0)))
    sums = g("ReduceSum", g("Concat", weighted, weights, axis=-1), whole(0), keepdims=0)
    sums = g("Add", sums, parts[0]) if parts else sums
    total, count = (g("Slice", sums, whole(first), whole(last), whole(1)) for first, last in ((0, P), (P, P + 1)))
    return str(g("Div", total, count)), str(g("Concat", sums, largest, axis=-1))


def output(g: Graph, file: ModelFile, scores: str, steps: Steps) -> None:
    """Add the probabilities: (rows, classes) of a classifier by the steps so far; of a tagger those of each step.

    Those of a row without steps, and past its end, are NaN.
    """
    shares = g("Softmax", g("Cast", scores, to=DOUBLE), axis=-1)
    assert file.spec.labeller is not None
    count = len(file.spec.labeller[1].classes)
    if file.spec.classifier:
        g.output("probability", g("Where", steps.present, shares, NAN), np.float64, "rows", count)
    else:
        g.output("probability", g("Where", steps.within, shares, NAN), np.float64, "steps", "rows", count)
