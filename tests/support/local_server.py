"""A server in a thread of the test's own process: real sockets, and a store that can be made to fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgpack
import numpy as np
from fastapi import FastAPI
from websockets.sync.client import ClientConnection, connect

from gatewright import Stream
from gatewright.errors import StoreError
from gatewright.runtime.state import State
from gatewright.serve.http.app import create_app
from gatewright.serve.http.auth import Tokens
from gatewright.serve.metrics import Metrics
from gatewright.serve.models import Models
from gatewright.serve.server import Server
from gatewright.serve.service import DEFAULT, PIECE, Service, Shared
from gatewright.serve.sessions.batcher import Batcher
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.sqlite import SqliteStore
from gatewright.serve.sessions.store import Store, StoredSession
from gatewright.serve.settings import Limits
from gatewright.web.connection_limit import ConnectionLimit
from gatewright.web.http_connection import server_config
from gatewright.web.listen import listen
from gatewright.web.websocket_connection import WebSocketConnection


class FaultyStore(SqliteStore):
    """Refuses everything while it is told to."""

    failing = False

    def _broken(self) -> None:
        if self.failing:
            raise StoreError(str(self._path), "a file that can be written", "disk I/O error")

    def save(self, sessions: Sequence[StoredSession]) -> list[bool]:
        self._broken()
        return super().save(sessions)

    def load(self, name: str) -> StoredSession | None:
        self._broken()
        return super().load(name)

    def delete(self, name: str, owner: str) -> None:
        self._broken()
        super().delete(name, owner)

    def names(self, owner: str, after: str = "", most: int = 1000) -> list[str]:
        self._broken()
        return super().names(owner, after, most)

    def ping(self) -> None:
        self._broken()
        super().ping()


@dataclass
class Local:
    """A running server, and a way to ask it."""

    app: FastAPI
    port: int
    http: httpx.Client
    loop: asyncio.AbstractEventLoop
    service: Service
    models: Models
    sessions: Sessions
    store: Any
    limit: ConnectionLimit
    web: Server

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/ws"

    def socket(self, protocol: str | None = "gatewright.json", **changes: Any) -> ClientConnection:
        protocols: Any = None if protocol is None else [protocol]
        return connect(self.url, subprotocols=protocols, compression=None, **changes)

    def create(self, **headers: str) -> str:
        response = self.http.post("/v1/sessions", headers=headers)
        assert response.status_code == 201, response.text
        return str(response.json()["session"])

    def ask(self, session: str, what: str, **body: Any) -> httpx.Response:
        return self.http.post(f"/v1/sessions/{session}/{what}", json=body)

    def advance(self, session: str, x: Any, **body: Any) -> dict[str, Any]:
        response = self.ask(session, "advance", x=x, **body)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def generate(self, session: str, **body: Any) -> list[dict[str, Any]]:
        response = self.ask(session, "generate", **body)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in response.text.splitlines()]

    def state(self, session: str) -> State:
        response = self.http.get(f"/v1/sessions/{session}")
        assert response.status_code == 200, response.text
        return read_state(response.json())

    def snapshot(self, session: str) -> bytes:
        response = self.http.get(f"/v1/sessions/{session}/snapshot")
        assert response.status_code == 200, response.text
        return response.content

    def restore(self, session: str, snapshot: bytes) -> httpx.Response:
        return self.http.put(f"/v1/sessions/{session}/snapshot", content=snapshot)

    def metric(self, name: str, **labels: str) -> float:
        return metric(self.http.get("/metrics").text, name, **labels)

    def run(self, work: Any) -> Any:
        """Await something in the server's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


def metric(text: str, name: str, **labels: str) -> float:
    """Return a number that /metrics told, the sum over models; 0 for one that it did not."""
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    found = 0.0
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        metric_name, _, rest = series.partition("{")
        if metric_name == f"gatewright_{name}" and wanted <= set(rest.removesuffix("}").split(",")):
            found += float(value)
    return found


