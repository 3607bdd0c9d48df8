"""A model file is read as it was written, and what does not fit together is no model."""

from __future__ import annotations

import ast
import json
import math
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import spec
from gatewright.errors import ModelFileError, SpecError
from gatewright.files import atomic, model_file
from gatewright.files.model_file import ModelFile, read, write
from gatewright.spec import (
    UNKNOWN,
    ModelSpec,
    Scaler,
    StackSpec,
    SymbolHead,
    TableSpec,
    Vocabulary,
)
from tests.support.model_files import (
    ALL_MODELS,
    CATEGORIES,
    CLASSES,
    COLUMNS,
    MERGED,
    MODELS,
    SCALER,
    SEASONAL,
    SERIES,
    SERIES_SPEC,
    SLSTM,
    STACK,
    SYMBOLS,
    SYMBOLS_SPEC,
    VARIANT,
    VOCABULARY,
    assert_same,
    content,
    fingerprint,
    parsed,
    raw,
    weights,
    written,
)
from tests.support.spec_strategies import model_specs, scalers, vocabularies


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "model.safetensors"


@given(data=st.data(), model_spec=model_specs())
@settings(max_examples=50, deadline=None)
def test_round_trip(path: Path, data: st.DataObject, model_spec: ModelSpec) -> None:
    encoder = model_spec.encoder
    if encoder.companion == "scaler":
        categories = tuple(each.column for each in getattr(encoder, "categories", ()))
        companion = {
            "scaler": data.draw(
                scalers(encoder.columns, len(encoder.targets), categories, encoder.transform, encoder.window)
            )
        }
    else:
        companion = {"vocabulary": data.draw(vocabularies(encoder.symbols))}
    model = ModelFile(model_spec, weights(model_spec, data.draw(st.integers(0, 2**32))), **companion)
    whole = written(model, path)
    assert_same(read(path), model)
    assert written(read(path), path) == whole
    header, body = parsed(whole)
    assert fingerprint(header, body) == header["__metadata__"]["sha256"] == model.fingerprint
    for name, array in safetensors.numpy.load(whole).items():
        np.testing.assert_array_equal(array, model.tensors[name])


@pytest.mark.parametrize("model", ALL_MODELS)
def test_extreme_weights_keep_their_bits(model: ModelFile, path: Path) -> None:
    extremes = np.array([-0.0, 1e-45, 3.4028235e38, -3.4028235e38, 1.1754944e-38], np.float32)
    filled = {name: np.resize(extremes, array.shape) for name, array in model.tensors.items()}
    extreme = ModelFile(model.spec, filled, model.scaler, model.vocabulary)
    write(path, extreme)
    assert_same(read(path), extreme)


TABLE = TableSpec(
    time="ts", time_format="%d.%m.%Y", time_zone="", id=("site",), resample="1h", aggregate="sum", decimal=",",
    thousands=".", missing=("-999",), fill="mean", season=24, valid="0.15", test="2020-01-01", source="0" * 64,
    trained_until="2019-12-31T23:00:00",
)  # fmt: skip
CALIBRATED = replace(TABLE, widths=(1.5,), offsets=(0.5,))


def test_a_file_says_how_tables_are_read(path: Path) -> None:
    plain = written(SERIES, path)
    model = replace(SERIES, table=TABLE)
    whole = written(model, path)
    metadata = parsed(whole)[0]["__metadata__"]
    assert (metadata["gatewright"], json.loads(metadata["table"])["season"]) == ("3", 24)
    assert read(path).table == TABLE
    assert read(path).fingerprint == SERIES.fingerprint == model.fingerprint
    assert parsed(plain)[0]["__metadata__"]["gatewright"] == "2"
    with pytest.raises(ModelFileError, match="table: expected none, since the encoder reads symbols"):
        replace(SYMBOLS, table=TABLE)
    with pytest.raises(SpecError, match="fill"):
        replace(TABLE, fill="backward")


