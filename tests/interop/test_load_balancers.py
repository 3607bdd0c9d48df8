"""The load balancers of `deploy/` lead a session to one replica, and lose nothing when that one stops."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gatewright.serve.client import Client
from gatewright.serve.sessions.valkey import ValkeyStore
from tests.support.local_server import Local, local
from tests.support.serving import Server
from tests.support.stream_models import text_model
from tests.support.valkey_server import Valkey, free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.interop
DEPLOY = Path(__file__).parents[2] / "deploy"


@contextlib.contextmanager
def replicas(folder: Path) -> Iterator[dict[str, tuple[Local, contextlib.ExitStack]]]:
    """Two over one store; each with what stops it."""
    valkey = Valkey(folder / "valkey")
    with contextlib.ExitStack() as stack:
        running = {}
        for name in ("a", "b"):
            own = stack.enter_context(contextlib.ExitStack())
            store = own.enter_context(contextlib.closing(ValkeyStore(valkey.url, name)))
            (folder / name).mkdir()
            named = {"twin": text_model().stream(sessions=2)}
            server = local(text_model().stream(sessions=4), folder / name, store=store, replica=name, named=named)
            running[name] = own.enter_context(server), own
        yield running
    valkey.kill()


def nginx(folder: Path, port: int, ports: list[int]) -> list[str]:
    path = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if path is None:
        pytest.skip("nginx is not installed")
    text = (DEPLOY / "nginx.conf").read_text()
    for before, after in zip(("8765;", "8766;", "listen 8080"), (*ports, f"listen {port}"), strict=True):
        assert before in text
        text = text.replace(before, f"{after};" if before.endswith(";") else str(after))
    text = text.replace("http {", f"http {{\n  access_log off;\n  client_body_temp_path {folder}/body;", 1)
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid;\ndaemon off;\nuser root;\nerror_log {folder}/log;\n{text}"
    )
    return [path, "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, ports: list[int]) -> list[str]:
    path = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if path is None:
        pytest.skip("HAProxy is not installed")
    text = (DEPLOY / "haproxy.cfg").read_text()
    for before, after in zip((":8765", ":8766", ":8080"), (*ports, port), strict=True):
        assert before in text
        text = text.replace(before, f":{after}")
    (folder / "haproxy.cfg").write_text(text.replace("inter 1s", "inter 200ms"))
    return [path, "-db", "-f", str(folder / "haproxy.cfg")]


def opens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("balancer", [nginx, haproxy])
def test_sessions_stay_and_survive_their_replica(tmp_path: Path, balancer: Any) -> None:
    with replicas(tmp_path) as running:
        port = free_port()
        command = balancer(tmp_path, port, [server.port for server, _ in running.values()])
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: opens(port) or process.poll() is not None)
            assert process.poll() is None
            drive(f"http://127.0.0.1:{port}", running)
        finally:
            process.terminate()
            process.wait(30)


def test_a_rolling_restart_refuses_nothing(tmp_path: Path) -> None:
    """Clients without retries, over HAProxy, which asks /readyz: each replica drains, ends and starts again."""
    valkey, port = Valkey(tmp_path / "valkey"), free_port()
    text_model().save(tmp_path / "model.safetensors")
    options = ("--store", valkey.url, "--drain", "4")
    with contextlib.ExitStack() as stack:
        servers = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            server = Server(tmp_path / "model.safetensors", tmp_path / name, *options, "--replica-id", name)
            servers.append(stack.enter_context(server))
        command = haproxy(tmp_path, port, [server.port for server in servers])
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        wait_until(lambda: opens(port))
        over, replicas_seen = threading.Event(), set[str]()
        outputs: list[list[Any]] = [[] for _ in range(4)]
        letters = "abcdefgh" * 10_000

        def step(found: list[Any]) -> None:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                session = client.post("/v1/sessions").raise_for_status().json()["session"]
                while not over.is_set():
                    body = {"x": letters[len(found)], "first": len(found)}
                    answer = client.post(f"/v1/sessions/{session}/advance", json=body)
                    assert answer.status_code == 200, answer.text
                    assert not answer.json()["repeated"]
                    replicas_seen.add(answer.headers["gatewright-replica"])
                    found.extend(answer.json()["y"])

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(step, found) for found in outputs]
            try:
                for server in servers:
                    before = [len(found) for found in outputs]
                    wait_until(
                        lambda before=before: all(
                            len(found) > n + 20 for found, n in zip(outputs, before, strict=True)
                        )
                    )
                    assert server.stop() == 0
                    server.start()
                    wait_until(lambda: httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 200)  # noqa: B023
                    time.sleep(1)  # HAProxy has to see it
            finally:
                over.set()
            for each in running:
                each.result()
        assert replicas_seen == {"a", "b"}
        for found in outputs:
            expected = text_model().stream().run(letters[: len(found)])
            assert np.array_equal(np.array(found, np.float32), expected)
    valkey.kill()


def drive(address: str, running: dict[str, tuple[Local, contextlib.ExitStack]]) -> None:
    expected = text_model().stream().run("abcdefgh")
    with httpx.Client(base_url=address, timeout=30) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        places, sessions = Counter[str](), {}
        for number in range(16):
            path = "/v1/models/twin" if number % 2 else "/v1"
            session = client.post(f"{path}/sessions").raise_for_status().json()["session"]
            seen = set()
            for first in range(3):
                body = {"x": "abc"[first], "first": first}
                answer = client.post(f"{path}/sessions/{session}/advance", json=body)
                seen.add(answer.raise_for_status().headers["gatewright-replica"])
            assert len(seen) == 1, "one session, one replica"
            places.update(seen)
            sessions[path, session] = seen.pop()
        assert set(places) == {"a", "b"}
        keyed = {
            client.post("/v1/sessions", headers={"Gatewright-Affinity": "sensor-7"}).headers["gatewright-replica"]
            for _ in range(8)
        }
        assert len(keyed) == 1, "one key, one replica"
        with Client(address, affinity="sensor-7") as known:
            session = known.create()
            assert np.array_equal(session.run("abcd"), expected[:4])
            gone = known.replica
            assert {gone} == keyed
            running[gone][1].close()  # it stops
            assert np.array_equal(session.run("efgh"), expected[4:])
            assert known.replica != gone
        for path, name in sessions:
            body = {"x": "d", "first": 3}
            answer = client.post(f"{path}/sessions/{name}/advance", json=body)
            assert answer.raise_for_status().json()["steps"] == 4
            assert np.array_equal(np.array(answer.json()["y"], np.float32), expected[3:4])
