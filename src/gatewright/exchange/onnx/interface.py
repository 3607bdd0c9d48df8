"""What the numbers of a model's input and output stand for: what a file says of them, and two models share."""

from __future__ import annotations

from typing import Any

from gatewright.files.model_file import ModelFile
from gatewright.runtime.signature import Signature


def interface_of(file: ModelFile) -> dict[str, Any]:
    """Return what the numbers of input and output stand for, by name; empty where a model has none."""
    spec, vocabulary = file.spec, file.vocabulary
    signature = Signature.of(spec, vocabulary)
    return {
        "columns": signature.columns,
        "targets": signature.targets,
        "quantiles": signature.quantiles,
        "calendar": signature.calendar,
        "holidays": signature.holidays,
        "classes": signature.classes,
        "categories": {each.column: each.values for each in spec.encoder.categories},
        "vocabulary": vocabulary and vocabulary.symbols,
        "tokens": vocabulary and vocabulary.tokens,
        "merges": vocabulary and vocabulary.merges,
    }
