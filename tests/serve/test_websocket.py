"""The server over WebSocket: frames of many sessions over one connection, each answered as a stream would."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gatewright.runtime.sampling import generate
from gatewright.serve.settings import Limits
from tests.support.local_server import Local, local, nulls, numbers, packed, read_state
from tests.support.serving import never_reads
from tests.support.stream_models import rows_of, series_model, table, text_model
from tests.support.waiting import wait_until

PROTOCOLS = ("gatewright.json", "gatewright.msgpack")
TEXT = "a bad cab\nfed a hag"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    limits = Limits(max_body=5000, max_steps=2000)
    with local(text_model().stream(sessions=40), tmp_path_factory.mktemp("text"), limits=limits) as server:
        yield server


def send(connection: ClientConnection, frame: Any) -> None:
    connection.send(msgpack.packb(frame) if connection.subprotocol == PROTOCOLS[1] else json.dumps(frame))


def receive(connection: ClientConnection) -> Any:
    answer = connection.recv(20)
    return msgpack.unpackb(answer) if isinstance(answer, bytes) else json.loads(answer)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_all_that_can_be_asked(text: Local, protocol: str) -> None:
    stream = text_model().stream()
    with text.socket(protocol) as connection:
        assert connection.subprotocol == protocol
        assert packed(connection, {"op": "model", "id": 1})["model"] == stream.fingerprint
        made = packed(connection, {"op": "create", "id": "a"})
        told = {"model": stream.fingerprint, "steps": 0, "state_steps": 0}
        assert made == {"id": "a", "session": made["session"], **told}
        session = made["session"]
        frame = {"op": "advance", "session": session, "x": TEXT, "first": 0}
        answer, expected = packed(connection, frame), stream.run(TEXT)
        assert np.array_equal(np.array(answer["y"], np.float32), expected)
        assert (answer["id"], answer["steps"], answer["repeated"]) == (None, len(TEXT), False)
        assert packed(connection, frame) == {**answer, "repeated": True}
        assert packed(connection, {**frame, "outputs": "none"})["y"] == []
        read = {"op": "read", "session": session}
        assert read_state(packed(connection, read)) == stream.state()
        forked = packed(connection, {"op": "fork", "session": session})["session"]
        assert read_state(packed(connection, {"op": "read", "session": forked})) == stream.state()
        assert packed(connection, {"op": "reset", "session": session})["steps"] == len(TEXT)
        assert read_state(packed(connection, read)) == text_model().stream().state()
        names = packed(connection, {"op": "list"})["sessions"]
        assert {session, forked} <= set(names)
        assert packed(connection, {"op": "list", "after": names[0], "most": 1})["sessions"] == names[1:2]
        assert packed(connection, {"op": "delete", "session": session, "id": 9}) == {"id": 9, "session": session}
        assert packed(connection, read)["status"] == 404
        # What came over a socket is there over HTTP.
        assert text.state(forked) == stream.state()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_forecaster_with_missing_targets(tmp_path: Path, protocol: str) -> None:
    model = series_model()
    observed = table(model, 12)
    rows, times = rows_of(model, observed, 8), [str(time) for time in observed.times[:8]]
    stream = model.stream()
    expected = stream.run(rows, times=observed.times[:8])
    with local(series_model().stream(sessions=2), tmp_path) as server, server.socket(protocol) as connection:
        session, found = packed(connection, {"op": "create"})["session"], []
        for part in (slice(0, 3), slice(3, 4), slice(4, 8)):
            frame = {"op": "advance", "session": session, "x": nulls(rows[part]), "times": times[part]}
            found += packed(connection, {**frame, "first": part.start})["y"]
        assert np.array_equal(numbers(found), expected, equal_nan=True)
        assert read_state(packed(connection, {"op": "read", "session": session})) == stream.state()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_text_comes_in_pieces(text: Local, protocol: str) -> None:
    with text.socket(protocol) as connection:
        session = packed(connection, {"op": "create"})["session"]
        frame = {
            "op": "generate",
            "session": session,
            "prompt": "ab",
            "length": 50,
            "seed": 4,
            "first": 0,
            "id": 7,
        }
        for repeated in (False, True):
            send(connection, frame)
            found, steps = "", []
            while "done" not in (answer := receive(connection)):
                assert answer["id"] == 7
                assert answer["repeated"] == repeated
                found += answer["text"]
                steps.append(answer["steps"])
            assert answer == {"id": 7, "done": True}
            assert found == "".join(generate(text_model().stream(), "ab", 50, seed=4))
            assert len(steps) > 1
            assert steps[-1] == 52
        assert packed(connection, {**frame, "seed": 5})["status"] == 409


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({}, "op"),
    ({"op": "other"}, "op"),
    ({"op": 5}, "op"),
    ({"op": None}, "op"),
    ({"op": ["read"]}, "op"),
    ({"op": "read"}, "session"),
    ({"op": "read", "session": 5}, "session"),
    ({"op": "read", "session": "A" * 32, "more": 1}, "more"),
    ({"op": "advance", "session": "A" * 32}, "x"),
    ({"op": "advance", "session": "A" * 32, "x": "a", "first": 1.5}, "first"),
    ({"op": "generate", "session": "A" * 32, "length": "a"}, "length"),
    ({"op": "list", "most": 0}, "most"),
    ({"op": "list", "after": 5}, "after"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_frames_that_do_not_fit(text: Local, protocol: str) -> None:
    with text.socket(protocol) as connection:
        for number, (frame, argument) in enumerate(UNFIT):
            answer = packed(connection, {**frame, "id": number})
            assert (answer["id"], answer["status"]) == (number, 422), frame
            assert answer["error"]["argument"].rpartition(".")[2] == argument, (frame, answer)
            assert set(answer["error"]) == {"argument", "expected", "got"}
        for frame in ([], [1], 5, "text", None):
            answer = packed(connection, frame)
            assert (answer["id"], answer["status"]) == (None, 422)
        for junk in ("", "{", b"", b"\xc1", b"\xff" * 50, "\0"):
            connection.send(junk)
            answer = receive(connection)
            assert (answer["id"], answer["status"]) == (None, 422), junk
        for name in ("A" * 32, "a", "", "\n" * 32, "a" * 4000):
            answer = packed(connection, {"op": "advance", "session": name, "x": "a", "id": 5})
            assert (answer["id"], answer["status"], answer["error"]["argument"]) == (5, 404, "session")


def test_frames_that_are_too_large(text: Local) -> None:
    with text.socket() as connection:
        connection.send(json.dumps({"op": "list", "after": "a" * 6000}))
        with pytest.raises(ConnectionClosed):
            connection.recv(20)
        assert connection.close_code == 1009
    with text.socket() as connection:  # nobody else minds
        assert "sessions" in packed(connection, {"op": "list"})


def test_many_sessions_over_one_connection_each_in_its_order(text: Local) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh \n"), 25)) for _ in range(30)]
    with text.socket(PROTOCOLS[1]) as connection:
        names = [packed(connection, {"op": "create"})["session"] for _ in texts]
        order = rng.permuted(np.repeat(np.arange(30), 25))

        def work() -> None:
            at = [0] * 30
            for number in order:
                # None says when it comes: only the order of the frames does.
                frame = {"op": "advance", "session": names[number], "x": texts[number][at[number]]}
                send(connection, {**frame, "id": int(number)})
                at[number] += 1

        sender = threading.Thread(target=work)
        sender.start()
        found: dict[int, list[Any]] = defaultdict(list)
        for _ in order:
            answer = receive(connection)
            found[answer["id"]] += answer["y"]
            assert answer["steps"] == len(found[answer["id"]])
        sender.join(30)
        for number, content in enumerate(texts):
            stream = text_model().stream()
            assert np.array_equal(np.array(found[number], np.float32), stream.run(content))
            assert text.state(names[number]) == stream.state()


def test_a_client_that_does_not_read_holds_up_nobody(text: Local) -> None:
    raw = never_reads(text.port)
    session = text.create()
    frame = json.dumps({"op": "advance", "session": session, "x": "abc" * 300}).encode()  # 180 kB of answer
    head = b"\x81\xfe" + len(frame).to_bytes(2, "big") + bytes(4)
    raw.settimeout(1)
    sent = 0
    with contextlib.suppress(TimeoutError):  # raised once it is not read from any more
        while sent < 20_000:
            raw.sendall(head + frame)
            sent += 1
    assert sent < 20_000
    before = text.metric("connections")
    with text.socket() as connection:
        quick = packed(connection, {"op": "create"})["session"]
        for at in range(50):
            answer = packed(connection, {"op": "advance", "session": quick, "x": "a", "first": at})
            assert answer["steps"] == at + 1
    assert text.metric("waiting") <= 64
    raw.close()  # and its place is free again
    wait_until(lambda: text.metric("connections") < before)


def test_more_connections_than_there_may_be(tmp_path: Path) -> None:
    with local(text_model().stream(), tmp_path, limits=Limits(max_connections=2)) as server:
        with server.socket() as one, server.socket() as two:
            for connection in (one, two):
                assert "sessions" in packed(connection, {"op": "list"})
            with server.socket() as third:
                with pytest.raises(ConnectionClosed):
                    third.recv(20)
                assert third.close_code == 1013
                assert "retry" in (third.close_reason or "").lower()
            assert server.metric("connections") == 2
            assert "sessions" in packed(one, {"op": "list"})
        wait_until(lambda: not server.metric("connections"))
        with server.socket() as again:
            assert "sessions" in packed(again, {"op": "list"})


def test_what_is_busy_says_when_to_come_again(tmp_path: Path) -> None:
    limits = Limits(max_sessions=1, max_token_steps=1, max_steps=10)
    with local(text_model().stream(), tmp_path, limits=limits) as server, server.socket() as connection:
        session = packed(connection, {"op": "create"})["session"]
        assert packed(connection, {"op": "create"})["status"] == 429
        frame = {"op": "advance", "session": session, "x": "a" * 10}
        assert packed(connection, frame)["steps"] == 10
        answer = packed(connection, frame)
        assert answer["status"] == 429
        assert 5 < answer["retry_after"] <= 10
        server.store.failing = True
        answer = packed(connection, {"op": "reset", "session": session})
        assert (answer["status"], answer["error"]["argument"]) == (503, "store")
        assert answer["retry_after"] > 0
        assert str(tmp_path) not in json.dumps(answer)
        server.store.failing = False
        server.run(server.models.close())
        assert packed(connection, {"op": "read", "session": session})["status"] == 503
        with server.socket() as late:
            with pytest.raises(ConnectionClosed):
                late.recv(20)
            assert late.close_code == 1013


def test_what_a_client_sent_before_it_went_is_taken_or_not_but_not_in_part(text: Local) -> None:
    for turn in range(20):
        with text.socket() as connection:
            session = packed(connection, {"op": "create"})["session"]
            for first in (0, 3, 6):
                send(
                    connection, {"op": "advance", "session": session, "x": TEXT[first : first + 3], "first": first}
                )
            time.sleep(0.0005 * turn)
        steps = text.http.get(f"/v1/sessions/{session}").json()["steps"]
        assert steps in (0, 3, 6, 9)
        for first in range(max(steps - 3, 0), 9, 3):  # also the last one again, whose answer may have been lost
            text.advance(session, TEXT[first : first + 3], first=first)
        stream = text_model().stream()
        stream.run(TEXT[:9])
        assert text.state(session) == stream.state()


def test_without_a_subprotocol_frames_are_json(text: Local) -> None:
    with connect(text.url) as connection:
        assert connection.subprotocol is None
        connection.send(b'{"op": "list", "id": "\xc3\xa4"}')
        assert json.loads(connection.recv(20))["id"] == "ä"