def read_state(found: dict[str, Any]) -> State:
    """Return the state that a server told."""
    hidden, cell = (np.array(found[name], np.float32) for name in ("hidden", "cell"))
    last = np.array([np.nan if value is None else value for value in found["last"]], np.float64)
    recent = [[np.nan if value is None else value for value in row] for row in found["recent"]]
    rows = np.array(recent, np.float32).reshape(len(recent), -1 if recent else 0)
    return State(hidden, cell, last, found["state_steps"], rows)


def nulls(values: Any) -> Any:
    """Return numbers as they go into JSON."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [nulls(value) for value in values]
    return None if values != values else values


def numbers(values: Any) -> np.ndarray[Any, Any]:
    """Return what came out of JSON."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(each) for each in value]
        return np.nan if value is None else value

    return np.array(filled(values), np.float64)


def packed(connection: ClientConnection, frame: Any) -> Any:
    """Ask in msgpack, or in JSON: whatever the connection speaks."""
    if connection.subprotocol == "gatewright.msgpack":
        connection.send(msgpack.packb(frame))
        return msgpack.unpackb(connection.recv(20))
    connection.send(json.dumps(frame))
    return json.loads(connection.recv(20))


@contextlib.contextmanager
def local(
    stream: Stream,
    folder: Path,
    *,
    limits: Limits | None = None,
    tokens: dict[str, str] | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    find: Callable[[str], Stream | None] = lambda _: None,
    max_delay: float = 0.0,
    piece: int = PIECE,
    replica: str = "",
    named: Mapping[str, Stream] | None = None,
    certificate: Path | None = None,
    store: Store | None = None,
) -> Iterator[Local]:
    """Serve a stream as `gatewright serve` does, and others by name."""
    limits = limits or Limits()
    loop, ready = asyncio.new_event_loop(), threading.Event()
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    limit = listening.limit = ConnectionLimit(limits.max_clients)
    store = store or FaultyStore(folder / "sessions.db")
    limited: Any = {
        "most": limits.max_sessions,
        "most_each": limits.max_token_sessions,
        "most_bytes": limits.max_token_bytes,
    }
    served: dict[str, Any] = {DEFAULT: stream, **(named or {})}
    each = {name: Sessions(model, store, find=find, **limited) for name, model in served.items()}
    made: list[Any] = []

    async def serve() -> None:
        batching: Any = {"max_batch": limits.max_batch, "max_waiting": limits.max_waiting}
        shared = Shared(limits, Metrics(), replica)
        models = Models(
            [
                Service(
                    sessions,
                    Batcher(sessions, max_delay=max_delay, **batching),
                    store,
                    shared,
                    piece=piece,
                    name=name,
                )
                for name, sessions in each.items()
            ],
            store,
            shared,
        )
        app = create_app(models, tokens=Tokens(tokens or {}), hosts=hosts, origins=origins)
        config = server_config(
            app,
            limit,
            ws=WebSocketConnection,
            lifespan="off",
            ws_max_size=limits.max_body,
            ssl_certfile=certificate,
        )
        server = Server(config, models, 0.0)
        made.extend([app, models.default, models, server])
        ready.set()
        await server.serve(sockets=[listening])
        await models.close()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(30)
    app, service, models, server = made
    scheme, verify = (
        ("http", True) if certificate is None else ("https", ssl.create_default_context(cafile=certificate))
    )
    with httpx.Client(base_url=f"{scheme}://127.0.0.1:{port}", timeout=30, verify=verify) as client:
        try:
            yield Local(app, port, client, loop, service, models, each[DEFAULT], store, limit, server)
        finally:
            if isinstance(store, FaultyStore):
                store.failing = False
            for _ in range(3):
                loop.call_soon_threadsafe(server.handle_exit, signal.SIGTERM, None)
            thread.join(30)
            assert not thread.is_alive()
            loop.close()
            listening.close()
            store.close()
