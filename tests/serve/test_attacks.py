"""What one client can do to a server that others use: little, at little cost, and not for long.

`attacks.py` has the attacks; ``python -m tests.serve.attacks`` measures them at full length.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest

from gatewright.serve import logs
from gatewright.serve.settings import Limits
from gatewright.web import bounded_connection, connection_limit, http_connection, websocket_connection
from tests.serve.attacks import (
    BODIES,
    FRAMES,
    FULL,
    HEADS,
    INFERENCES,
    MIB,
    ask,
    few_files,
    flood,
    framed,
    head,
    pipelined,
    session,
    silent,
    unread_answers,
    websocket,
)
from tests.support.local_server import Local, local, packed
from tests.support.serving import Server, never_reads
from tests.support.stream_models import text_model

#: Bytes by which a server's memory may grow.
GROWTH = 50 * MIB


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A process of its own, whose memory can be measured, and that may not open many files."""
    folder = tmp_path_factory.mktemp("attacks")
    text_model().save(folder / "model.safetensors")
    running = Server(folder / "model.safetensors", folder, fresh=True)
    with few_files(128):
        running.start()
    try:
        yield running
        assert running.stop() == 0
        text = running.log.read_text()
        assert "raceback" not in text
    finally:
        running.kill()


@pytest.fixture
def small(server: Server) -> Iterator[Server]:
    """The server, whose memory must not grow, and that others must still be able to use."""
    ask(server.port, "GET", "/healthz")
    before, over, most = server.memory, threading.Event(), [0]

    def watch() -> None:
        while not over.wait(0.002):
            most.append(server.memory)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield server
        assert ask(server.port, "GET", "/healthz") == (200, b"ok\n")
    finally:
        over.set()
        thread.join()
    assert max(most) - before < GROWTH


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A server in this process."""
    with local(text_model().stream(sessions=8), tmp_path_factory.mktemp("here")) as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of connections be over soon."""
    monkeypatch.setattr(connection_limit, "_CHECK_INTERVAL", 0.05)
    for module in (bounded_connection, http_connection, websocket_connection):
        for name in ("HEAD_TIMEOUT", "BODY_TIMEOUT", "READ_TIMEOUT", "CLOSE_TIMEOUT"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, 0.3)


@pytest.mark.parametrize("data", FRAMES.values(), ids=FRAMES)
def test_frames_of_as_many_values_as_go_into_them(small: Server, data: bytes) -> None:
    assert FULL - 250_000 * (data == FRAMES["members"]) - 5000 < len(data) <= FULL
    with websocket(small.port) as raw:
        raw.settimeout(30)
        raw.sendall(framed(data) + framed(msgpack.packb({"op": "model", "id": "next"})))
        came = b""
        while b"next" not in came:  # the connection goes on
            came += raw.recv(65536)
    assert msgpack.packb("status") + msgpack.packb(422) in came


@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES)
def test_bodies_of_as_many_values_as_go_into_them(small: Server, data: bytes) -> None:
    name = session(small.port)
    for what in ("advance", "generate"):
        status, answer = ask(small.port, "POST", f"/v1/sessions/{name}/{what}", data)
        assert status == (413 if len(data) > FULL else 422)
        assert len(answer) < 1000
    assert json.loads(ask(small.port, "GET", f"/v1/sessions/{name}")[1])["steps"] == 0


@pytest.mark.parametrize("data", INFERENCES.values(), ids=INFERENCES)
def test_tensors_of_as_many_values_as_go_into_them(small: Server, data: bytes) -> None:
    before = ask(small.port, "GET", "/v1/sessions")
    status, answer = ask(small.port, "POST", "/v2/models/default/infer", data)
    assert status == (413 if len(data) > FULL else 400)
    assert len(answer) < 1000
    assert ask(small.port, "GET", "/v1/sessions") == before


def test_names_of_models_are_not_kept(small: Server) -> None:
    before = len(ask(small.port, "GET", "/metrics")[1])
    for number in range(15):
        name = f"{number}" + "n" * 7000
        for path in (f"/v1/models/{name}/sessions", f"/v2/models/{name}/infer"):
            status, answer = ask(small.port, "POST", path, b"{}")
            assert (status, len(answer) < 300) == (404, True)
    assert len(ask(small.port, "GET", "/metrics")[1]) < before + 1000


