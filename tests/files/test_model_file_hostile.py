"""Whatever stands in a file, it is read as the model that was written or rejected with our error."""

from __future__ import annotations

import json
import math
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.errors import GatewrightError, ModelFileError
from gatewright.files import model_file
from gatewright.files.model_file import read, write
from gatewright.spec import UNKNOWN, Vocabulary
from tests.support.model_files import MODELS, SCALER, SYMBOLS, assert_same, content, fingerprint, parsed, raw
from tests.support.spec_strategies import changed_json

#: Set GATEWRIGHT_LONG to try many more changes of a file.
EXAMPLES = 3000 if os.environ.get("GATEWRIGHT_LONG") else 150


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "model.safetensors"


Edit = Callable[[dict[str, Any], bytes], bytes]


def edit(**changes: Any) -> Edit:
    """Return a change of the metadata; `...` takes a key away."""

    def apply(header: dict[str, Any], data: bytes) -> bytes:
        metadata = {**header["__metadata__"], **changes}
        header["__metadata__"] = {key: value for key, value in metadata.items() if value is not ...}
        return raw(header, data)

    return apply


def edit_spec(old: str, new: str) -> Edit:
    """Return a change of the spec, with a fingerprint that fits it."""

    def apply(header: dict[str, Any], data: bytes) -> bytes:
        metadata = header["__metadata__"]
        assert metadata["spec"].count(old) == 1
        metadata["spec"] = metadata["spec"].replace(old, new)
        metadata["sha256"] = fingerprint(header, data)
        return raw(header, data)

    return apply


def edit_tensor(name: str, change: Callable[[dict[str, Any]], Any]) -> Edit:
    def apply(header: dict[str, Any], data: bytes) -> bytes:
        header[name] = change(header[name])
        return raw(header, data)

    return apply


def rename(header: dict[str, Any], data: bytes) -> bytes:
    header["head.offset"] = header.pop("head.bias")
    return raw(header, data)


def hole(header: dict[str, Any], data: bytes) -> bytes:
    header["head.bias"]["data_offsets"] = [len(data) - 8, len(data) + 4]
    return raw(header, data + b"\0" * 4)


def overlap(header: dict[str, Any], data: bytes) -> bytes:
    header["lstm.bias_hh_l0"]["data_offsets"] = header["lstm.bias_ih_l0"]["data_offsets"]
    return raw(header, data)


def twice(header: dict[str, Any], data: bytes) -> bytes:
    entry = b'"head.bias":' + json.dumps(header["head.bias"]).encode()
    return raw(json.dumps(header).encode()[:-1] + b"," + entry + b"}", data)


def swap_equal_tensors(header: dict[str, Any], data: bytes) -> bytes:
    one, other = header["lstm.bias_ih_l0"], header["lstm.bias_hh_l0"]
    one["data_offsets"], other["data_offsets"] = other["data_offsets"], one["data_offsets"]
    return raw(header, data)


def nan_weight(header: dict[str, Any], data: bytes) -> bytes:
    return raw(header, data[:4] + struct.pack("<f", math.nan) + data[8:])


def flipped_weight(header: dict[str, Any], data: bytes) -> bytes:
    return raw(header, data[:4] + bytes([data[4] ^ 1]) + data[5:])


def bare(whole: bytes) -> Edit:
    return lambda _header, _data: whole


