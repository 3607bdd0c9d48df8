"""What a server refuses over HTTP: the status, three parts that say why, nothing else, and nothing changes."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gatewright.errors import StateError
from gatewright.serve.http import middleware
from gatewright.serve.settings import Limits
from tests.support.local_server import Local, local
from tests.support.stream_models import series_model, text_model
from tests.support.waiting import HANG, wait_until

SMALL = Limits(max_body=2000, max_steps=100)
NOBODY = "A" * 32


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with local(text_model().stream(sessions=3), tmp_path_factory.mktemp("text"), limits=SMALL) as server:
        yield server


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with local(series_model().stream(sessions=3), tmp_path_factory.mktemp("series"), limits=SMALL) as server:
        yield server


def told(response: httpx.Response, status: int) -> dict[str, str]:
    """Return the three parts of an error, which are all that there is."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"argument", "expected", "got"}
    assert all(isinstance(part, str) and part for part in body["error"].values())
    for secret in ("Traceback", ".py", "/tmp", "sessions.db", "sqlite", "gatewright."):
        assert secret not in response.text
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    found: dict[str, str] = body["error"]
    return found


#: What does not fit a text model: the body, and what the error names.
UNFIT: list[tuple[Any, str]] = [
    ({}, "x"),
    ({"x": None}, "x"),
    ({"x": []}, "x"),
    ({"x": ""}, "x"),
    ({"x": 5}, "x"),
    ({"x": True}, "x"),
    ({"x": {"a": 1}}, "x"),
    ({"x": [True]}, "x.0"),
    ({"x": [-1]}, "x.0"),
    ({"x": [1.5]}, "x.0"),
    ({"x": [[1.0]]}, "x"),
    ({"x": [[None]]}, "x"),
    ({"x": [[[1]]]}, "x.0.0"),
    ({"x": [12.8, 5, 0, "x"]}, "x.3"),
    ({"x": [[12.8, 5], [0, "x"]]}, "x.1.1"),
    ({"x": [[12.8, 5], 0]}, "x.1"),
    ({"x": [1, 2, 99999999999]}, "x.2"),
    ({"x": [99]}, "x"),
    ({"x": [2**31]}, "x.0"),
    ({"x": "a" * 101}, "x"),
    ({"x": "a", "first": -1}, "first"),
    ({"x": "a", "first": "0"}, "first"),
    ({"x": "a", "first": 0.0}, "first"),
    ({"x": "a", "first": True}, "first"),
    ({"x": "a", "first": 2**63}, "first"),
    ({"x": "a", "outputs": "some"}, "outputs"),
    ({"x": "a", "times": ["2024-01-01T00:00"]}, "times"),
    ({"x": "a", "more": 1}, "more"),
    ([], "body"),
    ("a", "body"),
    (None, "body"),
]


@pytest.mark.parametrize(("body", "argument"), UNFIT, ids=[json.dumps(body)[:40] for body, _ in UNFIT])
def test_steps_that_do_not_fit(text: Local, body: Any, argument: str) -> None:
    session = text.create()
    text.advance(session, "abc", first=0)
    before = text.snapshot(session)
    answer = text.http.post(f"/v1/sessions/{session}/advance", json=body)
    assert told(answer, 422)["argument"] == argument
    assert text.snapshot(session) == before


RAW = {
    "nothing": b"",
    "half": b'{"x": "a',
    "other bytes": b"\xff\xfe\x00",
    "deep": b'{"x": ' + b"[" * 900 + b"]" * 900 + b"}",
    "deeper": b"[" * 1900,
    "a long number": b'{"x": [' + b"1" * 1900 + b"]}",
    "NaN": b'{"x": [[NaN]]}',
    "infinity": b'{"x": [[-Infinity]]}',
    "too large": b'{"x": [[1e999]]}',
    "half a symbol": b'{"x": "\\ud800"}',
    "half a name": b'{"\\udfff": 1}',
}


@pytest.mark.parametrize("body", RAW.values(), ids=RAW)
@pytest.mark.parametrize("server", ["text", "series"])
def test_bodies_that_are_no_json_or_hardly(server: str, body: bytes, request: pytest.FixtureRequest) -> None:
    asked: Local = request.getfixturevalue(server)
    session = asked.create()
    before = asked.snapshot(session)
    for what in ("advance", "generate"):
        url = f"/v1/sessions/{session}/{what}"
        told(asked.http.post(url, content=body, headers={"content-type": "application/json"}), 422)
    assert asked.snapshot(session) == before