#: What is told of a head, or of what comes beside a body, that does not end.
TOLD = {
    "a request line": ("414",),
    "a method": ("400",),
    "a chunk's size": ("400", "413", "431"),
    "chunks of a byte": ("413", "no"),  # a body that is still within its bound, and not at its end
    "chunks of a byte for nobody": ("405", "200"),
    "lines before the request": ("431",),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_and_trailers_without_end(small: Server, name: str) -> None:
    told = head(name, 4 * MIB)(small.port)
    assert told.split(" ")[0] in TOLD.get(name, ("431",)), told


def test_a_head_within_the_bounds_is_read(here: Local) -> None:
    long = {f"h{number}": "v" * 200 for number in range(60)}
    assert here.http.get("/v1/model", headers=long).status_code == 200
    assert here.http.get("/v1/sessions?after=" + "a" * 90, headers={"x": "y" * 7000}).status_code == 200
    for headers, status in (
        ({f"h{number}": "v" for number in range(101)}, 431),
        ({"x": "y" * 8000}, 431),
        ({f"h{number}": "v" * 4000 for number in range(5)}, 431),
    ):
        answer = here.http.get("/v1/model", headers=headers)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"argument", "expected", "got"}
        assert answer.headers["connection"] == "close"
    assert here.http.get("/v1/model?" + "a" * 8000).status_code == 414


def test_a_head_that_comes_a_byte_at_a_time_is_read(here: Local) -> None:
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n":
            raw.sendall(bytes([byte]))
        assert raw.recv(100).startswith(b"HTTP/1.1 200")


def test_trailers_say_nothing_of_the_request(here: Local) -> None:
    """What is checked before a body comes cannot be said otherwise after it."""
    name = here.create()
    data = b'{"x": "abc"}'
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
        raw.sendall(
            b"POST /v1/sessions/%s/advance HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nHost: evil.example\r\nx: y\r\n\r\n"
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            % (name.encode(), len(data), data)
        )
        came = b""
        while part := raw.recv(65536):
            came += part
    assert came.count(b"HTTP/1.1 200") == came.count(b"HTTP/1.1") == 2
    assert b'"steps":3' in came


@pytest.mark.parametrize("path", ["/healthz", "/v1/model", "/v1/sessions"])
def test_answers_to_pipelined_requests_that_nobody_reads(small: Server, path: str) -> None:
    told = pipelined(path)(small.port)
    assert told.startswith("not read from after"), told
    assert float(told.split()[4]) < 16, told


