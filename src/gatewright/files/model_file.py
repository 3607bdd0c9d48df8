"""The model file: weights, and in the metadata all else that a model is.  Its format: docs/model-file.md.

It is a safetensors file, read and written here with nothing but NumPy: the library gives tensors back without
their metadata, orders metadata at random, and lets a repeated name pass.  Nothing in a file is trusted: the
header is checked in full, against the file's size too, before memory for a single weight is taken.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from gatewright.errors import GatewrightError, ModelFileError, SpecError, path_of, shorten, unusable
from gatewright.files import atomic, regular_file
from gatewright.spec import ModelSpec, Scaler, TableSpec, Vocabulary
from gatewright.spec.json import Spec, strict_json
from gatewright.spec.table import LARGEST_CORRELATION

if TYPE_CHECKING:
    from io import BufferedReader

#: The newest version of the format that this build reads and writes.  A file has the oldest version, from
#: `OLDEST_WRITTEN` on, that holds all that its model uses, so that older builds read it too.
FORMAT = 6
OLDEST_WRITTEN = 2

#: Versions that it reads.  In version 1 an encoder of series says nothing of the time zone; version 3 adds how
#: tables are read; versions 3 to 6 add the fields and kinds that `Spec.version` says.
READABLE = ("1", "2", "3", "4", "5", "6")

#: Longest header in bytes; the safetensors library reads no longer one.
LONGEST_HEADER = 100_000_000

_DTYPE = "F32"  # as safetensors calls little-endian float32

_AnySpec = TypeVar("_AnySpec", bound=Spec)


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A whole model, checked when it is made.

    Attributes:
        spec: what the model is.
        tensors: float32 weights by name, not copied, in the order of ``spec.tensors()``.
        scaler: the numbers of the columns, where the encoder reads a series.
        vocabulary: the symbols, where the encoder reads symbols.
        table: how a forecaster's tables are read, if the file is to say so; no part of the fingerprint.

    Raises:
        SpecError: if a specification does not survive its own JSON.
        ModelFileError: if scaler, vocabulary or tensors do not fit the spec, or a weight is not finite.

    >>> from gatewright.spec import UNKNOWN, StackSpec, SymbolEncoder, SymbolHead
    >>> spec = ModelSpec(SymbolEncoder(symbols=3, embedding_size=2), StackSpec(4), SymbolHead())
    >>> weights = {name: np.zeros(shape, np.float32) for name, shape in spec.tensors().items()}
    >>> ModelFile(spec, weights, vocabulary=Vocabulary((UNKNOWN, "a", "b"))).fingerprint[:8]
    '2645f547'
    """

    spec: ModelSpec
    tensors: Mapping[str, npt.NDArray[np.float32]]
    scaler: Scaler | None = None
    vocabulary: Vocabulary | None = None
    table: TableSpec | None = None

    def __post_init__(self) -> None:
        _check_spec("spec", self.spec, ModelSpec)
        if self.table is not None:
            _check_spec("table", self.table, TableSpec)
            if self.spec.forecaster is None:
                reads = "symbols" if self.spec.encoder.symbols else "sequences"
                raise ModelFileError("table", f"none, since the encoder reads {reads}", "one")
            _check_numbers(self.table, self.spec.output_shape)
        _check_companions(self)
        kinds = {name: _kind(name, array) for name, array in self.tensors.items()}
        ordered = {name: self.tensors[name] for name in _checked_shapes(self.spec, kinds)}
        for name, array in ordered.items():
            _check_finite(name, array)
        object.__setattr__(self, "tensors", ordered)

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal of all that decides what the model computes; worked out at each call."""
        return self._digest(self.spec.to_json())

    def _digest(self, spec: str) -> str:
        """Return the fingerprint over this text of the specification."""
        digest = hashlib.sha256()

        def add(*parts: bytes | memoryview) -> None:
            for part in parts:
                digest.update(struct.pack("<Q", len(part)))
                digest.update(part)

        add(b"gatewright 1", spec.encode("ascii"), _companion(self)[1].encode("ascii"))
        for name, array in self.tensors.items():
            add(name.encode("ascii"), "x".join(map(str, array.shape)).encode("ascii"), _raw(array))
        return digest.hexdigest()


def write(path: str | os.PathLike[str], model: ModelFile) -> None:
    """Write a model file, whole or not at all; one build writes the same model as the same bytes.

    Raises:
        ModelFileError: if the model was changed into one that `read` would reject.
        OSError: if the file cannot be written; what stood there before still does.

    >>> import tempfile
    >>> from gatewright.spec import UNKNOWN, StackSpec, SymbolEncoder, SymbolHead
    >>> spec = ModelSpec(SymbolEncoder(symbols=3, embedding_size=2), StackSpec(4), SymbolHead())
    >>> weights = {name: np.zeros(shape, np.float32) for name, shape in spec.tensors().items()}
    >>> model = ModelFile(spec, weights, vocabulary=Vocabulary((UNKNOWN, "a", "b")))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/model.safetensors", model)
    ...     read(f"{folder}/model.safetensors").fingerprint == model.fingerprint
    True
    """
    import importlib.metadata  # only here: it would be a fifth of what importing a stream takes

    model = dataclasses.replace(model)
    companion, text = _companion(model)
    header: dict[str, Any] = {
        "__metadata__": {
            "gatewright": _version(model),
            "spec": model.spec.to_json(),
            companion: text,
            **({} if model.table is None else {"table": model.table.to_json()}),
            "sha256": model.fingerprint,
            "written_by": f"gatewright {importlib.metadata.version('gatewright')}",
        }
    }
    begin = 0
    for name, array in model.tensors.items():
        offsets = [begin, begin + 4 * array.size]
        header[name] = {"dtype": _DTYPE, "shape": list(array.shape), "data_offsets": offsets}
        begin = offsets[1]
    encoded = json.dumps(header, separators=(",", ":")).encode("ascii")
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > LONGEST_HEADER:
        raise ModelFileError("header", f"at most {LONGEST_HEADER} bytes", f"{len(encoded)} bytes")
    arrays = map(_raw, model.tensors.values())
    atomic.write_bytes(path, b"".join((struct.pack("<Q", len(encoded)), encoded, *arrays)))


def read(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file; everything is checked.  The weights are fresh, writable, in C order.

    Raises:
        ModelFileError: if the file is missing, damaged, not Gatewright's or too new.  The message names the
            file, and the part of it that is at fault.

    >>> read("absent.safetensors")
    Traceback (most recent call last):
    gatewright.errors.ModelFileError: absent.safetensors: the file does not exist
    """
    path = path_of(path, "path", "the path of a model file")
    try:
        with regular_file.open_file(path) as file:
            return _read(file, os.fstat(file.fileno()).st_size)
    except (OSError, MemoryError) as error:
        raise unusable(ModelFileError, path, error) from None
    except GatewrightError as error:
        where = f"{path}: {error.argument}" if error.argument else str(path)
        raise ModelFileError(where, error.expected, error.got) from None


