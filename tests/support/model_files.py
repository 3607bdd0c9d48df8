"""Small models, and their files taken apart and put together by hand."""

from __future__ import annotations

import functools
import hashlib
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.files.model_file import ModelFile, write
from gatewright.spec import (
    BYTE_NAMES,
    SEPARATOR,
    UNKNOWN,
    Category,
    ClassHead,
    FeatureEncoder,
    ModelSpec,
    QuantileHead,
    Scaler,
    SeriesEncoder,
    StackSpec,
    StepClassHead,
    SymbolEncoder,
    SymbolHead,
    Vocabulary,
)


def weights(model_spec: ModelSpec, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=s).astype(np.float32) for name, s in model_spec.tensors().items()}


SERIES_SPEC = ModelSpec(
    SeriesEncoder(("load", "heat"), past=("wind",), known=("price",), static=("area",)),
    StackSpec(hidden_size=3, num_layers=2, dropout=0.1, proj_size=2),
    QuantileHead(horizon=2),
)
COLUMNS = ("load", "heat", "wind", "price", "area")
SCALER = Scaler(COLUMNS, (20.0, 3.0, 0.5, -1.0, 0.0), (4.0, 1.0, 2.0, 0.25, 1.0), (0.5, 0.1))
SYMBOLS_SPEC = ModelSpec(SymbolEncoder(symbols=3, embedding_size=2), StackSpec(4), SymbolHead())
VOCABULARY = Vocabulary((UNKNOWN, "a", "é"))
SERIES = ModelFile(SERIES_SPEC, weights(SERIES_SPEC), scaler=SCALER)
SYMBOLS = ModelFile(SYMBOLS_SPEC, weights(SYMBOLS_SPEC), vocabulary=VOCABULARY)
SEASONAL_SPEC = ModelSpec(
    SeriesEncoder(("load", "heat"), past=("wind",), context=8, seasons=(2, 7)),
    StackSpec(3),
    QuantileHead(horizon=4),
)
SEASONAL_SCALER = Scaler(COLUMNS[:3], (20.0, 3.0, 0.5), (4.0, 1.0, 2.0), (0.5, 0.1))
SEASONAL = ModelFile(SEASONAL_SPEC, weights(SEASONAL_SPEC), scaler=SEASONAL_SCALER)
CATEGORIES_SPEC = ModelSpec(
    SeriesEncoder(
        ("load",), past=("wind", "sky"), known=("open", "holidays DE"), static=("site",), step="1d",
        holidays=("DE",),
        categories=(
            Category("sky", ("clear", "é"), 2), Category("site", ("1", "10"), 1),
            Category("open", ("false", "true"), 3),
        ),
    ),
    StackSpec(3),
    QuantileHead(horizon=2),
)  # fmt: skip
CATEGORIES_SCALER = Scaler(
    ("load", "wind", "sky", "open", "holidays DE", "site"),
    (20.0, 0.5, 0.0, 0.0, 0.03, 0.0),
    (4.0, 2.0, 1.0, 1.0, 0.2, 1.0),
    (0.5,),
)
CATEGORIES = ModelFile(CATEGORIES_SPEC, weights(CATEGORIES_SPEC), scaler=CATEGORIES_SCALER)
UNITS_SPEC = ModelSpec(
    SeriesEncoder(("load", "heat"), transform=("boxcox", "asinh")),
    StackSpec(3),
    QuantileHead(minimum=(0.0, -5.5), maximum=(100.0, 2.0)),
)
UNITS_SCALER = Scaler(COLUMNS[:2], (20.0, 3.0), (4.0, 1.0), (0.5, 0.1), (0.25, 2.0), (8.0, 3.0))
UNITS = ModelFile(UNITS_SPEC, weights(UNITS_SPEC), scaler=UNITS_SCALER)
CLASSES_SPEC = ModelSpec(
    FeatureEncoder(("ax", "ay"), missing=("ay",)),
    StackSpec(hidden_size=3, num_layers=2, bidirectional=True),
    ClassHead(("rest", "walk", "run"), pooling="attention"),
)
CLASSES = ModelFile(CLASSES_SPEC, weights(CLASSES_SPEC), scaler=Scaler(("ax", "ay"), (0.5, 2.0), (1.0, 4.0), ()))
MODELS = [SERIES, SYMBOLS, SEASONAL]
TAGS_SPEC = ModelSpec(
    FeatureEncoder(("ax", "ay", "hand"), ("ay",), (Category("hand", ("left", "right"), 2),)),
    StackSpec(hidden_size=3),
    StepClassHead(("rest", "walk")),
)
TAGS_SCALER = Scaler(TAGS_SPEC.encoder.columns, (0.5, 2.0, 0.0), (1.0, 4.0, 1.0), ())
TAGS = ModelFile(TAGS_SPEC, weights(TAGS_SPEC), scaler=TAGS_SCALER)
#: A byte pair encoding of several documents.
MERGED_SPEC = ModelSpec(SymbolEncoder(symbols=259, embedding_size=2), StackSpec(4), SymbolHead())
MERGED = ModelFile(
    MERGED_SPEC,
    weights(MERGED_SPEC),
    vocabulary=Vocabulary((*BYTE_NAMES, "th", "the", SEPARATOR), "bpe", ("t h", "th e"), separator=True),
)
#: Layers whose cell is not the plain one.
VARIANT_SPEC = ModelSpec(
    SymbolEncoder(symbols=3, embedding_size=2),
    StackSpec(
        4, 2, peephole=True, coupled=True, gate_activation="hard_sigmoid", cell_clip=3.0, layer_norm=True,
        zoneout_cell=0.25, hidden_dropout=0.5,
    ),
    SymbolHead(),
)  # fmt: skip
VARIANT = ModelFile(VARIANT_SPEC, weights(VARIANT_SPEC), vocabulary=VOCABULARY)
#: Layers of sLSTM cells.
SLSTM_SPEC = ModelSpec(
    SymbolEncoder(symbols=3, embedding_size=2),
    StackSpec(4, 2, hidden_dropout=0.5, kind="slstm", heads=2, forget_gate_activation="exponential"),
    SymbolHead(),
)
SLSTM = ModelFile(SLSTM_SPEC, weights(SLSTM_SPEC), vocabulary=VOCABULARY)
#: Layers of unequal size, with residual connections between what they are projected to.
STACK_SPEC = ModelSpec(
    SymbolEncoder(symbols=3, embedding_size=2), StackSpec((5, 3, 4), proj_size=2, residual=True), SymbolHead()
)
STACK = ModelFile(STACK_SPEC, weights(STACK_SPEC), vocabulary=VOCABULARY)
ALL_MODELS = [*MODELS, CLASSES, CATEGORIES, TAGS, UNITS, MERGED, VARIANT, STACK]