def test_the_bytes_are_the_documented_ones(path: Path) -> None:
    whole = written(SYMBOLS, path)
    header: dict[str, Any] = {
        "__metadata__": {
            "gatewright": "2",
            "spec": SYMBOLS_SPEC.to_json(),
            "vocabulary": VOCABULARY.to_json(),
            "sha256": SYMBOLS.fingerprint,
            "written_by": "gatewright 0.1.0",
        }
    }
    header["__metadata__"]["written_by"] = parsed(whole)[0]["__metadata__"]["written_by"]
    data = b""
    for name, shape in SYMBOLS_SPEC.tensors().items():
        values = SYMBOLS.tensors[name].ravel().tolist()
        end = len(data) + 4 * len(values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), end]}
        data += struct.pack(f"<{len(values)}f", *values)
    encoded = json.dumps(header, separators=(",", ":")).encode()
    assert whole == raw(encoded + b" " * (-len(encoded) % 8), data)
    assert re.fullmatch(r"gatewright \d+\.\d+\S*", header["__metadata__"]["written_by"])


def test_fingerprints_are_known() -> None:
    # Pinned: the fingerprint of a model may not change under one format version.
    for model, known in (
        (SERIES, "f1ba296d3a64549c750eecb209daed717696460904ed71b0bbdccb31c1bcfa67"),
        (SYMBOLS, "5825ca70ad7b8ef0afb57b89b1e895ab22ffe2296b9fc87663bc8563b1ebe696"),
    ):
        counted = {}
        for i, (name, shape) in enumerate(model.spec.tensors().items()):
            counted[name] = (np.arange(math.prod(shape), dtype=np.float32) / 8 - i).reshape(shape)
        assert ModelFile(model.spec, counted, model.scaler, model.vocabulary).fingerprint == known


def as_version_1(model: ModelFile) -> bytes:
    """The file that version 1 has of a model: it says nothing of a time zone."""
    header, data = parsed(content(model))
    metadata = header["__metadata__"]
    metadata["gatewright"] = "1"
    metadata["spec"] = metadata["spec"].replace(',"time_zone":""', "")
    metadata["sha256"] = fingerprint(header, data)
    return raw(header, data)


def test_version_1_is_read_as_times_without_a_zone(path: Path) -> None:
    for model in (SERIES, SYMBOLS):
        old = as_version_1(model)
        assert b"time_zone" not in old
        path.write_bytes(old)
        assert_same(read(path), model)
    # What such a file says is checked as before.
    old = as_version_1(SERIES)
    for changed, named in (
        (old.replace(b'past\\":[\\"wind', b'past\\":[\\"wine'), "scaler.columns"),
        (old.replace(b'dropout\\":0.1', b'dropout\\":0.3'), "metadata.sha256"),
        (old.replace(b'gatewright":"1"', b'gatewright":"2"'), "spec.encoder"),
        (content(SERIES).replace(b'gatewright":"2"', b'gatewright":"1"'), "spec.encoder"),
    ):
        assert changed != old
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match=re.escape(f": {named}")):
            read(path)


def test_a_file_has_the_oldest_version_that_holds_its_model(path: Path) -> None:
    """So that a model that needs nothing new keeps its bytes, and no model has two files."""
    models = ((SERIES, "2"), (SYMBOLS, "2"), (SEASONAL, "3"), (CATEGORIES, "4"), (MERGED, "4"), (VARIANT, "5"))
    models += ((SLSTM, "6"), (STACK, "6"))
    for model, version in models:
        whole = content(model)
        assert parsed(whole)[0]["__metadata__"]["gatewright"] == version
        others = {"1", "2", "3", "4", "5", "6"} - {version}
        for other in others - ({"1"} if model is SYMBOLS else set()):  # of symbols, versions 1 and 2 are the same
            path.write_bytes(whole.replace(f'gatewright":"{version}"'.encode(), f'gatewright":"{other}"'.encode()))
            with pytest.raises(ModelFileError) as caught:
                read(path)
            expected = f"metadata.gatewright: expected version '{version}'"
            if other == "1" and model not in (MERGED, VARIANT, SLSTM, STACK):
                expected = "spec.encoder: expected no field 'time_zone' in a file of version 1"
            assert expected in str(caught.value)


