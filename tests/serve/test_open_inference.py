"""The Open Inference Protocol: sequences are sessions, so that none is dropped or mixed with another."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gatewright.serve.settings import Limits
from tests.support.class_models import class_model
from tests.support.local_server import Local, local, numbers
from tests.support.stream_models import rows_of, series_model, table, text_model

SERIES = series_model()
CLASSES = class_model("", categories=True)
ROWS = rows_of(SERIES, table(SERIES, 30), 24)
TIMES = [str(time) for time in table(SERIES, 30).times[:24]]  # type: ignore[index]
TOKENS = {"ann-0123456789abcdef": "ann", "bob-0123456789abcdef": "bob"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    named = {"text": text_model().stream(sessions=2), "tags": CLASSES.stream(sessions=2)}
    limits = Limits(max_steps=50)
    folder = tmp_path_factory.mktemp("v2")
    with local(SERIES.stream(sessions=2), folder, named=named, limits=limits, tokens=TOKENS) as running:
        running.http.headers["authorization"] = "Bearer ann-0123456789abcdef"
        yield running


def nulls(rows: Any) -> list[Any]:
    return [None if value != value else value for value in np.asarray(rows).reshape(-1).tolist()]


def series(first: int, last: int) -> list[dict[str, Any]]:
    x = ROWS[first:last]
    return [
        {"name": "x", "datatype": "FP64", "shape": list(x.shape), "data": nulls(x)},
        {"name": "times", "datatype": "BYTES", "shape": [len(x)], "data": TIMES[first:last]},
    ]


def text(data: str) -> list[dict[str, Any]]:
    return [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [data]}]


def infer(server: Local, inputs: Any, model: str = "default", **parameters: Any) -> httpx.Response:
    return server.http.post(f"/v2/models/{model}/infer", json={"inputs": inputs, "parameters": parameters})


def y_of(response: httpx.Response) -> np.ndarray[Any, Any]:
    assert response.status_code == 200, response.text
    [tensor] = response.json()["outputs"]
    return numbers(tensor["data"]).reshape(tensor["shape"])


def error(response: httpx.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["error"])


def test_the_server_and_its_models_describe_themselves(server: Local) -> None:
    assert server.http.get("/v2").json()["extensions"] == ["sequence", "binary_tensor_data"]
    for path in ("health/live", "health/ready", "models/text/ready"):
        assert server.http.get(f"/v2/{path}").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{server.port}/v2/health/ready").status_code == 200  # without a token
    found = server.http.get("/v2/models/default").json()
    columns = server.http.get("/v1/model").json()["columns"]
    assert found["inputs"] == [
        {"name": "x", "datatype": "FP64", "shape": [-1, len(columns)]},
        {"name": "times", "datatype": "BYTES", "shape": [-1]},
    ]
    assert found["outputs"] == [{"name": "y", "datatype": "FP64", "shape": [-1, 3, 2, 3]}]
    assert server.http.get("/v2/models/text").json()["inputs"][0]["name"] == "text"
    for path in ("models/nothing", "models/nothing/ready"):
        assert "a model of this server" in error(server.http.get(f"/v2/{path}"), 404)
    assert "a model of this server" in error(infer(server, text("a"), "nothing", sequence_id=1), 404)


def test_a_sequence_gives_the_bits_of_a_stream(server: Local) -> None:
    expected = SERIES.stream().run(ROWS, times=TIMES)
    for number in (7, "seven", 2**64 - 1):  # each with a state of its own
        found, first = [], 0
        for last in (5, 6, 24):
            answer = infer(
                server, series(first, last), sequence_id=number, sequence_start=first == 0, sequence_end=last == 24
            )
            found.append(y_of(answer))
            told = answer.json()["parameters"]
            assert told == {"sequence_id": number, "steps": last, "state_steps": last, "repeated": False}
            first = last
        assert np.array_equal(np.concatenate(found), expected, equal_nan=True)
        assert "a sequence that has started" in error(infer(server, series(0, 1), sequence_id=number), 404)


def test_sequences_of_users_and_models_are_apart(server: Local) -> None:
    alone = text_model().stream()
    bob = {"authorization": "Bearer bob-0123456789abcdef"}
    y_of(infer(server, text("abc"), "text", sequence_id=1, sequence_start=True))
    y_of(infer(server, series(0, 2), sequence_id=1, sequence_start=True))
    body = {"inputs": text("d"), "parameters": {"sequence_id": 1}}
    other = server.http.post("/v2/models/text/infer", json=body, headers=bob)
    assert "a sequence that has started" in error(other, 404)
    assert "a sequence that has started" in error(infer(server, text("d"), "text", sequence_id="1"), 404)
    assert np.array_equal(y_of(infer(server, text("d"), "text", sequence_id=1)), alone.run("abcd")[3:])
    # Its session is one like others, for its user.
    [session] = server.http.get("/v1/models/text/sessions").json()["sessions"]
    assert server.http.get(f"/v1/models/text/sessions/{session}").json()["steps"] == 4
    assert server.http.get(f"/v1/models/text/sessions/{session}", headers=bob).status_code == 404
    for headers in ({}, bob):  # nobody takes such a name
        refused = server.http.post("/v1/sessions", json={"name": session}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["argument"]) == (422, "name")
        fork = server.http.post(f"/v1/models/text/sessions/{session}/fork", json={"name": "inference-" + "A" * 22})
        assert fork.status_code == 422


def test_a_start_begins_again_and_a_retry_does_not(server: Local) -> None:
    expected = text_model().stream().run("abcd")
    own = {"model": "text", "sequence_id": "again"}
    for _ in range(2):
        assert np.array_equal(y_of(infer(server, text("ab"), sequence_start=True, **own)), expected[:2])
    first = infer(server, text("ab"), sequence_start=True, **{**own, "sequence_id": "retry"}, first=0)
    again = infer(server, text("ab"), sequence_start=True, **{**own, "sequence_id": "retry"}, first=0)
    assert first.json()["parameters"]["repeated"] is False
    assert again.json()["parameters"]["repeated"] is True
    assert np.array_equal(y_of(first), y_of(again))
    for _ in range(2):
        y = y_of(infer(server, text("cd"), **{**own, "sequence_id": "retry"}, first=2))
        assert np.array_equal(y, expected[2:])
    error(infer(server, text("cd"), **{**own, "sequence_id": "retry"}, first=1), 409)
    error(infer(server, text("xx"), sequence_start=True, **{**own, "sequence_id": "retry"}, first=0), 409)


def test_nothing_is_dropped_after_idle(server: Local) -> None:
    own = {"model": "text", "sequence_id": "idle"}
    y_of(infer(server, text("abc"), sequence_start=True, **own))
    for number in range(4):  # more than are in memory
        y_of(infer(server, text("a"), "text", sequence_id=f"other {number}", sequence_start=True))
    server.run(server.models.drop_idle())
    assert np.array_equal(y_of(infer(server, text("d"), **own)), text_model().stream().run("abcd")[3:])


def test_columns_are_tensors_where_values_are_categories(server: Local) -> None:
    found = server.http.get("/v2/models/tags").json()["inputs"]
    assert [(each["name"], each["datatype"]) for each in found] == [("a", "FP64"), ("b", "FP64"), ("c", "BYTES")]
    rows: list[list[Any]] = [[1.0, None, 7], [2.5, -1.0, 9], [0.0, 3.0, 99]]
    inputs = [
        {"name": "c", "datatype": "INT64", "shape": [3, 1], "data": [row[2] for row in rows]},
        {"name": "a", "datatype": "FP32", "shape": [3], "data": [row[0] for row in rows]},
        {"name": "b", "datatype": "FP64", "shape": [3], "data": [row[1] for row in rows]},
    ]
    y = y_of(infer(server, inputs, "tags", sequence_id=1, sequence_start=True))
    session = server.http.post("/v1/models/tags/sessions").json()["session"]
    expected = server.http.post(f"/v1/models/tags/sessions/{session}/advance", json={"x": rows}).json()["y"]
    assert np.array_equal(y, np.array(expected))


def test_binary_tensors(server: Local) -> None:
    x, times = ROWS[:4], b"".join(struct.pack("<I", len(time)) + time.encode() for time in TIMES[:4])
    inputs = [
        {"name": "x", "datatype": "FP64", "shape": list(x.shape), "parameters": {"binary_data_size": x.nbytes}},
        {"name": "times", "datatype": "BYTES", "shape": [4], "parameters": {"binary_data_size": len(times)}},
    ]
    outputs = [{"name": "y", "parameters": {"binary_data": True}}]
    parameters = {"sequence_id": "binary", "sequence_start": True}
    head = json.dumps({"id": "7", "inputs": inputs, "outputs": outputs, "parameters": parameters}).encode()
    body, size = head + x.astype("<f8").tobytes() + times, "inference-header-content-length"
    answer = server.http.post("/v2/models/default/infer", content=body, headers={size: str(len(head))})
    assert answer.status_code == 200, answer.text
    told = int(answer.headers[size])
    found = json.loads(answer.content[:told])
    assert found["id"] == "7"
    y = np.frombuffer(answer.content[told:], "<f8").reshape(found["outputs"][0]["shape"])
    assert np.array_equal(y, SERIES.stream().run(x, times=TIMES[:4]), equal_nan=True)
    for wrong in (str(len(head) + 10**6), "-1", "a", "9" * 20):
        refused = server.http.post("/v2/models/default/infer", content=body, headers={size: wrong})
        assert "the size of the JSON in bytes" in error(refused)
    for wrong_body in (body[:-1], body + b"x"):
        refused = server.http.post("/v2/models/default/infer", content=wrong_body, headers={size: str(len(head))})
        assert "bytes" in error(refused)


TEXT = text("a")[0]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no sequence": ({"parameters": {}}, "sequence_id: expected a number from 1"),
    "sequence 0": ({"parameters": {"sequence_id": 0}}, "sequence_id: expected a number from 1"),
    "a truth value": ({"parameters": {"sequence_id": True}}, "sequence_id"),
    "a long name": ({"parameters": {"sequence_id": "a" * 129}}, "sequence_id"),
    "a start of 1": ({"parameters": {"sequence_id": 1, "sequence_start": 1}}, "sequence_start: expected true or"),
    "a start later": ({"parameters": {"sequence_id": 1, "sequence_start": True, "first": 3}}, "first: expected 0"),
    "an unknown parameter": ({"parameters": {"sequence_id": 1, "sequence_stop": 1}}, "parameters.sequence_stop"),
    "no inputs": ({"inputs": []}, "inputs"),
    "another tensor": ({"inputs": [{**TEXT, "name": "y"}]}, "inputs: expected a tensor named text"),
    "two of a name": ({"inputs": [TEXT, TEXT]}, "one tensor of each name"),
    "too few values": ({"inputs": [{**TEXT, "data": []}]}, "text.data: expected 1 values"),
    "another type": ({"inputs": [{**TEXT, "data": [5]}]}, "text.data: expected values of BYTES"),
    "a shape of nothing": ({"inputs": [{**TEXT, "shape": [2**31 - 1, 0], "data": []}]}, "shape"),
    "a huge shape": ({"inputs": [{**TEXT, "shape": [2**30, 2**30], "data": []}]}, "fewer values in one request"),
    "no data": ({"inputs": [{key: TEXT[key] for key in ("name", "datatype", "shape")}]}, "text.data"),
    "bytes that are not there": (
        {"inputs": [{**TEXT, "data": None, "parameters": {"binary_data_size": 9}}]},
        "text.binary_data_size: expected the number of the tensor's bytes",
    ),
    "shared memory": (
        {"inputs": [{**TEXT, "data": None, "parameters": {"shared_memory_region": "a"}}]},
        "text.data",
    ),
    "another output": ({"outputs": [{"name": "z"}]}, "outputs: expected y"),
    "classification": ({"outputs": [{"name": "y", "parameters": {"classification": 1}}]}, "binary_data only"),
    "too many steps": ({"inputs": [{**TEXT, "data": ["a" * 51]}]}, "x: expected at most 50 steps"),
    "numbers": ({"inputs": [{"name": "symbols", "datatype": "FP32", "shape": [1], "data": [0.5]}]}, "x"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_and_nothing_changes(server: Local, name: str) -> None:
    changes, expected = REFUSED[name]
    own = {"sequence_id": 1, "sequence_start": True}
    before = server.http.get("/v1/models/text/sessions").json()
    answer = server.http.post(
        "/v2/models/text/infer", json={"inputs": [TEXT], "parameters": {**own, "sequence_id": name}, **changes}
    )
    assert expected in error(answer)
    assert server.http.get("/v1/models/text/sessions").json() == before
    # Nor does a sequence begin again.
    y_of(infer(server, text("ab"), "text", sequence_id=name, sequence_start=True))
    bad = {"inputs": [{**TEXT, "data": ["a" * 51]}], "parameters": {**own, "sequence_id": name}}
    error(server.http.post("/v2/models/text/infer", json=bad))
    y = y_of(infer(server, text("cd"), "text", sequence_id=name, sequence_end=True))
    assert np.array_equal(y, text_model().stream().run("abcd")[2:])
    assert server.http.get("/v1/models/text/sessions").json() == before


def test_symbols_are_text(server: Local) -> None:
    symbols = [server.http.get("/v1/models/text").json()["symbols"].index(symbol) for symbol in "abc"]
    inputs = [{"name": "symbols", "datatype": "INT64", "shape": [3], "data": symbols}]
    y = y_of(infer(server, inputs, "text", sequence_id="symbols", sequence_start=True, sequence_end=True))
    assert np.array_equal(y, text_model().stream().run("abc"))


def test_sequences_count_towards_the_quota(tmp_path: Path) -> None:
    with local(text_model().stream(), tmp_path, limits=Limits(max_token_sessions=2)) as server:
        for number in (1, 2):
            y_of(infer(server, text("a"), sequence_id=number, sequence_start=True))
        limited = infer(server, text("a"), sequence_id=3, sequence_start=True)
        assert limited.headers["retry-after"] == "60"
        assert "at most 2 of one owner" in error(limited, 429)
        y_of(infer(server, text("a"), sequence_id=1, sequence_end=True))
        y_of(infer(server, text("a"), sequence_id=3, sequence_start=True))
