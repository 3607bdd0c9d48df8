"""Server process: startup, model reload on SIGHUP, graceful shutdown on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from gatewright.errors import GatewrightError
from gatewright.files.model_path import require_model_file
from gatewright.runtime.packed_model import WeightFormat
from gatewright.runtime.stream import Stream
from gatewright.serve.http.app import create_app
from gatewright.serve.http.auth import Tokens, require_loopback
from gatewright.serve.logs import log_event, log_to_stderr
from gatewright.serve.metrics import Metrics
from gatewright.serve.service import PIECE, Service
from gatewright.serve.sessions import model_loader
from gatewright.serve.sessions.batcher import Batcher
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.sqlite import SqliteStore, require_file_name
from gatewright.serve.sessions.store import Store, StoredModel
from gatewright.serve.settings import Durability, Limits
from gatewright.web.connection_limit import ConnectionLimit, LimitedSocket
from gatewright.web.http_connection import server_config
from gatewright.web.listen import address_of, listen
from gatewright.web.websocket_connection import WebSocketConnection

#: Seconds between two evictions of idle sessions.
_SWEEP = 5.0
#: Seconds for clients to read the last answers at shutdown.
_SHUTDOWN_TIMEOUT = 3.0


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        run: directory of the run, or a model file.
        host: address to listen on.
        port: port to listen on; 0 for any.
        store: file of the sessions, or URL of a Valkey or Redis server; None for a file in the run.
        durability: what is stored before an answer is sent.
        max_delay: maximum wait of a request for others of its batch, in seconds.
        weights: format of the weights in memory.
        threads: maximum number of threads for a batch.
        token_file: file of names and tokens, or None.
        hosts: names of the server, in addition to its addresses.
        origins: allowed origins of web pages.
        limits: resource limits.
        log_level: minimum level of log messages.
    """

    run: Path
    host: str = "127.0.0.1"
    port: int = 8765
    store: str | None = None
    durability: Durability = "batch"
    max_delay: float = 0.002
    weights: WeightFormat = "float32"
    threads: int = 1
    token_file: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    log_level: str = "info"


def serve(settings: Settings, *, started: Callable[[str], None] = lambda _: None) -> None:
    """Run the server until SIGTERM or SIGINT.

    Args:
        settings: settings of the server.
        started: called with the address once requests are accepted.

    Raises:
        GatewrightError: if a setting, the address, the model or the store cannot be used.
        OSError: if the token file cannot be read.
    """
    if not 0 <= settings.max_delay < 60:
        raise GatewrightError("--max-delay", "milliseconds from 0 to 60000", f"{settings.max_delay * 1000:g}")
    tokens = Tokens.read(os.environ.get("GATEWRIGHT_TOKEN"), settings.token_file)
    require_loopback(settings.host, tokens)
    require_model_file(settings.run)
    saved, stream = _load(settings)  # before a store is created: the model may be invalid
    log_to_stderr(settings.log_level)
    with (
        contextlib.closing(listen(settings.host, settings.port)) as listening,
        contextlib.closing(_open(settings)) as store,
    ):
        store.save_model(saved)
        metrics, limits = Metrics(), settings.limits
        sessions = Sessions(
            stream,
            store,
            find=lambda fingerprint: model_loader.load_stored(
                store, fingerprint, sessions=limits.max_resident, threads=settings.threads
            ),
            most=limits.max_sessions,
            most_each=limits.max_token_sessions,
            most_bytes=limits.max_token_bytes,
            observe=metrics.store.observe,
        )
        asyncio.run(_serve(settings, tokens, store, sessions, metrics, listening, started))
    log_event("stopped")


