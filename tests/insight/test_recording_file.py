"""A recording is read as it was written; what does not fit together, or was tampered with, is none."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import LSTM, look
from gatewright.equations import QUANTITIES
from gatewright.errors import GatewrightError, ModelFileError
from gatewright.insight.layers import Peer
from gatewright.insight.recording import Recording
from gatewright.insight.recording_file import is_recording
from gatewright.spec.recording import Edit
from tests.support.recordings import record, recording
from tests.support.small_models import forecaster, language_model, rows_of, write_cells

ARRAYS = (
    "lengths", "inputs", "predictions", "targets", "columns", "times", "symbols", "readout_weight", "readout_bias",
)  # fmt: skip


def with_peer(whole: Recording) -> Recording:
    peer = Peer(whole.layers[0].forward.hidden + 1, whole.predictions + 2)
    return dataclasses.replace(whole, peer=peer, about=dataclasses.replace(whole.about, peer="plain RNN"))


def of_text() -> Recording:
    return with_peer(look(language_model(), "abc dead\n", title="π ≈ 3"))


def of_layers(dtype: torch.dtype = torch.float32, **options: Any) -> Recording:
    torch.manual_seed(0)
    x = torch.randn(5, 2, 3, dtype=dtype)
    lstm = LSTM(3, 4, num_layers=2, bidirectional=True, dtype=dtype, **options)
    return look(lstm, pack_padded_sequence(x, [3, 5], enforce_sorted=False))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    path = tmp_path_factory.mktemp("sites") / "sites.csv"
    table, model = forecaster(write_cells(path, rows_of("north", 60, 1) + rows_of("south", 70, 2)))
    edits = [Edit(0, False, 0, 3, 1, -2.5), Edit(0, True, 0, 2, 0, 1e-300)]
    f = np.full((6, 1, 2), 0.5)
    return {
        "series": with_peer(look(model, table.table, steps=20)),
        "a part of the time": look(model, table.table).select(steps=slice(5, 25), rows=[1]),
        "text": of_text(),
        "layers": of_layers(torch.float64),
        "projected": of_layers(proj_size=2),
        "edited": recording(record(f), record(f, reverse=True), edits=edits),
    }


KINDS = ("series", "a part of the time", "text", "layers", "projected", "edited")


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read(kind: str, kinds: dict[str, Recording], tmp_path: Path) -> None:
    whole = kinds[kind]
    whole.save(tmp_path / "a.safetensors")
    found = Recording.load(str(tmp_path / "a.safetensors"))
    assert found.about == whole.about
    assert found.model is None
    for name in ARRAYS:
        ours, theirs = getattr(found, name), getattr(whole, name)
        if theirs is None:
            assert ours is None
        else:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    assert [name for name, _ in found.records()] == [name for name, _ in whole.records()]
    for (_, one), (_, other) in zip(found.records(), whole.records(), strict=True):
        for name in (*QUANTITIES, "cell_initial", "hidden_initial"):
            ours, theirs = getattr(one, name), getattr(other, name)
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            assert ours.tobytes() == theirs.tobytes()
    assert (found.peer is None) == (whole.peer is None)
    if found.peer is not None and whole.peer is not None:
        np.testing.assert_array_equal(found.peer.hidden, whole.peer.hidden)
        np.testing.assert_array_equal(found.peer.predictions, whole.peer.predictions)
    np.testing.assert_array_equal(found.error(), whole.error())
    np.testing.assert_array_equal(found.ledger(0, 2).edited, whole.ledger(0, 2).edited)
    assert not found.difference(whole).predictions.any()
    assert is_recording(tmp_path / "a.safetensors")


def test_times_of_another_unit_keep_their_meaning(tmp_path: Path, kinds: dict[str, Recording]) -> None:
    whole = kinds["series"]
    assert whole.times is not None
    dataclasses.replace(whole, times=whole.times.astype("datetime64[s]")).save(tmp_path / "a")
    np.testing.assert_array_equal(Recording.load(tmp_path / "a").times, whole.times)


def test_a_recording_is_read_without_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    of_text().save(tmp_path / "a")
    code = "import sys; from gatewright.insight import Recording; r = Recording.load(sys.argv[1]); r.ledger(0, 3)"
    code += "; r.lifetime(0, 1); r.error(); r.select(steps=slice(1, 4)); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)


# Hostile files


def parsed(data: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def raw(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("recordings") / "text.safetensors"
    of_text().save(path)
    return path.read_bytes()


Change = Callable[[dict[str, Any], dict[str, Any]], None]


def tampered(content: bytes, path: Path, change: Change) -> Path:
    """Write the file with its tensors and metadata changed."""
    metadata = parsed(content)[0]["__metadata__"]
    tensors = safetensors.numpy.load(content)
    change(tensors, metadata)
    path.write_bytes(safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata))
    return path


def put(name: str, value: Any) -> Change:
    """Change a tensor by a function; `...` takes it away."""

    def change(tensors: dict[str, Any], _: dict[str, Any]) -> None:
        if value is ...:
            del tensors[name]
        else:
            tensors[name] = value(tensors.get(name))

    return change


def bad(name: str, place: tuple[int, ...], value: float) -> Change:
    def change(array: Any) -> Any:
        array = array.copy()
        array[place] = value
        return array

    return put(name, change)


def told(old: str, new: str) -> Change:
    def change(_: dict[str, Any], metadata: dict[str, Any]) -> None:
        assert old in metadata["about"]
        metadata["about"] = metadata["about"].replace(old, new)

    return change


def said(**metadata_: str | None) -> Change:
    def change(_: dict[str, Any], metadata: dict[str, Any]) -> None:
        for name, value in metadata_.items():
            if value is None:
                del metadata[name]
            else:
                metadata[name] = value

    return change


LAYER = "layers.0.forward"
HOSTILE: dict[str, tuple[Change, str]] = {
    "no inputs": (put("inputs", ...), "expected a whole recording, got one without inputs"),
    "no lengths": (put("lengths", ...), "expected a whole recording, got one without lengths"),
    "no gate": (
        put(f"{LAYER}.output_gate", ...),
        f"expected a whole recording, got one without {LAYER}.output_gate",
    ),
    "no cell": (put(f"{LAYER}.cell", ...), f"expected a whole recording, got one without {LAYER}.cell"),
    "no initial state": (put(f"{LAYER}.cell_initial", ...), f"got one without {LAYER}.cell_initial"),
    "no layer between": (
        put("layers.2.forward.cell", lambda _: np.zeros(1)),
        "expected a recording and nothing else, got one with 'layers.2.forward.cell' too",
    ),
    "half a reverse direction": (
        put("layers.0.reverse.cell", lambda _: np.zeros(1)),
        "got one without layers.0.reverse.input_gate",
    ),
    "more": (put("weights", lambda _: np.zeros(1)), "nothing else, got one with 'weights' too"),
    "no peer": (put("peer.hidden", ...), "got one without peer.hidden"),
    "a peer of no name": (told('"peer":"plain RNN"', '"peer":""'), "got one with 'peer.hidden' too"),
    "no targets": (put("targets", ...), r"targets: expected whole numbers of shape \(9, 1\), got NoneType"),
    "no bias": (put("readout_bias", ...), r"readout_bias: expected floats of shape \(9\), got NoneType"),
    "a number": (put("predictions", lambda _: np.float32(3)), r"predictions: expected floats .*, got float32 of"),
    "flat inputs": (put("inputs", lambda a: a[:, 0]), r"inputs: expected floats of shape \(any, any, any\)"),
    "a flat cell": (put(f"{LAYER}.cell", lambda a: a.ravel()), r"layer 0 forward cell: expected floats of shape"),
    "a short gate": (
        put(f"{LAYER}.input_gate", lambda a: a[1:]),
        r"layer 0 forward input_gate: expected floats of shape \(9, 1, 9\), got float32 of shape \(8, 1, 9\)",
    ),
    "another H": (
        put(f"{LAYER}.candidate", lambda a: a[..., 1:]),
        "layer 0 forward candidate: expected floats of",
    ),
    "whole numbers": (put(f"{LAYER}.cell", lambda a: a.astype("i4")), "layer 0 forward cell: .*, got int32 of"),
    "logical": (put("inputs", lambda a: a > 0), "inputs: expected floats .*, got bool of"),
    "float lengths": (put("lengths", lambda a: a.astype("f8")), "lengths: expected whole numbers .*, got float64"),
    "unsigned": (put("symbols", lambda a: a.astype("u8")), "symbols: expected whole numbers .*, got uint64"),
    "a longer length": (
        put("lengths", lambda a: a + 1),
        "lengths: expected at most the 9 steps of the data, got 10",
    ),
    "a negative length": (put("lengths", lambda a: -a), r"data: expected at least one step .* lengths \[-9\]"),
    "no steps": (put("inputs", lambda a: a[:0]), "data: expected at least one step in every row"),
    "two rows": (
        put("lengths", lambda a: np.repeat(a, 2)),
        r"lengths: expected whole numbers of shape \(1\), got",
    ),
    "a symbol too many": (put("symbols", lambda a: a + 9), "symbols: expected numbers from 0 to 8, got "),
    "a target too many": (bad("targets", (2, 0), 9), "targets: expected numbers from -1 to 8, got "),
    "an overflow": (bad("targets", (2, 0), 2**62), "targets: expected numbers from -1 to 8, got "),
    "nan in a gate": (
        bad(f"{LAYER}.forget_gate", (3, 0, 4), math.nan),
        "layer 0 forward, forget gate: expected finite numbers, got nan at step 3, row 0, unit 4",
    ),
    "infinite cell": (
        bad(f"{LAYER}.cell", (8, 0, 1), math.inf),
        "layer 0 forward, cell: expected finite numbers, got inf at step 8, row 0, unit 1",
    ),
    "nan before": (
        bad(f"{LAYER}.cell_initial", (0, 1), math.nan),
        "layer 0 forward, cell_initial: expected finite",
    ),
    "nan input": (bad("inputs", (0, 0, 0), math.nan), "inputs: expected finite numbers, got nan"),
    "nan said": (bad("predictions", (1, 0, 0), math.nan), "predictions: expected finite numbers, got nan"),
    "nan head": (bad("readout_weight", (1, 0), -math.inf), "readout_weight: expected finite numbers, got -inf"),
    "nan peer": (
        bad("peer.predictions", (1, 0, 0), math.nan),
        "peer predictions: expected finite numbers, got nan",
    ),
    "a peer of another size": (
        put("peer.predictions", lambda a: a[..., 1:]),
        "peer predictions: expected floats of",
    ),
    "bad json": (said(about="{"), "about: expected JSON, got "),
    "nan in json": (told('"edits":[]', '"edits":NaN'), "about: expected JSON, got .*NaN"),
    "a list": (said(about="[]"), "about: expected "),
    "another field": (told('"note":', '"remark":'), "about"),
    "another type": (told('"note":""', '"note":3'), "about.note: expected "),
    "another kind": (told('"kind":"text"', '"kind":"sound"'), "about.data"),
    "no about": (said(about=None), "expected a whole recording, got one without a description"),
    "two rows told": (
        told('"rows":[""]', '"rows":["",""]'),
        "about: expected names of 1 rows and 5 inputs, got 2 and 5",
    ),
    "an edit of no unit": (
        told('"edits":[]', '"edits":[{"added":1.0,"layer":0,"reverse":false,"row":0,"t":0,"unit":9}]'),
        r"about.edits: expected edits of units and steps that the recording has, got Edit\(layer=0",
    ),
    "an edit of no layer": (
        told('"edits":[]', '"edits":[{"added":1.0,"layer":-1,"reverse":false,"row":0,"t":0,"unit":0}]'),
        "about.edits: expected edits of units",
    ),
    "an edit of no direction": (
        told('"edits":[]', '"edits":[{"added":1.0,"layer":0,"reverse":true,"row":0,"t":0,"unit":0}]'),
        "about.edits: expected edits of units",
    ),
    "too new": (said(gatewright_recording="3"), "expected a recording of format 1 or 2, got format '3'"),
    "a model": (said(gatewright_recording=None), "expected a recording of format 1 or 2, got another file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_name(name: str, content: bytes, tmp_path: Path) -> None:
    change, message = HOSTILE[name]
    path = tampered(content, tmp_path / "hostile.safetensors", change)
    with pytest.raises(GatewrightError, match=message):
        Recording.load(path)


def test_a_hostile_forecast_is_refused_by_name(kinds: dict[str, Recording], tmp_path: Path) -> None:
    kinds["series"].save(tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    for change, message in (
        (put("times", lambda a: a.astype("f8")), "times: expected timestamps of shape .*, got float64"),
        (put("times", lambda a: a[1:]), "times: expected timestamps of shape"),
        (put("columns", ...), "columns: expected floats of .*, got NoneType"),
        (
            put("targets", lambda a: a[..., :1]),
            r"targets: expected floats of shape \(20, 2, 3, 2\), got float64 of",
        ),
        (told('"horizon":3', '"horizon":2'), r"predictions: expected floats of shape \(20, 2, 2, 2, 3\), got"),
        (told('"quantiles":[0.1,0.5,0.9]', '"quantiles":[0.1,0.4,0.9]'), "0.5 among the quantiles"),
        (told('"targets":["load","flow"]', '"targets":["load"]'), "about.data: expected 1 scales"),
    ):
        path = tampered(content, tmp_path / "hostile", change)
        with pytest.raises(GatewrightError, match=message):
            Recording.load(path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_types_that_numpy_does_not_have(dtype: torch.dtype, content: bytes, tmp_path: Path) -> None:
    tensors = safetensors.torch.load(content)
    tensors[f"{LAYER}.cell"] = tensors[f"{LAYER}.cell"].to(dtype)
    (tmp_path / "a").write_bytes(safetensors.torch.save(tensors, parsed(content)[0]["__metadata__"]))
    # Where ml_dtypes has been imported, NumPy has bfloat16 after all, and it is its kind that does not fit.
    with pytest.raises(GatewrightError, match=r"expected a recording, got |expected floats of shape"):
        Recording.load(tmp_path / "a")


def test_what_is_no_safetensors_file_is_no_recording(tmp_path: Path, content: bytes) -> None:
    language_model().save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="expected a recording of format 1 or 2, got another file"):
        Recording.load(tmp_path / "model")
    assert not is_recording(tmp_path / "model")
    for number, data in enumerate(
        (b"", b"1234567", b"a text of some length", b"PK\3\4" + b"\0" * 60, content[:-1])
    ):
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=f"^{path}: expected a recording, got "):
            Recording.load(path)
        assert is_recording(path) == (data == content[:-1])  # cut off, it still says what it is
    for path, why in (
        (tmp_path, "it is a directory, not a file"),
        (tmp_path / "nothing", "the file does not exist"),
    ):
        with pytest.raises(ModelFileError, match=f"^{path}: {why}$"):
            Recording.load(path)
        assert not is_recording(path)


def test_what_stood_there_stays_if_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        of_text().save(tmp_path / "nothing" / "a.safetensors")


def test_overlaps_and_holes_are_refused(content: bytes, tmp_path: Path) -> None:
    header, data = parsed(content)
    for change in ({"data_offsets": [0, 4]}, {"data_offsets": [len(data), len(data) + 4]}, {"shape": [10**12]}):
        other = json.loads(json.dumps(header))
        other["inputs"] |= change
        (tmp_path / "a").write_bytes(raw(other, data))
        with pytest.raises(ModelFileError, match="expected a recording, got "):
            Recording.load(tmp_path / "a")


@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_a_file_with_other_bytes_is_read_or_refused(
    data: st.DataObject, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    changed = bytearray(content)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    places = st.integers(0, header - 1) | st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255) | st.sampled_from(b'0123456789,:"[]{}FIUB'))
    path.write_bytes(bytes(changed[: data.draw(st.just(len(changed)) | st.integers(0, len(changed)))]))
    try:
        found = Recording.load(path)
    except GatewrightError:
        return
    # What is read can be used.
    found.error()
    found.ledger(0, -1)
    found.lifetime(0, 0)
    found.select(steps=slice(1, None), rows=[0], units=[0])
    found.save(path)


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_a_file_with_another_header_is_read_or_refused(
    data: st.DataObject, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Types and shapes that keep the size of a tensor pass safetensors' own checks."""
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    header, body = parsed(content)
    names = sorted(name for name in header if name != "__metadata__")
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        entry = header[name]
        size = {"F32": 4, "F64": 8, "I64": 8}[entry["dtype"]]
        same = {4: ["F32", "I32", "U32"], 8: ["F64", "I64", "U64"]}[size]
        entry["dtype"] = data.draw(st.sampled_from(same))
        count = math.prod(entry["shape"])
        shapes = [[count], [1, count], [count, 1], [1, 1, count], entry["shape"][::-1], [*entry["shape"], 1]]
        entry["shape"] = data.draw(st.sampled_from([entry["shape"], *shapes]))
    path.write_bytes(raw(header, body))
    try:
        found = Recording.load(path)
    except GatewrightError:
        return
    found.error()
    found.ledger(0, -1)
    found.select(steps=slice(1, None), rows=[0], units=[0])