ROW = [1.0] * 10
HOUR = ["2024-01-01T00:00"]
UNFIT_ROWS: list[tuple[Any, str]] = [
    ({"x": [ROW]}, "times"),
    ({"x": [ROW], "times": []}, "times"),
    ({"x": [ROW], "times": HOUR * 2}, "times"),
    ({"x": [ROW], "times": ["now"]}, "times"),
    ({"x": [ROW, ROW], "times": ["2024-01-01T00:00Z", "now"]}, "times"),
    ({"x": [ROW], "times": ["2024-01-01T00:00+99:99"]}, "times"),
    ({"x": [ROW], "times": [5]}, "times.0"),
    ({"x": [ROW], "times": HOUR[0]}, "times"),
    ({"x": [ROW], "times": ["2" * 65]}, "times.0"),
    ({"x": [ROW[1:]], "times": HOUR}, "x"),
    ({"x": [ROW, ROW[1:]], "times": HOUR * 2}, "x"),
    ({"x": [[*ROW[:-1], None]], "times": HOUR}, "x"),
    ({"x": [1, 2], "times": HOUR * 2}, "x"),
    ({"x": "ab", "times": HOUR * 2}, "x"),
    ({"x": [[*ROW[1:], "1"]], "times": HOUR}, "x.0.9"),
]


@pytest.mark.parametrize(("body", "argument"), UNFIT_ROWS, ids=[json.dumps(body)[-40:] for body, _ in UNFIT_ROWS])
def test_rows_that_do_not_fit(series: Local, body: Any, argument: str) -> None:
    session = series.create()
    before = series.snapshot(session)
    assert told(series.ask(session, "advance", **body), 422)["argument"] == argument
    assert series.snapshot(session) == before


UNFIT_TEXTS: list[tuple[dict[str, Any], str]] = [
    ({}, "length"),
    ({"length": -1, "prompt": "a"}, "length"),
    ({"length": 2**31, "prompt": "a"}, "length"),
    ({"length": 101, "prompt": ""}, "prompt and length"),
    ({"length": 1}, "prompt"),
    ({"length": 1, "prompt": "a", "temperature": -1}, "temperature"),
    ({"length": 1, "prompt": "a", "temperature": "1"}, "temperature"),
    ({"length": 1, "prompt": "a", "temperature": 10**400}, "temperature"),
    ({"length": 1, "prompt": "a", "seed": -1}, "seed"),
    ({"length": 1, "prompt": "a", "seed": 2**63}, "seed"),
    ({"length": 1, "prompt": ["a"]}, "prompt"),
]


@pytest.mark.parametrize(("body", "argument"), UNFIT_TEXTS, ids=[str(body)[:40] for body, _ in UNFIT_TEXTS])
def test_text_that_cannot_be_written(text: Local, body: dict[str, Any], argument: str) -> None:
    session = text.create()
    assert told(text.ask(session, "generate", **body), 422)["argument"] == argument


def test_a_forecaster_writes_no_text(series: Local) -> None:
    assert told(series.ask(series.create(), "generate", length=1, prompt="a"), 422)["argument"] == "model"


@pytest.mark.parametrize("name", [NOBODY, "%41" * 32])
def test_sessions_that_are_not_there(text: Local, name: str) -> None:
    for method, what, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/reset", None),
        ("POST", "/fork", None),
        ("GET", "/snapshot", None),
        ("PUT", "/snapshot", None),
        ("POST", "/advance", {"x": "a"}),
        ("POST", "/generate", {"length": 1, "prompt": "a"}),
    ):
        assert (
            told(text.http.request(method, f"/v1/sessions/{name}{what}", json=body), 404)["argument"] == "session"
        )


@pytest.mark.parametrize(
    "name", ["a", "nope", "A" * 33, "A" * 31 + "%0A", "A" * 31 + ".", "..%2F..%2Fetc", "%00" * 32]
)
def test_names_that_no_session_has(text: Local, name: str) -> None:
    assert told(text.http.get(f"/v1/sessions/{name}"), 404)
    assert told(text.http.delete(f"/v1/sessions/{name}"), 404)
    assert told(text.http.get(f"/v1/sessions/{name}/snapshot"), 404)
    bodies: dict[str, Any] = {"advance": {"x": "a"}, "generate": {"length": 1}, "reset": None, "fork": None}
    for what, body in bodies.items():
        assert told(text.http.post(f"/v1/sessions/{name}/{what}", json=body), 404)


