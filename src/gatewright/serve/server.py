"""The process: opens the store, listens, reloads on SIGHUP, and on SIGTERM answers what it has and stops."""

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
from gatewright.runtime.stream import Stream, WeightFormat
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

#: Seconds between two looks for idle sessions.
_SWEEP = 5.0
#: Seconds in which clients read the last answers.
_FAREWELL = 3.0


@dataclass(frozen=True)
class Settings:
    """What a server is told.

    Attributes:
        run: directory of the run, or a model file.
        host: address to listen at.
        port: and port.
        store: file of the sessions, or URL of a Valkey or Redis server; None for a file in the run.
        durability: what outlives what.
        max_delay: seconds that a request waits for others.
        weights: how the model's weights are kept.
        threads: at most so many work on a batch.
        token_file: names and tokens, or None.
        hosts: names of the server, beside its addresses.
        origins: of pages in browsers that may ask.
        limits: how much there may be of what.
        log_level: least level that is logged.
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
    """Serve until told to stop.

    Args:
        settings: what it is told.
        started: called with the address, once requests are taken.

    Raises:
        GatewrightError: if a setting, the address, the model or the store cannot be used.
        OSError: if the file of tokens cannot be read.
    """
    if not 0 <= settings.max_delay < 60:
        raise GatewrightError("--max-delay", "milliseconds from 0 to 60000", f"{settings.max_delay * 1000:g}")
    tokens = Tokens.read(os.environ.get("GATEWRIGHT_TOKEN"), settings.token_file)
    require_loopback(settings.host, tokens)
    saved, stream = _load(settings)  # before a store is made for what is no model
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
        reloads = _Reloads(settings, store, sessions, batcher)
        with contextlib.suppress(AttributeError, NotImplementedError):  # where there is no such signal
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloads.start)
        sweeping = asyncio.create_task(_sweep(service))
        log_event("ready", address=address, model=sessions.stream.fingerprint[:12], sessions=store.count())
        started(address)
        gc.collect()
        gc.freeze()  # what is here now stays: to look through all of it again and again takes 20 ms each time
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
    """A web server that answers what it has before it closes connections."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on the signals that ask for it; that is an end like any other, and not passed on."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, answer what waits, and close."""
        log_event("draining")
        await self._service.drain()
        await asyncio.sleep(0.05)  # the answers go out
        asyncio.get_running_loop().call_later(_FAREWELL, self._abort)
        await super().shutdown(sockets)

    def _abort(self) -> None:
        """Let go of those who do not read their answers."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


class _Reloads:
    """Takes a new model file into service when told to; whatever is wrong with it, the old one goes on."""

    def __init__(self, settings: Settings, store: Store, sessions: Sessions, batcher: Batcher) -> None:
        self._settings, self._store, self._sessions, self._batcher = settings, store, sessions, batcher
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to, after one that is under way."""
        self._task = asyncio.create_task(self._reload(self._task))

    async def _reload(self, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await before
            # Read beside the running batches; only the exchange comes between two of them.
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
        GatewrightError: if it cannot be used, or would not keep what is promised.
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
