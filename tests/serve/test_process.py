"""`gatewright serve` as a process: its end, its restart, its model's replacement, and what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gatewright import Model
from tests.support.forks import SERVING, fork_server
from tests.support.local_server import metric, packed, read_state
from tests.support.serving import Client, Server, never_reads, rows, sensor_model
from tests.support.stream_models import text_model
from tests.support.waiting import wait_until

TEXT = "a bad cab\nfed a hag"
TOKEN = "a-token-that-is-not-told"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    text_model().save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def http(server: Server, **changes: Any) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30, **changes)


def create(client: httpx.Client) -> str:
    return str(client.post("/v1/sessions").raise_for_status().json()["session"])


def advance(client: httpx.Client, session: str, x: Any, first: int) -> Any:
    body = {"x": x, "first": first}
    return client.post(f"/v1/sessions/{session}/advance", json=body).raise_for_status().json()


def state(client: httpx.Client, session: str) -> Any:
    return read_state(client.get(f"/v1/sessions/{session}").raise_for_status().json())


def ran(model: Model, text: str) -> Any:
    stream = model.stream()
    return stream.run(text), stream.state()


def wait_for(server: Server, event: str, count: int = 1) -> dict[str, Any]:
    wait_until(lambda: len(server.events(event)) >= count, server.log.read_text)
    return server.events(event)[-1]


def test_sigterm_answers_or_refuses_and_nothing_is_lost(tmp_path: Path) -> None:
    model = sensor_model(H=24)
    model.save(tmp_path / "model.safetensors")
    xs = [rows(number, 40) for number in range(6)]
    statuses: list[int] = []

    async def drive(server: Server) -> list[Client]:
        clients = [Client(server.port, number, x) for number, x in enumerate(xs)]
        work = asyncio.gather(*(client.drive(400) for client in clients))

        def restart() -> None:
            for steps in (30, 130):
                wait_until(lambda steps=steps: min(len(client.answers) for client in clients) >= steps)
                assert server.stop() == 0
                server.start()

        await asyncio.to_thread(restart)
        await work
        states = [await client.state() for client in clients]
        for client, found, x in zip(clients, states, xs, strict=True):
            stream = model.stream()
            expected = stream.run(np.concatenate([x] * 10))
            assert np.array_equal(np.array(client.answers), expected)
            assert found == stream.state()
            await client.close()
        return clients

    with Server(tmp_path / "model.safetensors", tmp_path) as server:
        going = threading.Event()

        def ask() -> None:
            x = xs[0][:1].tolist()
            with http(server) as client:
                session = create(client)
                while not going.is_set():
                    try:
                        answer = client.post(f"/v1/sessions/{session}/advance", json={"x": x})
                        statuses.append(answer.status_code)
                    except httpx.TransportError:
                        time.sleep(0.01)

        beside = threading.Thread(target=ask)
        beside.start()
        clients = asyncio.run(drive(server))
        going.set()
        beside.join(30)
        assert len(clients) == 6
        assert set(statuses) == {200}  # each was answered, or its connection was closed before it was read
        assert len(server.events("draining")) == len(server.events("stopped")) == 2


def test_a_client_that_does_not_read_does_not_hold_up_the_end(tmp_path: Path, model: Path) -> None:
    with Server(model, tmp_path) as server, never_reads(server.port) as raw:
        with http(server) as client:
            session = create(client)
        frame = json.dumps({"op": "advance", "session": session, "x": "abc" * 300}).encode()
        raw.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                raw.sendall(b"\x81\xfe" + len(frame).to_bytes(2, "big") + bytes(4) + frame)
        assert server.stop() == 0
    assert "raceback" not in server.log.read_text()


def test_a_new_model_beside_the_sessions_of_the_old(tmp_path: Path, model: Path) -> None:
    old, new = text_model(), text_model(hidden_size=12)
    with Server(model, tmp_path) as server:
        with http(server) as client:
            first = create(client)
            assert advance(client, first, TEXT[:5], 0)["steps"] == 5
            # A file that is damaged, and none: what is served goes on.
            for number, data in enumerate((model.read_bytes()[:-1], b"", None), 1):
                if data is None:
                    model.unlink()
                else:
                    model.write_bytes(data)
                server.process.send_signal(signal.SIGHUP)
                said = wait_for(server, "not reloaded", number)
                assert str(model) in said["error"]
                assert "traceback" not in said
                assert advance(client, first, TEXT[4 + number], 4 + number)["steps"] == 5 + number
            new.save(tmp_path / "new.safetensors")
            (tmp_path / "new.safetensors").replace(model)
            for _ in range(3):  # impatiently
                server.process.send_signal(signal.SIGHUP)
            assert wait_for(server, "reloaded")["model"] == new.stream().fingerprint[:12]
            assert client.get("/v1/model").json()["model"] == new.stream().fingerprint
            second = create(client)
            advance(client, first, TEXT[8:12], 8)
            advance(client, second, TEXT[:6], 0)
            assert state(client, first) == ran(old, TEXT[:12])[1]
            assert state(client, second) == ran(new, TEXT[:6])[1]
            forked = client.post(f"/v1/sessions/{first}/fork").json()
            assert forked["model"] == old.stream().fingerprint
        assert server.stop() == 0
        server.start()
        with http(server) as client:
            again = advance(client, first, TEXT[8:12], 8)
            assert again["repeated"]
            assert np.array_equal(np.array(again["y"], np.float32), ran(old, TEXT[:12])[0][8:])
            for session, at, of in ((first, 12, old), (second, 6, new), (forked["session"], 12, old)):
                y = advance(client, session, TEXT[at:], at)["y"]
                expected, end = ran(of, TEXT)
                assert np.array_equal(np.array(y, np.float32), expected[at:])
                assert state(client, session) == end
            assert advance(client, create(client), "a", 0)["steps"] == 1
        assert server.stop() == 0


def test_what_is_no_file_in_the_place_of_the_model_is_not_waited_for(tmp_path: Path, model: Path) -> None:
    whole = model.read_bytes()
    huge = tmp_path / "huge"
    huge.touch()
    os.truncate(huge, 1 << 40)  # which takes no room
    places: list[tuple[str, Callable[[], object]]] = [
        ("a named pipe", lambda: os.mkfifo(model)),
        ("a device", lambda: model.symlink_to("/dev/zero")),
        ("the file does not exist", model.mkdir),
        ("a model file of at most", lambda: model.symlink_to(huge)),
    ]
    with Server(model, tmp_path) as server, http(server) as client:
        session = create(client)
        for number, (kind, put) in enumerate(places, 1):
            model.unlink()
            put()
            server.process.send_signal(signal.SIGHUP)
            assert kind in wait_for(server, "not reloaded", number)["error"]
            assert advance(client, session, TEXT[number], number - 1)["steps"] == number
            if model.is_dir():
                model.rmdir()
                model.touch()
        model.unlink()
        model.write_bytes(whole)
        server.process.send_signal(signal.SIGHUP)
        wait_for(server, "reloaded")
        model.unlink()
        os.mkfifo(model)
        server.process.send_signal(signal.SIGHUP)
        assert server.stop() == 0


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name != "GATEWRIGHT_TOKEN"}
    command = ["-m", "gatewright", "serve", *arguments]
    return fork_server(*SERVING).run(command, env={**own, **environment})


def test_what_cannot_be_served_is_one_line(tmp_path: Path, model: Path) -> None:
    run, free = str(model), ("--port", "0")
    (tmp_path / "damaged.safetensors").write_bytes(model.read_bytes()[:-1])
    for name, text in (("short", "ann: shorty\n"), ("binary", b"\xff\xfe"), ("none", "")):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "text.db").write_text("no database " * 500)
    os.mkfifo(tmp_path / "pipe")
    held = tmp_path / "held"
    held.mkdir()
    with Server(model, held) as server:
        cases: list[tuple[tuple[str, ...], dict[str, str], str]] = [
            ((run, "--port", str(server.port)), {}, "an address that is free"),
            ((run, *free, "--store", str(held / "sessions.db")), {}, "no other process"),
            (
                (str(tmp_path / "nowhere"), *free),
                {},
                "nowhere, which does not exist",
            ),
            (
                (str(held), *free),
                {},
                "held, a directory without config.toml",
            ),
            ((str(tmp_path / "damaged.safetensors"), *free), {}, "damaged.safetensors: data: expected"),
            ((run, *free, "--host", "0.0.0.0"), {}, "GATEWRIGHT_TOKEN"),
            ((run, *free, "--host", ""), {}, "--host"),
            ((run, *free), {"GATEWRIGHT_TOKEN": "shorty"}, "GATEWRIGHT_TOKEN: expected a token of 16"),
            ((run, *free, "--token-file", str(tmp_path / "short")), {}, "line 1 of"),
            ((run, *free, "--token-file", str(tmp_path / "binary")), {}, "--token-file: expected lines"),
            ((run, *free, "--token-file", str(tmp_path / "none")), {}, "--token-file: expected lines"),
            ((run, *free, "--token-file", str(tmp_path / "no such")), {}, "no such: the file does not exist"),
            ((run, *free, "--store", str(tmp_path / "text.db")), {}, "not a database"),
            ((run, *free, "--store", ""), {}, "--store: expected the path of a file"),
            ((run, *free, "--store", ":memory:"), {}, "--store: expected the path of a file"),
            ((run, *free, "--store", "file:x.db?mode=memory"), {}, "--store: expected the path of a file"),
            ((str(tmp_path / "pipe"), *free), {}, "pipe: it is a named pipe"),
            ((run, *free, "--max-steps", "0"), {}, "--max-steps: expected a whole number from 1"),
            ((run, *free, "--threads", "0"), {}, "threads: expected a whole number from 1"),
        ]
        for given, environment, expected in cases:
            done = start(*given, **environment)
            assert done.returncode == 1, done.stderr
            assert expected in done.stderr
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert "shorty" not in done.stderr
            assert done.stdout == ""
        with http(server) as client:  # which none of them disturbed
            create(client)
    assert not list(tmp_path.glob("nowhere*"))  # nor was anything made for a run that there is not


def test_help_says_what_a_server_can_be_told() -> None:
    done = start("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in (
        "--token-file",
        "--max-resident",
        "--durability",
        "--allow-origin",
        "GATEWRIGHT_TOKEN",
        "SIGHUP",
    ):
        assert option in done.stdout


def test_memory_alone_keeps_nothing(tmp_path: Path, model: Path) -> None:
    with Server(model, tmp_path, "--durability", "memory", "--store", str(tmp_path / "unused.db")) as server:
        with http(server) as client:
            session = create(client)
            advance(client, session, TEXT, 0)
            assert state(client, session) == ran(text_model(), TEXT)[1]
        assert server.stop() == 0
        server.start()
        with http(server) as client:
            assert client.get(f"/v1/sessions/{session}").status_code == 404
    assert not list(tmp_path.glob("*.db"))


def test_each_request_by_itself(tmp_path: Path, model: Path) -> None:
    with Server(model, tmp_path, "--durability", "step") as server:
        with http(server) as client:
            session = create(client)
            answer = client.post(f"/v1/sessions/{session}/generate", json={"prompt": "ab", "length": 6, "seed": 1})
            pieces = [json.loads(line) for line in answer.text.splitlines()]
            assert [len(piece["text"]) for piece in pieces] == [1] * 6
            written = "".join(piece["text"] for piece in pieces)
            told = client.get("/metrics").text
            assert metric(told, "batch_size_sum") == metric(told, "batch_size_count") == 6
        server.kill()
        server.start()
        with http(server) as client:
            assert state(client, session) == ran(text_model(), "ab" + written)[1]


def test_the_log_is_json_and_tells_no_secrets_and_the_metrics_are_true(tmp_path: Path, model: Path) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    log_level, limits = ("--log-level", "debug"), ("--max-resident", "4", "--idle", "1")
    environment = {"GATEWRIGHT_TOKEN": TOKEN}
    with Server(model, tmp_path, *log_level, *limits, environment=environment, fresh=True) as server:
        with http(server, headers=headers) as client:
            sessions = [create(client) for _ in range(7)]
            for session in sessions:
                advance(client, session, TEXT[:7], 0)
            advance(client, sessions[0], TEXT[:7], 0)
            assert (
                client.post(f"/v1/sessions/{sessions[0]}/advance", json={"x": "a", "first": 3}).status_code == 409
            )
            assert client.post(f"/v1/sessions/{sessions[0]}/advance", json={"x": []}).status_code == 422
            client.delete(f"/v1/sessions/{sessions.pop()}")
            client.get("/v1/sessions", headers={"authorization": "Bearer another-token-than-that"})
            client.get(f"/v1/sessions/{'A' * 32}")
            server.process.send_signal(signal.SIGHUP)
            wait_for(server, "reloaded")
            with connect(f"ws://127.0.0.1:{server.port}/v1/ws", additional_headers=headers) as connection:
                answer = packed(connection, {"op": "advance", "session": sessions[0], "x": TEXT[7:], "first": 7})
                assert answer["steps"] == len(TEXT)
                told = client.get("/metrics").text
                connection.send("{")
                connection.recv(20)
            assert metric(told, "sessions") == 6
            assert metric(told, "sessions_resident") <= 4
            assert metric(told, "connections") == 1
            assert metric(told, "waiting") == 0
            assert metric(told, "steps_total") == 7 * 7 + len(TEXT) - 7
            wanted = {("create", "201"): 7, ("advance", "200"): 9, ("advance", "409"): 1, ("delete", "204"): 1}
            wanted[("read", "404")] = 1
            for (op, status), count in wanted.items():
                assert metric(told, "requests_total", op=op, status=status) == count
            # Idle sessions leave memory.
            wait_until(lambda: not metric(client.get("/metrics").text, "sessions_resident"))
            assert state(client, sessions[0]) == ran(text_model(), TEXT)[1]  # and comes back
            y = advance(client, sessions[1], TEXT[7:], 7)["y"]
            assert np.array_equal(np.array(y, np.float32), ran(text_model(), TEXT)[0][7:])
            # What is no HTTP is complained of in a line of JSON too.
            with connect(f"ws://127.0.0.1:{server.port}/v1/ws", additional_headers=headers) as connection:
                connection.socket.sendall(b"\xff" * 100)
            with connect(f"ws://127.0.0.1:{server.port}/v1/ws", additional_headers=headers) as connection:
                connection.send(b"\xff", text=True)
                with pytest.raises(ConnectionClosed):
                    connection.recv(20)
                assert connection.close_code == 1007
        assert server.stop() == 0
    text = server.log.read_text()
    plain = [line for line in text.splitlines() if not line.startswith("{")]
    assert plain == [f"serving {model} at http://127.0.0.1:{server.port}"]
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert all({"time", "level", "event"} <= set(line) for line in lines)
    assert {"ready", "request", "connection", "reloaded", "draining", "stopped"} <= {
        line["event"] for line in lines
    }
    for secret in (TOKEN, "another-token", *sessions, "Traceback"):
        assert secret not in text