@functools.cache
def content(model: ModelFile) -> bytes:
    """Return the bytes of a model's file."""
    with tempfile.TemporaryDirectory() as folder:
        return written(model, Path(folder) / "model.safetensors")


def written(model: ModelFile, path: Path) -> bytes:
    write(path, model)
    return path.read_bytes()


def parsed(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def raw(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def fingerprint(header: dict[str, Any], data: bytes) -> str:
    """Work out rule 22 of the format from the file's parts, tensors in the order of the header."""
    metadata = header["__metadata__"]
    parts = [b"gatewright 1", metadata["spec"].encode()]
    parts.append((metadata.get("scaler") or metadata.get("vocabulary", "")).encode())
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            parts += [name.encode(), "x".join(map(str, entry["shape"])).encode(), data[begin:end]]
    return hashlib.sha256(b"".join(struct.pack("<Q", len(part)) + part for part in parts)).hexdigest()


def assert_same(one: ModelFile, other: ModelFile) -> None:
    assert (one.spec, one.scaler, one.vocabulary) == (other.spec, other.scaler, other.vocabulary)
    assert list(one.tensors) == list(other.tensors) == list(one.spec.tensors())
    for name, array in one.tensors.items():
        np.testing.assert_array_equal(array.view(np.uint32), other.tensors[name].view(np.uint32))
    assert one.fingerprint == other.fingerprint