def of_bytes(data: bytes) -> ModelFile:
    """Return the model in the bytes of a model file; everything is checked, as by `read`.

    Raises:
        ModelFileError: if they are damaged, not Gatewright's or too new.

    >>> of_bytes(b"")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    gatewright.errors.ModelFileError: model: header: expected a safetensors file, at least 8 bytes ..., got 0 bytes
    """
    try:
        return _read(io.BytesIO(data), len(data))
    except GatewrightError as error:
        where = f"model: {error.argument}" if error.argument else "model"
        raise ModelFileError(where, error.expected, error.got) from None


def _check_numbers(table: TableSpec, sizes: tuple[int, ...]) -> None:
    """Check that there are as many numbers of calibration and correlation as outputs ask for, or none."""
    outputs = math.prod(sizes[:2])
    full = outputs <= LARGEST_CORRELATION
    for name, numbers, size in (
        ("widths", table.widths, outputs),
        ("offsets", table.offsets, math.prod(sizes)),
        ("correlation", table.correlation, outputs * (outputs - 1) // 2 if full else 0),
        ("lag_correlation", table.lag_correlation, 0 if full else outputs * sizes[1]),
    ):
        if numbers and len(numbers) != size:
            raise ModelFileError(f"table.{name}", f"{size} numbers or none", f"{len(numbers)}")


def _version(model: ModelFile) -> str:
    """Return the oldest version of the format, from 2 on, that holds a model."""
    table = max(3, model.table.version()) if model.table else 0
    vocabulary = model.vocabulary.version() if model.vocabulary else 0
    return str(max(OLDEST_WRITTEN, model.spec.version(), vocabulary, table))


def _read(file: BufferedReader | io.BytesIO, size: int) -> ModelFile:
    header, data_size = _read_header(file, size)
    metadata = _checked_metadata(header.pop("__metadata__", None))
    text = metadata["spec"]
    if metadata["gatewright"] == "1":
        metadata["spec"] = _of_version_1(text)
    spec = _read_spec("spec", metadata, ModelSpec)
    companion = spec.encoder.companion
    if companion not in metadata:
        raise ModelFileError("metadata", f"the key {companion!r}", f"{sorted(metadata)}")
    scaler = _read_spec("scaler", metadata, Scaler) if companion == "scaler" else None
    vocabulary = _read_spec("vocabulary", metadata, Vocabulary) if companion == "vocabulary" else None
    table = _read_spec("table", metadata, TableSpec) if "table" in metadata else None

    entries = {name: _entry(name, entry) for name, entry in header.items()}
    shapes = _checked_shapes(spec, {name: (dtype, shape) for name, (dtype, shape, _) in entries.items()})
    spans = {name: span for name, (_, _, span) in entries.items()}
    _check_spans(spans, shapes, data_size)

    data = np.empty(data_size // 4, "<f4")
    if file.readinto(data.view(np.uint8).data) != data_size:
        raise ModelFileError("data", f"{data_size} bytes", "fewer, while it was read")
    tensors = {}
    for name, shape in shapes.items():
        begin, end = spans[name]
        tensors[name] = data[begin // 4 : end // 4].reshape(shape).astype(np.float32, copy=False)
    model = ModelFile(spec, tensors, scaler, vocabulary, table)
    version, needed = metadata["gatewright"], _version(model)
    if max(OLDEST_WRITTEN, int(version)) > int(needed):
        raise ModelFileError(
            "metadata.gatewright", f"version {needed!r}", f"{version!r}, though nothing in the file needs it"
        )
    if max(OLDEST_WRITTEN, int(version)) < int(needed):
        raise ModelFileError("metadata.gatewright", f"version {needed!r}, which the fields of spec need", version)
    came = model._digest(text)
    if metadata["sha256"] != came:
        got = f"a model with {came}; the file is damaged or was edited"
        raise ModelFileError("metadata.sha256", f"a model with {shorten(metadata['sha256'])}", got)
    return model


def _read_header(file: BufferedReader | io.BytesIO, size: int) -> tuple[dict[str, Any], int]:
    """Read the header, and return it with the number of bytes that follow."""
    if size < 8:
        raise ModelFileError("header", "a safetensors file, at least 8 bytes long", f"{size} bytes")
    (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    if length > min(LONGEST_HEADER, size - 8):
        got = f"something else, or one cut off: a header of {length} bytes in a file of {size}"
        raise ModelFileError("header", "a safetensors file", got)
    encoded = file.read(length)
    try:
        text = encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        got = f"a byte that is no UTF-8 at {error.start} of it"
        raise ModelFileError("header", "a safetensors file, with a header in UTF-8", got) from None
    if not text.startswith("{"):
        raise ModelFileError("header", "a safetensors file, with a header that is a JSON object", shorten(text))
    header: dict[str, Any] = strict_json(text, "header")
    return header, size - 8 - length


def _checked_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or "gatewright" not in metadata:
        got = "a safetensors file without 'gatewright' in its metadata"
        raise ModelFileError("metadata", "a file that Gatewright wrote", got)
    version = metadata["gatewright"]
    if version not in READABLE:
        newer = isinstance(version, str) and version.isascii() and version.isdigit() and version[0] != "0"
        expected = f"format '{FORMAT}', the newest that this build reads"
        hint = "; a newer gatewright reads it" if newer else ""
        raise ModelFileError("metadata.gatewright", expected, shorten(version) + hint)
    required = {"gatewright", "spec", "sha256", "written_by"}
    members = set(metadata) - ({"table"} if version not in ("1", "2") else set())
    if not any(members == {*required, companion} for companion in ("scaler", "vocabulary")):
        expected = f"the keys {sorted(required)} and either 'scaler' or 'vocabulary'"
        raise ModelFileError("metadata", expected, shorten(sorted(metadata)))
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise ModelFileError(f"metadata.{key}", "text", shorten(value))
    if not (metadata["written_by"].isascii() and metadata["written_by"].isprintable()):
        raise ModelFileError("metadata.written_by", "printable ASCII", shorten(metadata["written_by"]))
    return metadata


def _of_version_1(text: str) -> str:
    """Return a specification of version 1 as one of this version: timestamps that name no time zone.

    Raises:
        ModelFileError: if it names one already.
    """
    plain = strict_json(text, "spec")
    encoder = plain.get("encoder") if isinstance(plain, dict) else None
    if not isinstance(encoder, dict) or encoder.get("kind") != "series":
        return text
    if "time_zone" in encoder:
        raise ModelFileError("spec.encoder", "no field 'time_zone' in a file of version 1", "it")
    # The text itself has to be canonical, since the fingerprint is over it.
    if json.dumps(plain, sort_keys=True, separators=(",", ":")) != text:
        expected = "sorted keys, no spaces, plain ASCII and the shortest digits of each number"
        raise ModelFileError("metadata.spec", expected, "other JSON that means the same")
    plain["encoder"] = {**encoder, "time_zone": ""}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def _read_spec(key: str, metadata: dict[str, str], cls: type[_AnySpec]) -> _AnySpec:
    spec = cls.from_json(metadata[key], key)
    # The fingerprint is over this text, so there must be no second text that means the same.
    if spec.to_json() != metadata[key]:
        expected = "sorted keys, no spaces, plain ASCII and the shortest digits of each number"
        raise ModelFileError(f"metadata.{key}", expected, "other JSON that means the same")
    return spec


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    """Return dtype, shape and span of a tensor, as the header gives them."""
    argument = f"tensor {shorten(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        got = sorted(entry) if isinstance(entry, dict) else entry
        raise ModelFileError(argument, "the fields 'dtype', 'shape' and 'data_offsets'", shorten(got))
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise ModelFileError(argument, "a dtype", shorten(dtype))
    if not _are_sizes(shape):
        raise ModelFileError(argument, "a shape of whole numbers", shorten(shape))
    if not _are_sizes(span) or len(span) != 2:
        raise ModelFileError(argument, "data_offsets of two whole numbers", shorten(span))
    return dtype, tuple(shape), (span[0], span[1])


def _are_sizes(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(number) is int and number >= 0 for number in numbers)


def _check_spans(
    spans: Mapping[str, tuple[int, int]], shapes: Mapping[str, tuple[int, ...]], data_size: int
) -> None:
    """Hold that the tensors lie end to end and fill the file."""
    position = 0
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        size = 4 * math.prod(shapes[name])
        if (begin, end) != (position, position + size):
            expected = f"data_offsets [{position}, {position + size}], right behind the tensor before"
            raise ModelFileError(f"tensor {name!r}", expected, shorten([begin, end]))
        position = end
    if position != data_size:
        hint = "the file was cut off" if data_size < position else "the file goes on behind the last tensor"
        raise ModelFileError("data", f"{position} bytes behind the header", f"{data_size} bytes: {hint}")


def _kind(name: str, array: object) -> tuple[str, tuple[int, ...]]:
    if not isinstance(array, np.ndarray):
        raise ModelFileError(f"tensor {shorten(name)}", "a NumPy array", f"a {type(array).__name__}")
    return (_DTYPE if array.dtype == np.float32 else array.dtype.name), array.shape


def _checked_shapes(
    spec: ModelSpec, kinds: Mapping[str, tuple[str, tuple[int, ...]]]
) -> dict[str, tuple[int, ...]]:
    """Return the spec's tensors in order, if all of them and no others came, with their dtype and shape."""
    layers = spec.lstm.num_layers
    # Of a spec of a billion layers, not even the names may be listed.
    if layers > len(kinds):
        raise ModelFileError("tensors", f"at least {4 * layers + 2} for {layers} layers", f"{len(kinds)}")
    shapes = spec.tensors()
    missing, extra = [name for name in shapes if name not in kinds], sorted(set(kinds) - set(shapes))
    if missing or extra:
        counts = [
            f"{len(names)} {word}: {shorten(names[:5])}"
            for names, word in ((missing, "missing"), (extra, "extra"))
            if names
        ]
        raise ModelFileError("tensors", f"the {len(shapes)} that the spec names", " and ".join(counts))
    for name, shape in shapes.items():
        dtype, came = kinds[name]
        if came != shape:
            raise ModelFileError(f"tensor {name!r}", f"shape {shape}", shorten(came))
        if dtype != _DTYPE:
            raise ModelFileError(f"tensor {name!r}", f"dtype {_DTYPE} (float32)", shorten(dtype))
    return shapes


def _check_finite(name: str, array: npt.NDArray[np.float32]) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        bad = finite.size - np.count_nonzero(finite)
        raise ModelFileError(f"tensor {name!r}", "finite weights", f"{bad} of {finite.size} NaN or infinite")


def _check_spec(name: str, spec: Spec | None, cls: type[Spec]) -> None:
    """Hold that JSON gives a specification back unchanged: its fields may have any type in Python."""
    if type(spec) is not cls:
        raise SpecError(name, f"a {cls.__name__}", shorten(spec))
    try:
        same = cls.from_json(spec.to_json(), name) == spec
    except (TypeError, ValueError) as error:
        raise SpecError(name, "fields of the types that gatewright.spec states", str(error)) from error
    if not same:
        raise SpecError(name, "fields of the types that gatewright.spec states", shorten(spec))


def _companion(model: ModelFile) -> tuple[str, str]:
    """Return the key and the JSON of the companion of the spec: the scaler or the vocabulary."""
    if model.scaler is not None:
        return "scaler", model.scaler.to_json()
    assert model.vocabulary is not None
    return "vocabulary", model.vocabulary.to_json()


def _check_companions(model: ModelFile) -> None:
    encoder = model.spec.encoder
    companions: dict[str, tuple[Scaler | Vocabulary | None, type[Spec]]] = {
        "scaler": (model.scaler, Scaler),
        "vocabulary": (model.vocabulary, Vocabulary),
    }
    for name, (companion, cls) in companions.items():
        if name == encoder.companion:
            _check_spec(name, companion, cls)
            assert companion is not None
            misfit = companion.misfit(encoder)
            if misfit is not None:
                raise ModelFileError(*misfit)
        elif companion is not None:
            reads = "symbols" if encoder.symbols else "numeric columns"
            raise ModelFileError(name, f"none, since the encoder reads {reads}", "one")


def _raw(array: npt.NDArray[np.float32]) -> memoryview:
    return np.ascontiguousarray(array, dtype="<f4").data.cast("B")