HOSTILE: dict[str, tuple[Edit, str]] = {
    "empty": (bare(b""), "header: expected a safetensors file.* got 0 bytes"),
    "seven bytes": (bare(b"1234567"), "header: expected a safetensors file.* got 7 bytes"),
    "text": (bare(b"a text of some length"), "header: expected a safetensors file, got something else"),
    "a zip": (bare(b"PK\3\4" + b"\0" * 60), "header: expected a safetensors file"),
    "huge header": (bare(b"\xff" * 8 + b"{}"), "header: expected a safetensors file, got something else"),
    "long header": (bare(struct.pack("<Q", 90_000_000) + b"{}"), "header: .*90000000 bytes in a file of 10$"),
    "no header": (bare(raw(b"", b"")), "header: .*JSON object"),
    "a list": (bare(raw(b"[]", b"")), "header: .*JSON object, got '\\[\\]'"),
    "leading space": (bare(raw(b" {}", b"")), "header: .*JSON object"),
    "utf-16": (bare(raw('{"a":1}'.encode("utf-16"), b"")), "header: .*UTF-8"),
    "half a header": (bare(raw(b'{"__metadata__":', b"")), "header: expected JSON"),
    "deep header": (
        bare(raw(b'{"a":' * 200_000, b"")),
        "header: expected JSON, got lists or objects nested too deeply",
    ),
    "deep list": (
        bare(raw(b'{"a":' + b"[" * 200_000, b"")),
        "header: expected JSON, got lists or objects nested too deeply",
    ),
    "long number": (bare(raw(b'{"a":' + b"9" * 5000 + b"}", b"")), "header: |metadata: "),
    "nan": (bare(raw(b'{"a":NaN}', b"")), "header: expected JSON, got NaN"),
    "foreign": (
        bare(safetensors.numpy.save({"a": np.zeros(2, np.float32)}, {"format": "pt"})),
        "metadata: expected a file that Gatewright wrote, got a safetensors file without 'gatewright'",
    ),
    "no metadata": (bare(raw(b"{}", b"")), "metadata: expected a file that Gatewright wrote"),
    "metadata text": (bare(raw(b'{"__metadata__":"gatewright"}', b"")), "metadata: expected a file that Gat"),
    "too new": (edit(gatewright="7", more="x"), r"metadata\.gatewright: .*'6', the newest .*'7'; a newer"),
    "nothing of version 3": (
        edit(gatewright="3"),
        r"metadata\.gatewright: expected version '2', got '3', though ",
    ),
    "table in version 2": (edit(table="{}"), "metadata: expected the keys "),
    "table that is none": (edit(gatewright="3", table="{}"), "table: expected an object with the fields "),
    "far too new": (edit(gatewright="9" * 5000), r"metadata\.gatewright: .*; a newer gatewright reads it$"),
    "version 0": (edit(gatewright="0"), r"metadata\.gatewright: .* got '0'$"),
    "version ²": (edit(gatewright="²"), r"metadata\.gatewright: .* got '²'$"),
    "empty version": (edit(gatewright=""), r"metadata\.gatewright: .* got ''$"),
    "version number": (edit(gatewright=1), r"metadata\.gatewright: .* got 1$"),
    "version list": (edit(gatewright=["1"]), r"metadata\.gatewright: .* got \['1'\]$"),
    "no spec": (edit(spec=...), "metadata: expected the keys .*'spec'"),
    "no companion": (edit(vocabulary=...), "metadata: expected the keys .*either 'scaler' or 'vocabulary'"),
    "both": (edit(scaler=SCALER.to_json()), "metadata: expected the keys"),
    "the other": (edit(scaler=SCALER.to_json(), vocabulary=...), "metadata: expected the key 'vocabulary'"),
    "more keys": (edit(format="pt"), "metadata: expected the keys .*'format'"),
    "spec object": (edit(spec={}), r"metadata\.spec: expected text, got \{\}"),
    "spec text": (edit(spec="spec"), "spec: expected JSON"),
    "spec deep": (edit(spec="[" * 200_000), "spec: expected JSON, got lists or objects nested too deeply"),
    "spec nan": (edit_spec("0.0", "NaN"), "spec: expected JSON, got NaN"),
    "spec overflow": (edit_spec("0.0", "1e999"), "dropout: "),
    "spec digits": (edit_spec('"num_layers":1', '"num_layers":' + "1" * 5000), "spec: |num_layers: "),
    "spec repeats": (edit_spec('"lstm":', '"lstm":1,"lstm":'), "spec: expected JSON, got the field 'lstm' 2"),
    "spec member": (edit_spec('"lstm":', '"gru":1,"lstm":'), "spec: expected an object with the fields"),
    "spec kind": (edit_spec('"next_symbol"', '"quantiles"'), "spec.head: expected an object"),
    "spec spaces": (edit_spec(',"head"', ', "head"'), r"metadata\.spec: expected sorted keys"),
    "spec 0 for 0.0": (edit_spec('"dropout":0.0', '"dropout":0'), r"metadata\.spec: .*shortest digits"),
    "spec hidden": (edit_spec('"hidden_size":4', '"hidden_size":5'), r"shape \(20, 2\), got \(16, 2\)"),
    "spec huge": (
        edit_spec('"hidden_size":4', f'"hidden_size":{2**31 - 1}'),
        "'lstm.weight_ih_l0': expected sh",
    ),
    "spec layers": (
        edit_spec('"num_layers":1', f'"num_layers":{2**31 - 1}'),
        "tensors: expected at least 858",
    ),
    "spec layer": (edit_spec('"num_layers":1', '"num_layers":2'), "tensors: .* got 4 missing"),
    "spec symbols": (edit_spec('"symbols":3', '"symbols":4'), "'encoder.weight': expected shape"),
    "vocabulary": (
        edit(vocabulary=Vocabulary((UNKNOWN, "b")).to_json()),
        "vocabulary: expected the 3 symbols",
    ),
    "surrogate": (
        edit(vocabulary=r'{"symbols":["\ufffd","a","\ud800"]}'),
        "vocabulary: expected text without",
    ),
    "sha256": (edit(sha256="0" * 64), r"metadata\.sha256: .*000.* got a model with [0-9a-f]{64}; .*damaged"),
    "SHA256": (edit(sha256=SYMBOLS.fingerprint.upper()), r"metadata\.sha256"),
    "written by": (edit(written_by="\033[31m"), r"metadata\.written_by: expected printable ASCII"),
    "written by half": (edit(written_by="\ud800"), r"metadata\.written_by: expected printable ASCII"),
    "rename": (rename, r"1 missing: \['head.bias'\] and 1 extra: \['head.offset'\]"),
    "dtype": (
        edit_tensor("head.bias", lambda t: {**t, "dtype": "I32"}),
        "'head.bias': expected dtype F32.*'I32'",
    ),
    "bf16": (edit_tensor("head.bias", lambda t: {**t, "dtype": "BF16"}), "'head.bias': expected dtype F32"),
    "no dtype": (
        edit_tensor("head.bias", lambda t: {**t, "dtype": None}),
        "'head.bias': expected a dtype, got None",
    ),
    "shape": (
        edit_tensor("head.bias", lambda t: {**t, "shape": [1, 3]}),
        r"expected shape \(3,\), got \(1, 3\)",
    ),
    "shape float": (
        edit_tensor("head.bias", lambda t: {**t, "shape": [3.0]}),
        "'head.bias': expected a shape",
    ),
    "shape bool": (
        edit_tensor("head.bias", lambda t: {**t, "shape": [True]}),
        "'head.bias': expected a shape",
    ),
    "shape below 0": (
        edit_tensor("head.bias", lambda t: {**t, "shape": [-3]}),
        "'head.bias': expected a shape",
    ),
    "huge shape": (
        edit_tensor("head.bias", lambda t: {**t, "shape": [2**62, 8]}),
        r"'head.bias': expected shape \(3,\)",
    ),
    "three offsets": (
        edit_tensor("head.bias", lambda t: {**t, "data_offsets": [0, 4, 8]}),
        "two whole numbers",
    ),
    "huge offsets": (
        edit_tensor("head.bias", lambda t: {**t, "data_offsets": [2**64, 2**64 + 12]}),
        "'head.bias': expected data_offsets",
    ),
    "tensor list": (edit_tensor("head.bias", lambda t: [t]), "'head.bias': expected the fields"),
    "tensor member": (edit_tensor("head.bias", lambda t: {**t, "x": 1}), "'head.bias': expected the fields"),
    "hole": (hole, "'head.bias': expected data_offsets"),
    "overlap": (overlap, "'lstm.bias_hh_l0': expected data_offsets"),
    "twice": (twice, "header: expected JSON, got the field 'head.bias' 2 times"),
    "cut off": (
        lambda h, d: raw(h, d[:-1]),
        "data: expected 596 bytes .*got 595 bytes: the file was cut off",
    ),
    "no data": (lambda h, _: raw(h, b""), "data: expected 596 bytes .*got 0 bytes: the file was cut off"),
    "goes on": (lambda h, d: raw(h, d + b"\0"), "data: .*got 597 bytes: the file goes on"),
    "nan weight": (nan_weight, "'encoder.weight': expected finite weights, got 1 of 6 NaN"),
    "flipped weight": (flipped_weight, r"metadata\.sha256: .*damaged"),
    "swapped weights": (swap_equal_tensors, r"metadata\.sha256: .*damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_named(name: str, path: Path) -> None:
    change, match = HOSTILE[name]
    path.write_bytes(change(*parsed(content(SYMBOLS))))
    with pytest.raises(ModelFileError, match=match) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 2000 + len(str(path))


@pytest.mark.parametrize(
    "name", ["spec huge", "spec layers", "huge header", "long header", "huge shape", "huge offsets"]
)
def test_claims_of_size_take_no_memory(name: str, path: Path) -> None:
    path.write_bytes(HOSTILE[name][0](*parsed(content(SYMBOLS))))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, match in (
        ("absent", "absent: the file does not exist"),
        ("", "it is a directory, not a file"),
        ("link", "it is a directory, not a file"),
        ("pipe", "it is a named pipe, not a file"),
        ("loop", "its symbolic links form a loop"),
        ("nul\0", "the file does not exist"),
        ("half\ud800", "the file does not exist"),
        ("long" * 1000, "the name is too long"),
    ):
        with pytest.raises(ModelFileError, match=match):
            read(tmp_path / name)
    path = tmp_path / "model"
    write(path, SYMBOLS)

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(ModelFileError, match="model: you have no permission to read it"):
        read(path)


def test_memory_that_is_not_there_is_our_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise MemoryError

    write(path, SYMBOLS)
    monkeypatch.setattr(model_file.np, "empty", refuse)
    with pytest.raises(ModelFileError, match="there is not enough memory for it"):
        read(path)


def test_a_header_over_the_limit_is_not_read(path: Path) -> None:
    length = model_file.LONGEST_HEADER + 1
    path.write_bytes(struct.pack("<Q", length) + b"{")
    os.truncate(path, length + 8)
    with pytest.raises(ModelFileError, match=f"header: expected a safetensors file, .*of {length} bytes"):
        read(path)


@st.composite
def mutated_bytes(draw: st.DrawFn, whole: bytes, other: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        # Half of them in the header's length or the beginning of the file.
        ends = st.integers(0, len(whole)) | st.integers(0, min(len(whole), 16))
        a, b = sorted((draw(ends), draw(ends)))
        what = draw(st.sampled_from(["flip", "insert", "delete", "cut", "splice", "double", "set"]))
        if what == "flip" and a < len(whole):
            whole = whole[:a] + bytes([whole[a] ^ draw(st.integers(1, 255))]) + whole[a + 1 :]
        elif what == "insert":
            whole = whole[:a] + draw(st.binary(max_size=8)) + whole[a:]
        elif what == "delete":
            whole = whole[:a] + whole[b:]
        elif what == "cut":
            whole = whole[:b]
        elif what == "splice":
            whole = whole[:a] + other[a:b] + whole[b:]
        elif what == "double":
            whole = whole[:b] + whole[a:b] + whole[b:]
        elif what == "set":
            whole = whole[:a] + draw(st.binary(min_size=1, max_size=1)) * (b - a) + whole[b:]
    return whole


@st.composite
def mutated_headers(draw: st.DrawFn, whole: bytes) -> tuple[bytes, bool]:
    """Change the header, or JSON inside it; perhaps forge a fingerprint that fits the change."""
    header, data = parsed(whole)
    key = draw(st.sampled_from(["header", "spec", "scaler", "vocabulary"]))
    if key in header["__metadata__"]:
        plain = draw(changed_json(json.loads(header["__metadata__"][key])))
        header["__metadata__"][key] = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    else:
        header = draw(changed_json(header))
    forged = False
    if draw(st.booleans()):
        data = draw(mutated_bytes(data, data[::-1])) if draw(st.booleans()) else data
        try:
            header["__metadata__"]["sha256"] = fingerprint(header, data)
            forged = True
        except Exception:  # what is left of the header has no fingerprint
            forged = False
    return raw(header, data), forged


BY_FINGERPRINT = {model.fingerprint: model for model in MODELS}


def check_mutated(path: Path, whole: bytes, forged: bool = False) -> bool:
    """Hold that a file is read as a model that was written, or as any if it was forged, or is our error."""
    path.write_bytes(whole)
    try:
        model = read(path)
    except GatewrightError:
        return False
    if not forged:
        # Spliced from end to end, a file is the other model's.
        assert_same(model, BY_FINGERPRINT[model.fingerprint])
    # What is read is a safetensors file to others too, with the same weights.
    for name, array in safetensors.numpy.load(whole).items():
        np.testing.assert_array_equal(array.view(np.uint32), model.tensors[name].view(np.uint32))
    return True


@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_mutated_bytes_are_the_same_model_or_our_error(path: Path, data: st.DataObject) -> None:
    model, other, _ = data.draw(st.permutations(MODELS))
    check_mutated(path, data.draw(mutated_bytes(content(model), content(other))))


@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_mutated_header_is_the_same_model_or_our_error(path: Path, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(MODELS))
    whole, forged = data.draw(mutated_headers(content(model)))
    check_mutated(path, whole, forged)


def test_each_flipped_byte_is_noticed(path: Path) -> None:
    whole = content(SYMBOLS)
    data = whole.index(b"}}") + 2
    start = whole.index(b"written_by") + len(b'written_by":"')
    informative = range(start, whole.index(b'"', start))
    for i in [*range(data), *range(data, len(whole), 5)]:
        changed = whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :]
        assert check_mutated(path, changed) == (i in informative), i


def test_each_cut_is_noticed(path: Path) -> None:
    whole = content(SYMBOLS)
    for end in [*range(len(whole) - 1, 0, -7), *range(12)]:
        assert not check_mutated(path, whole[:end]), end