def test_other_paths_and_methods(text: Local) -> None:
    for path in ("/", "/docs", "/redoc", "/v1", "/v1/"):
        found = text.http.get(path).json()
        for part in ("api", "model", "openapi"):
            assert text.http.get(found[part]).status_code == 200
    assert "/openapi.json" in told(text.http.get("/nowhere"), 404)["expected"]
    answer = text.http.put("/v1/sessions")
    assert told(answer, 405)["argument"] == "request"
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST"}
    for query in ("most=0", "most=1001", "most=a", "after=" + "a" * 101):
        assert told(text.http.get(f"/v1/sessions?{query}"), 422)["argument"] == query.partition("=")[0]


@pytest.mark.parametrize("size", [2001, 3_000_000])
@pytest.mark.parametrize("pieces", [False, True])
def test_bodies_that_are_too_large(text: Local, size: int, pieces: bool) -> None:
    session, body = text.create(), b'{"x": "' + b"a" * (size - 9) + b'"}'
    content: Any = iter([body[:1000], body[1000:]]) if pieces else body
    assert told(text.http.post(f"/v1/sessions/{session}/advance", content=content), 413)["argument"] == "body"
    assert text.state(session) == text_model().stream().state()
    assert told(text.restore(session, b"0" * size), 413)


@pytest.mark.parametrize("length", ["-1", "1_0", "9" * 30])
def test_lengths_that_are_none(text: Local, length: str) -> None:
    with socket.create_connection(("127.0.0.1", text.port)) as raw:
        raw.sendall(f"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        raw.settimeout(10)
        assert raw.recv(1000).split()[1] in (b"400", b"413")


def test_a_body_that_comes_too_slowly(text: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "_BODY_TIMEOUT", 0.3)
    answer = b""
    with socket.create_connection(("127.0.0.1", text.port)) as raw:
        raw.sendall(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n")
        raw.settimeout(0.1)
        for _ in range(900):  # a byte now and then does not prolong it: the whole body would be no JSON, so 422
            raw.sendall(b" ")
            try:
                answer = raw.recv(1000)
                break
            except TimeoutError:
                continue
    assert answer.split()[1] == b"408"


def test_too_many_sessions_and_too_many_steps_a_second(tmp_path: Path) -> None:
    limits = Limits(max_sessions=3, max_token_sessions=2, max_token_steps=5, max_steps=50)
    tokens = {"a" * 16: "ann", "b" * 16: "bob"}
    with local(text_model().stream(), tmp_path, limits=limits, tokens=tokens) as server:
        ann, bob = ({"authorization": f"Bearer {token}"} for token in tokens)
        one = server.create(**ann)
        server.create(**ann)
        assert "one owner" in told(server.http.post("/v1/sessions", headers=ann), 429)["expected"]
        assert told(server.http.post(f"/v1/sessions/{one}/fork", headers=ann), 429)
        other = server.create(**bob)
        assert "in all" in told(server.http.post("/v1/sessions", headers=bob), 429)["expected"]
        url = f"/v1/sessions/{one}/advance"
        server.http.delete(f"/v1/sessions/{other}", headers=bob)
        other = server.create(**bob)  # there is room again
        assert server.http.post(url, headers=ann, json={"x": "a" * 50}).status_code == 200
        refused = server.http.post(url, headers=ann, json={"x": "a" * 50})
        assert told(refused, 429)["argument"] == "steps"
        assert 5 <= int(refused.headers["retry-after"]) <= 10
        assert told(server.http.post(f"/v1/sessions/{one}/generate", headers=ann, json={"length": 50}), 429)
        answer = server.http.post(f"/v1/sessions/{other}/advance", headers=bob, json={"x": "a" * 50})
        assert answer.status_code == 200  # another's quota
        assert server.http.get(f"/v1/sessions/{one}", headers=ann).json()["steps"] == 50


def test_a_queue_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(max_waiting=2, max_batch=1)
    running, go, advance = threading.Event(), threading.Event(), None
    with local(text_model().stream(sessions=4), tmp_path, limits=limits) as server:
        advance = server.sessions.advance

        def slowly(requests: Any) -> Any:
            running.set()
            assert go.wait(HANG)
            return advance(requests)

        monkeypatch.setattr(server.sessions, "advance", slowly)
        sessions = [server.create() for _ in range(3)]
        statuses: list[int] = []
        threads = []
        for session in sessions:  # one runs, two wait
            ask = threading.Thread(
                target=lambda name=session: statuses.append(server.ask(name, "advance", x="a").status_code)
            )
            ask.start()
            threads.append(ask)
            waiting = len(threads) - 1
            wait_until(lambda count=waiting: running.is_set() and server.metric("waiting") == count)
        refused = server.ask(sessions[0], "advance", x="b")
        assert told(refused, 429)["argument"] == "request"
        # What needs the same thread queues too, and not without end.
        for _ in range(2):
            ask = threading.Thread(
                target=lambda: statuses.append(server.http.get(f"/v1/sessions/{sessions[0]}").status_code)
            )
            ask.start()
            threads.append(ask)
        wait_until(lambda: server.service._calls == 2)
        assert told(server.http.post("/v1/sessions"), 429)["argument"] == "request"
        assert server.http.get("/healthz").status_code == 200
        assert server.metric("waiting") == 2
        go.set()
        for ask in threads:
            ask.join(30)
        assert statuses == [200] * 5
        assert server.ask(sessions[0], "advance", x="b", first=1).status_code == 200


def test_a_store_that_fails_and_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stream = text_model().stream()
    with local(text_model().stream(), tmp_path, limits=Limits(max_resident=2)) as server:
        session = server.create()
        server.advance(session, "abc", first=0)
        server.store.failing = True
        for method, url, body in (
            ("POST", "/v1/sessions", None),
            ("GET", "/v1/sessions", None),
            ("DELETE", f"/v1/sessions/{session}", None),
            ("POST", f"/v1/sessions/{session}/reset", None),
            ("POST", f"/v1/sessions/{session}/fork", None),
            ("POST", f"/v1/sessions/{session}/advance", {"x": "d", "first": 3}),
            ("POST", f"/v1/sessions/{session}/generate", {"length": 5, "first": 3}),
            ("GET", f"/v1/sessions/{NOBODY}", None),
        ):
            with caplog.at_level(logging.ERROR, "gatewright.serve"):
                assert told(server.http.request(method, url, json=body), 503)["argument"] == "store"
        assert server.http.get("/readyz").status_code == 503
        assert server.http.get("/healthz").status_code == 200
        server.store.failing = False
        assert server.http.get("/readyz").status_code == 200
        stream.run("abc")
        assert server.state(session) == stream.state()
        stream.run("d")
        assert server.advance(session, "d", first=3)["repeated"] is False
        assert server.state(session) == stream.state()


def test_a_state_that_is_damaged_in_the_store_is_the_servers_affair(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with local(text_model().stream(), tmp_path) as server, caplog.at_level(logging.ERROR, "gatewright.serve"):
        session = server.create()
        saved = server.store.load(session)
        assert saved is not None
        server.store.save([saved.next_commit(snapshot=saved.snapshot[:-1])])
        with pytest.raises(StateError):
            text_model().stream().restore(saved.snapshot[:-1])
        assert told(server.http.get(f"/v1/sessions/{session}"), 503)["argument"] == "store"
        assert told(server.ask(session, "advance", x="a"), 503)["argument"] == "store"
        assert server.ask(session, "reset").status_code == 200  # out of it again
        server.advance(session, "a")


def test_while_it_stops(tmp_path: Path) -> None:
    with local(text_model().stream(), tmp_path) as server:
        session = server.create()
        server.run(server.models.close())
        for answer in (
            server.http.post("/v1/sessions"),
            server.http.get(f"/v1/sessions/{session}"),
            server.ask(session, "advance", x="a"),
            server.ask(session, "generate", length=1, prompt="a"),
        ):
            assert told(answer, 503)["argument"] == "request"
        assert server.http.get("/readyz").status_code == 503
        assert server.http.get("/healthz").status_code == 200


def test_a_fault_of_our_own_is_logged_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with local(text_model().stream(), tmp_path) as server, caplog.at_level(logging.ERROR, "gatewright.serve"):
        session = server.create()

        def fail(*_: object) -> None:
            raise RuntimeError("a secret of /tmp/somewhere.py")

        monkeypatch.setattr(server.sessions, "reset", fail)
        assert told(server.ask(session, "reset"), 500)["argument"] == "server"
        assert "a secret" in caplog.text
        assert server.metric("requests_total", op="reset", status="500") == 1