def test_everything_that_counts_is_in_the_fingerprint() -> None:
    seen = {SERIES.fingerprint, SYMBOLS.fingerprint}
    for name, array in SERIES.tensors.items():
        changed = array.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
        seen.add(ModelFile(SERIES_SPEC, {**SERIES.tensors, name: changed}, SCALER).fingerprint)
    spec = ModelSpec(SERIES_SPEC.encoder, StackSpec(3, 2, 0.2, 2), SERIES_SPEC.head)
    seen.add(ModelFile(spec, SERIES.tensors, SCALER).fingerprint)
    zoned = ModelSpec(replace(SERIES_SPEC.encoder, time_zone="UTC"), SERIES_SPEC.lstm, SERIES_SPEC.head)
    seen.add(ModelFile(zoned, SERIES.tensors, SCALER).fingerprint)
    seen.add(ModelFile(SERIES_SPEC, SERIES.tensors, Scaler(COLUMNS, *[SCALER.scale] * 2, (1, 1))).fingerprint)
    assert len(seen) == 2 + len(SERIES.tensors) + 3


def test_weights_read_are_fresh_writable_and_ordered(path: Path) -> None:
    whole = written(SERIES, path)
    model = read(path)
    for array in model.tensors.values():
        assert array.dtype == np.float32
        assert array.dtype.isnative
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.flags.aligned
        array[...] = 0
    assert path.read_bytes() == whole
    assert_same(read(path), SERIES)


def test_order_and_layout_of_what_is_given_do_not_matter(path: Path) -> None:
    turned = {name: np.asfortranarray(array) for name, array in reversed(SERIES.tensors.items())}
    strided = {name: np.repeat(array, 2, axis=0)[::2] for name, array in SERIES.tensors.items()}
    for tensors in (turned, strided):
        assert written(ModelFile(SERIES_SPEC, tensors, SCALER), path) == content(SERIES)


def test_data_may_lie_in_any_order(path: Path) -> None:
    header, data = parsed(content(SERIES))
    shuffled: dict[str, Any] = {}
    body = b""
    for name, entry in reversed(list(header.items())):
        if name == "__metadata__":
            shuffled[name] = entry
            continue
        begin, end = entry["data_offsets"]
        shuffled[name] = {**entry, "data_offsets": [len(body), len(body) + end - begin]}
        body += data[begin:end]
    # An odd length of the header moves the data off every alignment.
    encoded = json.dumps(shuffled).encode()
    path.write_bytes(raw(encoded + b" " * (1 + len(encoded) % 2), body))
    assert_same(read(path), SERIES)


def without(tensors: Any, name: str) -> dict[str, Any]:
    return {key: array for key, array in tensors.items() if key != name}


def with_bad_weight(value: float) -> dict[str, Any]:
    bad = SYMBOLS.tensors["lstm.weight_hh_l0"].copy()
    bad[3, 1] = value
    return {**SYMBOLS.tensors, "lstm.weight_hh_l0": bad}