def test_pipelined_requests_are_answered_in_their_order(here: Local) -> None:
    name = here.create()
    parts = []
    for at in range(300):
        body = json.dumps({"x": "abc"[at % 3], "first": at, "outputs": "none"}).encode()
        parts.append(
            f"POST /v1/sessions/{name}/advance HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
    with socket.create_connection(("127.0.0.1", here.port), timeout=30) as raw:
        raw.sendall(b"".join(parts) + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        came = b""
        while part := raw.recv(65536):
            came += part
    steps = [int(part.split(b",")[0]) for part in came.split(b'"steps":')[1:]]
    assert steps == list(range(1, 301))
    assert came.endswith(b"ok\n")


def test_answers_of_many_sessions_that_nobody_reads(small: Server) -> None:
    unread_answers(small.port, 40)


PINGS: dict[str, tuple[bytes, str]] = {
    "pings": (framed(b"", 9), ""),
    "large pings": (framed(b"a" * 125, 9), ""),
    "empty frames": (framed(b"", 1), ""),
    "small frames": (framed(b'{"op":"model"}', 1), ""),
    "pongs": (framed(b"", 10), ""),
    "empty parts": (framed(b"", 0, last=False), "closed"),
    "parts of a byte": (framed(b"a", 0, last=False), "closed"),
}


@pytest.mark.parametrize(("data", "told"), PINGS.values(), ids=PINGS)
def test_small_frames_without_end_leave_others_their_turn(small: Server, data: bytes, told: str) -> None:
    stop, came = threading.Event(), []
    first = framed(b"a", 2, last=False) if told else b""

    def attack() -> None:
        with websocket(small.port) as raw:
            try:
                raw.sendall(first)
                for _ in range(600):
                    if stop.is_set():
                        return
                    raw.sendall(data * (65536 // len(data)))
            except OSError as error:
                came.append("not read" if isinstance(error, TimeoutError) else "closed")

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        for _ in range(20):
            assert ask(small.port, "GET", "/healthz") == (200, b"ok\n")
        if told:
            thread.join(60)
    finally:
        stop.set()
        thread.join(60)
    assert not told or came == [told]


def test_a_message_of_parts_is_put_together(here: Local) -> None:
    with here.socket() as connection:
        connection.send(iter(['{"op": ', '"list"', "}"]))
        assert "sessions" in json.loads(connection.recv(20))
    with websocket(here.port) as raw:
        raw.settimeout(20)
        raw.sendall(framed(b"{", 2, last=False) + framed(b" ", 0, last=False) * websocket_connection.MAX_PARTS)
        came = raw.recv(1000)
        assert (came[0], came[2:4]) == (0x88, (1009).to_bytes(2, "big"))


HALF: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "half a head": (b"GET /healthz HTTP/1.1\r\nHost: loc", b""),
    "blank lines": (b"\r\n\r\n", b""),
    "half a body for nobody": (
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na",
        b"HTTP/1.1 405",
    ),
    "half a second head": (
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHo",
        b"HTTP/1.1 200",
    ),
}


@pytest.mark.parametrize(("data", "answer"), HALF.values(), ids=HALF)
def test_what_is_never_finished_is_let_go(here: Local, impatient: None, data: bytes, answer: bytes) -> None:
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
        raw.sendall(data)
        came = b""
        try:
            while part := raw.recv(65536):
                came += part
        except ConnectionResetError:
            pass
        assert came[:12] == answer


def test_a_handshake_that_is_none_is_refused(here: Local) -> None:
    for more in (b"Content-Length: 5\r\n", b"Sec-WebSocket-Version: 12\r\n", b"Transfer-Encoding: chunked\r\n"):
        with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
            raw.sendall(
                b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + more
                + b"\r\n"
            )
            assert raw.recv(1000)[:10] == b"HTTP/1.1 4"


def test_half_a_message_is_let_go(here: Local, impatient: None) -> None:
    with websocket(here.port) as raw:
        raw.settimeout(20)
        raw.sendall(framed(b"a", 2, last=False))
        while not gone(raw):
            pass


def test_who_reads_nothing_is_let_go(here: Local, impatient: None) -> None:
    name = here.create()
    frame = framed(json.dumps({"op": "advance", "session": name, "x": "abc" * 300}).encode(), 1)
    with never_reads(here.port) as raw:
        raw.settimeout(20)
        try:
            while True:
                raw.sendall(frame)
        except ConnectionError:  # and not TimeoutError: the server has let go
            pass


def test_silent_sockets_do_not_keep_others_out(small: Server) -> None:
    for first in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        assert silent(300, first)(small.port).startswith("a good client: 200")
    assert small.log.stat().st_size < MIB


def test_idle_websockets_do_not_keep_others_out(small: Server) -> None:
    held = []
    try:
        for _ in range(200):
            held.append(websocket(small.port))
        assert ask(small.port, "GET", "/healthz") == (200, b"ok\n")
    finally:
        for raw in held:
            raw.close()


class Idler:
    """A connection that is kept, and used now and then."""

    def __init__(self, port: int) -> None:
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=20)

    def use(self) -> Idler:
        self.raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        came = b""
        while not came.endswith(b"ok\n"):
            part = self.raw.recv(1000)
            assert part
            came += part
        return self

    def __enter__(self) -> Idler:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()


def test_the_one_that_is_idle_for_longest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limit, "_FRESH", 0.0)
    monkeypatch.setattr(http_connection, "KEEP_ALIVE", 600)
    with local(text_model().stream(), tmp_path, limits=Limits(max_clients=4)) as running:
        empty(running)
        port = running.port
        with running.socket() as watching, Idler(port).use() as first, Idler(port).use() as second:
            silent_one = Idler(port)
            while not running.limit._idle[connection_limit.ConnectionLimit.NEW]:
                time.sleep(0.01)
            third = Idler(port).use()  # in place of the one that never asked
            assert gone(silent_one.raw)
            first.use()
            fourth = Idler(port).use()
            assert gone(second.raw)
            for kept in (first, third, fourth):
                kept.use()
            assert "sessions" in packed(watching, {"op": "list"})
            for each in (silent_one, third, fourth):
                each.raw.close()


def empty(running: Local) -> None:
    """Close the connection of the test's own client."""
    running.http.close()
    while running.limit.count:
        time.sleep(0.01)


def gone(raw: socket.socket) -> bool:
    """Whether the server has closed a connection, after what it said."""
    try:
        return raw.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_who_comes_when_all_are_worked_for_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    with local(text_model().stream(sessions=4), tmp_path, limits=Limits(max_clients=2)) as running:
        names = [running.create() for _ in range(2)]
        empty(running)
        advance = running.sessions.advance

        def slowly(requests: Any) -> Any:
            assert go.wait(30)
            return advance(requests)

        monkeypatch.setattr(running.sessions, "advance", slowly)
        statuses: list[int] = []
        threads = [
            threading.Thread(
                target=lambda name=name: statuses.append(
                    ask(running.port, "POST", f"/v1/sessions/{name}/advance", b'{"x": "a"}')[0]
                )
            )
            for name in names
        ]
        for thread in threads:
            thread.start()
        while len(running.limit._connections) < 2 or any(running.limit._idle):
            time.sleep(0.01)
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as late:
            assert late.recv(1000).startswith(b"HTTP/1.1 503")
        go.set()
        for thread in threads:
            thread.join(30)
        assert statuses == [200, 200]


@pytest.mark.parametrize("header", ["Host", "Origin", "Authorization"])
def test_two_headers_that_say_who_asks(here: Local, header: str) -> None:
    for upgrade in (b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"):  # fmt: skip
        for path in (b"/v1/ws", b"/healthz", b"/v1/model"):
            values = [b"localhost", b"localhost"] if header == "Host" else [b"http://localhost"] * 2
            lines = b"".join(header.encode() + b": " + value + b"\r\n" for value in values)
            if header != "Host":
                lines += b"Host: localhost\r\n"
            with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
                raw.sendall(b"GET " + path + b" HTTP/1.1\r\n" + lines + upgrade + b"\r\n")
                came = raw.recv(1000)
            assert came.startswith(b"HTTP/1.1 400"), came


def test_a_streamed_text_that_nobody_reads_ends(here: Local, impatient: None) -> None:
    name = here.create()
    body = json.dumps({"length": 900, "prompt": "a"}).encode()
    request = (
        f"POST /v1/sessions/{name}/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    assert flood(here.port, b"", request, 4 * MIB, read=False)
    assert here.http.get("/healthz").status_code == 200


def test_longer_answers_are_the_same(here: Local) -> None:
    """They are written in parts."""
    name, text = here.create(), "abcdefgh" * 120
    y = here.advance(name, text)["y"]
    expected = text_model().stream().run(text)
    assert np.array_equal(np.array(y, np.float32), expected)
    for protocol in ("gatewright.json", "gatewright.msgpack"):
        with here.socket(protocol) as connection:
            other = packed(connection, {"op": "create"})["session"]
            found = packed(connection, {"op": "advance", "session": other, "x": text, "id": 7})
            assert found["id"] == 7
            assert np.array_equal(np.array(found["y"], np.float32), expected)


def test_accept_errors_are_logged_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = connection_limit.ConnectionLimit(10)
    clock, raised = [100.0], []
    monkeypatch.setattr(connection_limit, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def scarce(_: object) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "accept", scarce)
    with connection_limit.LimitedSocket() as listening:
        listening.limit = waiting
        for _ in range(2048):
            try:
                listening.accept()
            except BlockingIOError:
                raised.append("later")
            except OSError:
                raised.append("told")
        assert raised.count("told") == 1
        clock[0] += 1
        with pytest.raises(OSError, match="Too many"):
            listening.accept()


def test_the_same_complaint_is_logged_once_a_second() -> None:
    seldom = logs._RepeatFilter()
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, "Invalid HTTP request received.", (), None)
    other = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, "something else", (), None)
    assert seldom.filter(record)
    assert [seldom.filter(record) for _ in range(1000)] == [False] * 1000
    assert seldom.filter(other)
    record.created += 1.1
    assert seldom.filter(record)
