"""What a page has to know of a model: its columns and outputs, as JSON."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

from gatewright.data.tokens import contents_of
from gatewright.exchange.c import row_columns
from gatewright.exchange.c99 import columns
from gatewright.files.model_file import ModelFile
from gatewright.runtime.signature import Signature


def interface(file: ModelFile) -> dict[str, Any]:
    r"""Return the interface of a model, of values that JSON has.

    >>> import numpy as np
    >>> from gatewright.spec import UNKNOWN, ModelSpec, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
    >>> spec = ModelSpec(SymbolEncoder(symbols=3, embedding_size=2), StackSpec(4), SymbolHead())
    >>> weights = {name: np.zeros(shape, np.float32) for name, shape in spec.tensors().items()}
    >>> found = interface(ModelFile(spec, weights, vocabulary=Vocabulary((UNKNOWN, "a", "b"))))
    >>> found["kind"], found["symbols"]
    ('language model', ['\ufffd', 'a', 'b'])
    """
    spec = file.spec
    common: dict[str, Any] = {
        "version": importlib.metadata.version("gatewright"),
        "fingerprint": file.fingerprint,
        "units": list(spec.lstm.hidden_sizes),
        "number": "float32",
    }
    if spec.forecaster is not None:
        return common | _of_series(file)
    if spec.labeller is not None:
        return common | _of_classes(file)
    assert file.vocabulary is not None
    signature = Signature.of_symbols(file.vocabulary)
    return common | {
        "kind": "language model",
        "input": 1,
        "output": spec.output_size,
        "symbols": list(signature.symbols),
        "tokens": file.vocabulary.tokens,
        "separator": file.vocabulary.separator,
        "bytes": [list(each) for each in contents_of(file.vocabulary)]
        if file.vocabulary.tokens != "characters"
        else [],
    }


def as_json(value: Any) -> str:
    """Return a value as JSON that may stand in a script of a page: no text in it ends an element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _of_series(file: ModelFile) -> dict[str, Any]:
    assert file.spec.forecaster is not None
    assert file.scaler is not None
    encoder, head = file.spec.forecaster
    signature = Signature.of_series(encoder, head)
    names = row_columns(signature)
    number = columns.number_type(file.scaler, file.spec)
    return {
        "kind": "forecaster",
        "number": "float32" if number == "float" else "float64",
        "input": len(names),
        "output": head.horizon * len(encoder.targets) * len(head.quantiles),
        "columns": list(names),
        "targets": list(encoder.targets),
        "past": list(encoder.past),
        "static": list(encoder.static),
        "calendar": list(encoder.calendar),
        "known": list(encoder.known),
        "horizon": head.horizon,
        "quantiles": list(head.quantiles),
        "context": encoder.context,
        "step": encoder.step,
        "timeZone": encoder.time_zone,
        **_columns(file),
    }


def _of_classes(file: ModelFile) -> dict[str, Any]:
    assert file.spec.labeller is not None
    assert file.scaler is not None
    encoder, head = file.spec.labeller
    number = columns.number_type(file.scaler, file.spec)
    return {
        "kind": "classifier" if file.spec.classifier else "tagger",
        "number": "float32" if number == "float" else "float64",
        "input": len(encoder.columns),
        "output": len(head.classes),
        "columns": list(encoder.columns),
        "missing": list(encoder.missing),
        "classes": list(head.classes),
        **_columns(file),
    }


def _columns(file: ModelFile) -> dict[str, Any]:
    """Return categories, and means and scales, by which a page draws and makes up columns."""
    assert file.scaler is not None
    scaler, encoder = file.scaler, file.spec.encoder
    return {
        "categories": {each.column: list(each.values) for each in encoder.categories},
        "transform": list(encoder.transform),
        "scaler": {
            name: [mean, scale]
            for name, mean, scale in zip(scaler.columns, scaler.mean, scaler.scale, strict=True)
        },
    }