BIAS = SYMBOLS.tensors["head.bias"]
GIVEN: list[tuple[Callable[[], Any], str]] = [
    (lambda: ModelFile(SERIES_SPEC, SERIES.tensors), "scaler: expected a Scaler, got None"),
    (lambda: ModelFile(SERIES_SPEC, SERIES.tensors, SCALER, VOCABULARY), "vocabulary: expected none"),
    (lambda: ModelFile(SYMBOLS_SPEC, SYMBOLS.tensors), "vocabulary: expected a Vocabulary, got None"),
    (lambda: ModelFile(SYMBOLS_SPEC, SYMBOLS.tensors, SCALER, VOCABULARY), "scaler: expected none"),
    (
        lambda: ModelFile(
            SERIES_SPEC, SERIES.tensors, Scaler(COLUMNS[::-1], SCALER.mean, SCALER.scale, SCALER.change_scale)
        ),
        "scaler.columns: expected those of the encoder, .*'load'.* got .*'area'",
    ),
    (
        lambda: ModelFile(SERIES_SPEC, SERIES.tensors, Scaler(COLUMNS, SCALER.mean, SCALER.scale, (1.0,))),
        "scaler.change_scale: expected one number for each of 2 targets, got 1",
    ),
    (
        lambda: ModelFile(SYMBOLS_SPEC, SYMBOLS.tensors, vocabulary=Vocabulary((UNKNOWN, "a"))),
        "vocabulary: expected the 3 symbols of the encoder, got 2",
    ),
    (lambda: ModelFile("spec", SYMBOLS.tensors), "spec: expected a ModelSpec, got 'spec'"),  # type: ignore[arg-type]
    (
        lambda: ModelFile(
            ModelSpec(SYMBOLS_SPEC.encoder, StackSpec(4, True), SymbolHead()),
            SYMBOLS.tensors,
            vocabulary=VOCABULARY,
        ),
        "spec: .*num_layers",
    ),
    (
        lambda: ModelFile(
            ModelSpec(SYMBOLS_SPEC.encoder, StackSpec(4, 1, np.float32(0.5)), SymbolHead()),  # type: ignore[arg-type]
            SYMBOLS.tensors,
            vocabulary=VOCABULARY,
        ),
        "spec: .*types",
    ),
]
WEIGHTS: list[tuple[dict[str, Any], str]] = [
    (without(SYMBOLS.tensors, "head.bias"), r"tensors: .* got 1 missing: \['head.bias'\]"),
    ({**SYMBOLS.tensors, "head.bais": BIAS}, r"tensors: .* got 1 extra: \['head.bais'\]"),
    (
        {**without(SYMBOLS.tensors, "head.bias"), "\ud800": BIAS},
        r"got 1 missing: \['head.bias'\] and 1 extra: \['\\ud800'\]",
    ),
    ({}, "tensors: expected at least 6 for 1 layers, got 0"),
    ({**SYMBOLS.tensors, "head.bias": BIAS[:2]}, r"tensor 'head.bias': expected shape \(3,\), got \(2,\)"),
    ({**SYMBOLS.tensors, "head.bias": BIAS[:, None]}, r"'head.bias': expected shape \(3,\), got \(3, 1\)"),
    ({**SYMBOLS.tensors, "head.bias": BIAS.astype(float)}, r"'head.bias': expected dtype F32 .* 'float64'"),
    ({**SYMBOLS.tensors, "head.bias": BIAS.astype(">f4")}, r"'head.bias': expected dtype F32"),
    ({**SYMBOLS.tensors, "head.bias": BIAS.tolist()}, r"'head.bias': expected a NumPy array, got a list"),
    (with_bad_weight(math.nan), "'lstm.weight_hh_l0': expected finite weights, got 1 of 64 NaN or infinite"),
    (with_bad_weight(-math.inf), "'lstm.weight_hh_l0': expected finite weights, got 1 of 64"),
]
GIVEN += [
    (lambda tensors=tensors: ModelFile(SYMBOLS_SPEC, tensors, vocabulary=VOCABULARY), match)
    for tensors, match in WEIGHTS
]


@pytest.mark.parametrize(("make", "match"), GIVEN)
def test_what_does_not_fit_together_is_named(make: Callable[[], Any], match: str) -> None:
    with pytest.raises((ModelFileError, SpecError), match=match):
        make()


def test_a_model_that_was_changed_is_checked_again(path: Path) -> None:
    model = ModelFile(SYMBOLS_SPEC, {n: a.copy() for n, a in SYMBOLS.tensors.items()}, vocabulary=VOCABULARY)
    whole = written(model, path)
    model.tensors["head.bias"][0] = math.nan
    with pytest.raises(ModelFileError, match=r"head\.bias"):
        write(path, model)
    assert path.read_bytes() == whole


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    write(tmp_path / "model", SYMBOLS)
    (tmp_path / "link").symlink_to("model")
    assert_same(read(str(tmp_path / "link")), SYMBOLS)


def test_the_scaler_has_to_fit(path: Path) -> None:
    header, data = parsed(content(SERIES))
    metadata = header["__metadata__"]
    metadata["scaler"] = metadata["scaler"].replace('"area"', '"zone"')
    path.write_bytes(raw(header, data))
    with pytest.raises(ModelFileError, match=r"scaler\.columns: expected those of the encoder"):
        read(path)
    metadata["scaler"] = metadata["scaler"].replace('"zone"', '"area"').replace("20.0", "1e999")
    path.write_bytes(raw(header, data))
    with pytest.raises(ModelFileError, match=r"scaler\.mean: expected finite"):
        read(path)


