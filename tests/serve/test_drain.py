"""The end of a server: it says so first, refuses nothing meanwhile, answers what runs, and loses nothing."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.local_server import Local, local, packed
from tests.support.serving import Server
from tests.support.stream_models import text_model
from tests.support.waiting import wait_until


def http(server: Server) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30)


def test_while_it_drains_it_serves_and_says_that_it_goes(tmp_path: Path) -> None:
    text_model().save(tmp_path / "model.safetensors")
    alone = text_model().stream()
    with Server(tmp_path / "model.safetensors", tmp_path, "--drain", "3000", "--replica-id", "pod-1") as server:
        with http(server) as client, connect(f"ws://127.0.0.1:{server.port}/v1/ws") as socket:
            assert client.get("/readyz").status_code == 200
            session = client.post("/v1/sessions").json()["session"]
            frame = {"op": "advance", "session": session, "x": "ab", "first": 0}
            assert packed(socket, frame)["steps"] == 2
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: client.get("/readyz").status_code == 503)
            assert client.get("/healthz").status_code == 200
            answer = client.post(f"/v1/sessions/{session}/advance", json={"x": "cd", "first": 2})
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            assert answer.headers["gatewright-replica"] == "pod-1"
            with http(server) as late, connect(f"ws://127.0.0.1:{server.port}/v1/ws") as new:
                assert late.post("/v1/sessions").status_code == 201
                assert packed(new, {**frame, "x": "e", "first": 4})["steps"] == 5
                assert new.response is not None
                assert new.response.headers["gatewright-replica"] == "pod-1"
            y = packed(socket, {**frame, "x": "fg", "first": 5})["y"]
            assert np.array_equal(np.array(y, np.float32), alone.run("abcdefg")[5:])
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGTERM)  # ends the drain
            with pytest.raises(ConnectionClosed):
                socket.recv(30)
            assert socket.close_code == 1001
        assert server.process.wait(timeout=30) == 0
        assert server.events("draining")[0]["seconds"] == 3000
        server.start()
        with http(server) as client:
            found = client.get(f"/v1/sessions/{session}").json()
            assert (found["steps"], found["state_steps"]) == (7, 7)


@contextlib.contextmanager
def held(server: Local) -> Iterator[threading.Event]:
    """Keep the sessions' thread busy until the event is set."""
    entered, release = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        release.wait(60)

    async def block() -> None:
        await server.service._batcher.call(work)

    thread = threading.Thread(target=server.run, args=(block(),))
    thread.start()
    try:
        assert entered.wait(30)
        yield release
    finally:
        release.set()
        thread.join(30)


def end(server: Local) -> None:
    server.loop.call_soon_threadsafe(server.web.handle_exit, signal.SIGTERM, None)


def refuses_connections(server: Local) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{server.port}/healthz")
    except httpx.TransportError:
        return True
    return False


def post(server: Local, session: str, answers: list[Any]) -> threading.Thread:
    """Advance a session in a thread, over a connection of its own."""
    url = f"http://127.0.0.1:{server.port}/v1/sessions/{session}/advance"
    thread = threading.Thread(target=lambda: answers.append(httpx.post(url, json={"x": "a"}, timeout=60)))
    thread.start()
    return thread


def test_what_runs_is_answered_before_connections_close(tmp_path: Path) -> None:
    with (
        local(text_model().stream(sessions=4), tmp_path) as server,
        server.socket() as socket,
        server.socket() as idle,
    ):
        sessions = [server.create() for _ in range(2)]
        answers: list[Any] = []
        with held(server) as release:
            socket.send(f'{{"op": "advance", "session": "{sessions[0]}", "x": "ab", "first": 0}}')
            asking = post(server, sessions[1], answers)
            wait_until(lambda: server.service.running == 2)
            end(server)
            wait_until(lambda: refuses_connections(server))
            with pytest.raises(ConnectionClosed):  # of a connection without a request
                idle.recv(30)
            assert idle.close_code == 1001
            assert not answers
            release.set()
            assert '"steps":2' in socket.recv(30)
            with pytest.raises(ConnectionClosed):
                socket.recv(30)
            assert socket.close_code == 1001
            asking.join(60)
        assert [answer.status_code for answer in answers] == [200]
        assert [server.store.load(session).steps for session in sessions] == [2, 1]


def test_in_a_hurry_the_batch_that_runs_is_stored_and_what_waits_is_refused(tmp_path: Path) -> None:
    with local(text_model().stream(sessions=4), tmp_path) as server:
        sessions = [server.create() for _ in range(2)]
        answers: list[Any] = []
        with held(server) as release:
            running = post(server, sessions[0], answers)
            wait_until(lambda: server.service.running == 1 and not server.service._batcher.waiting)
            waiting = post(server, sessions[1], answers)
            wait_until(lambda: server.service._batcher.waiting == 1)
            end(server)
            wait_until(lambda: server.web.should_exit)
            end(server)
            waiting.join(60)  # it is refused while the other still runs
            assert [answer.status_code for answer in answers] == [503]
            assert answers[0].headers["retry-after"] == "1"
            release.set()
            running.join(60)
        assert [server.store.load(session).steps for session in sessions] == [1, 0]
        assert [answer.status_code for answer in answers] == [503, 200]