async def _serve(
    settings: Settings,
    tokens: Tokens,
    store: Store,
    sessions: Sessions,
    metrics: Metrics,
    listening: LimitedSocket,
    started: Callable[[str], None],
) -> None:
    limits, each = settings.limits, settings.durability == "step"
    batcher = Batcher(
        sessions,
        max_batch=1 if each else limits.max_batch,
        max_delay=0 if each else settings.max_delay,
        max_waiting=limits.max_waiting,
        observe=metrics.batch.observe,
    )
    service = Service(sessions, batcher, store, limits, metrics, piece=1 if each else PIECE)
    address = address_of(listening)
    limit = listening.limit = ConnectionLimit(limits.max_clients)
    if limit.maximum < limits.max_clients:
        log_event("few open files are allowed", level=logging.WARNING, connections=limit.maximum)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reloader = _Reloader(settings, store, sessions, batcher)
        with contextlib.suppress(AttributeError, NotImplementedError):  # no such signal on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.start)
        sweeping = asyncio.create_task(_sweep(service))
        log_event("ready", address=address, model=sessions.stream.fingerprint[:12], sessions=store.count())
        started(address)
        gc.collect()
        gc.freeze()  # excludes what exists now from collections, which otherwise take 20 ms each
        yield
        gc.unfreeze()
        sweeping.cancel()

    app = create_app(service, tokens=tokens, hosts=settings.hosts, origins=settings.origins, lifespan=lifespan)
    config = server_config(
        app,
        limit,
        ws=WebSocketConnection,
        lifespan="on",
        ws_max_size=limits.max_body,
        timeout_graceful_shutdown=10,
    )
    await _Server(config, service).serve(sockets=[listening])


class _Server(uvicorn.Server):
    """A web server that answers waiting requests before it closes connections."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Shut down on SIGINT and SIGTERM without raising them again afterwards."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new requests, answer the waiting ones, and close."""
        log_event("draining")
        await self._service.drain()
        await asyncio.sleep(0.05)  # time to send the answers
        asyncio.get_running_loop().call_later(_SHUTDOWN_TIMEOUT, self._abort)
        await super().shutdown(sockets)

    def _abort(self) -> None:
        """Abort the connections of clients that do not read their answers."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


class _Reloader:
    """Reloads the model file on request; if it is invalid, the server keeps the current model."""

    def __init__(self, settings: Settings, store: Store, sessions: Sessions, batcher: Batcher) -> None:
        self._settings, self._store, self._sessions, self._batcher = settings, store, sessions, batcher
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start a reload, after any that is in progress."""
        self._task = asyncio.create_task(self._reload(self._task))

    async def _reload(self, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await before
            # The file is read while batches run; only the exchange happens between two of them.
            saved, stream = await asyncio.to_thread(_load, self._settings)
            await self._batcher.call(self._store.save_model, saved)
            await self._batcher.call(self._sessions.serve, stream)
        except Exception as error:
            log_event("not reloaded", level=logging.ERROR, error=str(error) or type(error).__name__)
        else:
            log_event("reloaded", model=stream.fingerprint[:12])


async def _sweep(service: Service) -> None:
    while True:
        await asyncio.sleep(min(_SWEEP, service.limits.idle))
        try:
            await service.drop_idle()
        except GatewrightError as error:
            log_event("not swept", level=logging.WARNING, error=str(error))


def _load(settings: Settings) -> tuple[StoredModel, Stream]:
    return model_loader.load_file(
        settings.run,
        weights=settings.weights,
        sessions=settings.limits.max_resident,
        threads=settings.threads,
    )


def _open(settings: Settings) -> Store:
    """Return the store.

    Raises:
        GatewrightError: if it cannot be used, or would not be durable.
    """
    if settings.durability == "memory":
        return SqliteStore(":memory:")
    if settings.store is None:
        run = settings.run.absolute()
        path = run / "sessions.db" if run.is_dir() else run.with_suffix(".sessions.db")
        return SqliteStore(require_file_name(str(path)))
    if "://" not in settings.store:
        return SqliteStore(require_file_name(settings.store))
    from gatewright.serve.sessions.valkey import ValkeyStore

    return ValkeyStore(settings.store)