def test_a_header_that_no_one_would_read_is_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = written(SYMBOLS, path)
    monkeypatch.setattr(model_file, "LONGEST_HEADER", 100)
    with pytest.raises(ModelFileError, match="header: expected at most 100 bytes"):
        write(path, SERIES)
    assert path.read_bytes() == whole


# ---- no pickle, no torch ----


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    target = tmp_path / "exploded"
    path = tmp_path / "model.safetensors"
    pickled = pickle.dumps(Bomb(target))
    np.save(tmp_path / "array.npy", np.array([Bomb(target)], object), allow_pickle=True)
    header, data = parsed(content(SYMBOLS))
    header["__metadata__"]["spec"] = pickled.decode("latin-1")
    for hostile in (pickled, (tmp_path / "array.npy").read_bytes(), raw(header, data), raw(pickled, data)):
        path.write_bytes(hostile)
        with pytest.raises(ModelFileError):
            read(path)
    assert not target.exists()
    pickle.loads(pickled)
    assert target.exists()


@pytest.mark.parametrize("module", [model_file, atomic, spec])
def test_no_module_that_runs_data_is_imported(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    forbidden = {
        "pickle",
        "cPickle",
        "_pickle",
        "dill",
        "cloudpickle",
        "joblib",
        "marshal",
        "shelve",
        "torch",
    }
    assert imported
    assert not {name.partition(".")[0] for name in imported} & forbidden
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "id")}
    assert not called & {"eval", "exec", "compile", "__import__"}


def test_torch_is_not_loaded() -> None:
    code = "import sys, gatewright.files.model_file; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_classifier_is_of_version_3_alone(path: Path) -> None:
    write(path, CLASSES)
    assert_same(read(path), CLASSES)
    whole = content(CLASSES)
    assert (parsed(whole)[0]["__metadata__"]["gatewright"], b"bidirectional" in whole) == ("3", True)
    for model in MODELS:  # files of other models have nothing of the new fields
        assert b"bidirectional" not in content(model)
    for text, named in (
        (
            whole.replace(b'gatewright":"3"', b'gatewright":"2"'),
            "version '3', which the fields of spec need",
        ),
        (whole.replace(b'bidirectional\\":true,', b'bidirectional\\":false,'), "tensors|spec|header"),
        (whole.replace(b'pooling\\":\\"attention', b'pooling\\":\\"attentive'), "pooling: expected one of"),
    ):
        assert text != whole
        path.write_bytes(text)
        with pytest.raises(ModelFileError, match=named):
            read(path)
    with pytest.raises(SpecError, match=r"bidirectional: expected false with a head of kind 'next_symbol'"):
        replace(SYMBOLS_SPEC, lstm=StackSpec(4, bidirectional=True))


# ---- the document ----


def test_the_document_names_every_field_and_key(path: Path) -> None:
    document = Path(__file__).parents[2] / "docs" / "model-file.md"
    text = document.read_text(encoding="utf-8")
    names = {
        "gatewright",
        "spec",
        "scaler",
        "vocabulary",
        "sha256",
        "written_by",
        *spec.CALENDAR,
        *spec.READS,
    }
    for model in ALL_MODELS:
        for part in (model.spec, model.scaler, model.vocabulary, CALIBRATED):
            if part is not None:
                names |= set(re.findall(r'"(\w+)":', part.to_json()))
    names |= {re.sub(r"\d+(?=$|\.weight)", "{n}", name) for model in ALL_MODELS for name in model.spec.tensors()}
    names = {name for name in names if not name.endswith("_reverse")} | set(spec.POOLINGS)
    assert {name for name in names if f"`{name}`" not in text} == set()
    for part in (spec.SeriesEncoder, spec.SymbolEncoder, spec.FeatureEncoder, spec.QuantileHead, spec.SymbolHead,
                 spec.ClassHead, spec.StepClassHead):  # fmt: skip
        assert f"`{part.kind}`" in text
    assert f"version {model_file.FORMAT}" in text
    assert f"{model_file.LONGEST_HEADER:,}" in text
