"""Server process: startup, reload on SIGHUP, drain and graceful shutdown on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gatewright.errors import GatewrightError
from gatewright.files.model_path import require_model_file
from gatewright.serve.hosting import HostedModel, Reloader, host, load_models, models_of, open_store
from gatewright.serve.http.app import create_app
from gatewright.serve.http.auth import Tokens, require_loopback
from gatewright.serve.logs import log_event, log_to_stderr
from gatewright.serve.metrics import Metrics
from gatewright.serve.models import Models
from gatewright.serve.service import Shared
from gatewright.serve.sessions.store import Store
from gatewright.serve.settings import Settings
from gatewright.web.connection_limit import ConnectionLimit, LimitedSocket
from gatewright.web.http_connection import server_config
from gatewright.web.listen import address_of, listen
from gatewright.web.tls import reload_certificate, require_certificate
from gatewright.web.websocket_connection import WebSocketConnection

#: Seconds between two evictions of idle sessions.
_SWEEP = 5.0
#: Seconds for operations in progress to end at shutdown, before further ones are refused.
_FINISH_TIMEOUT = 10.0
#: Seconds for clients to read the last answers at shutdown.
_SHUTDOWN_TIMEOUT = 3.0


def serve(settings: Settings, *, started: Callable[[str], None] = lambda _: None) -> None:
    """Run the server until SIGTERM or SIGINT.

    Args:
        settings: settings of the server.
        started: called with the address once requests are accepted.

    Raises:
        GatewrightError: if a setting, the address, a model or the store cannot be used.
        OSError: if the token file cannot be read.
    """
    with _end_on_sigterm():
        _start(settings, started)


def _start(settings: Settings, started: Callable[[str], None]) -> None:
    tokens = Tokens.read(os.environ.get("GATEWRIGHT_TOKEN"), settings.token_file)
    require_loopback(settings.host, tokens)
    if settings.certificate is not None:
        require_certificate(settings.certificate, settings.key)
    for run in settings.models.values():
        require_model_file(run)
    loaded = load_models(settings)  # before a store is created: a model may be invalid
    log_to_stderr(settings.log_level)
    with (
        contextlib.closing(listen(settings.host, settings.port)) as listening,
        contextlib.closing(open_store(settings)) as store,
    ):
        shared = Shared(settings.limits, Metrics(), settings.replica)
        hosted = host(settings, loaded, store, shared)
        asyncio.run(_serve(settings, tokens, store, hosted, shared, listening, started))
    log_event("stopped")


async def _serve(
    settings: Settings,
    tokens: Tokens,
    store: Store,
    hosted: list[HostedModel],
    shared: Shared,
    listening: LimitedSocket,
    started: Callable[[str], None],
) -> None:
    models = models_of(settings, hosted, store, shared)
    address = address_of(listening, tls=settings.certificate is not None)
    limit = listening.limit = ConnectionLimit(settings.limits.max_clients)
    if limit.maximum < settings.limits.max_clients:
        log_event("few open files are allowed", level=logging.WARNING, connections=limit.maximum)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reloader = Reloader(settings, store, hosted)

        def reload() -> None:
            reloader.start()
            _reload_certificate(settings, config)

        with contextlib.suppress(AttributeError, NotImplementedError):  # no such signal on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
        sweeping = asyncio.create_task(_sweep(models))
        names = {model.name: model.sessions.stream.fingerprint[:12] for model in hosted}
        log_event("ready", address=address, models=names, sessions=store.count())
        started(address)
        gc.collect()
        gc.freeze()  # excludes what exists now from collections, which otherwise take 20 ms each
        yield
        gc.unfreeze()
        sweeping.cancel()

    app = create_app(models, tokens=tokens, hosts=settings.hosts, origins=settings.origins, lifespan=lifespan)
    config = server_config(
        app,
        limit,
        ws=WebSocketConnection,
        lifespan="on",
        ws_max_size=settings.limits.max_body,
        timeout_graceful_shutdown=10,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
    )
    await Server(config, models, settings.drain).serve(sockets=[listening])


class Server(uvicorn.Server):
    """A web server that drains, and answers waiting requests before it closes connections.

    The first signal turns `/readyz` to 503; requests are served for ``drain`` seconds more.  Then, or at a second
    signal, no connection is accepted, requests in progress are answered and connections closed.  A signal after
    that refuses the waiting requests; the batches that run are stored.
    """

    def __init__(self, config: uvicorn.Config, models: Models, drain: float) -> None:
        super().__init__(config)
        self._models, self._drain = models, drain
        self._until: float | None = None  # end of the drain
        self._logged = self._hurried = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Shut down on SIGINT and SIGTERM without raising them again afterwards."""
        if threading.current_thread() is not threading.main_thread():  # which alone receives signals
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin the drain; end it at a second signal; hurry at another."""
        if self._until is None:
            self._models.shared.draining = True
            self._until = time.monotonic() + self._drain
            self.should_exit = not self._drain
        else:
            self._hurried = self.should_exit
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to shut down."""
        if self._until is not None and not self._logged:
            self._logged = True
            log_event("draining", seconds=self._drain)
        if self._until is not None and time.monotonic() >= self._until:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no connection, answer the requests in progress, and close."""
        for server in self.servers:
            server.close()
        self._models.shared.closing = True
        for connection in list(self.server_state.connections):
            connection.shutdown()
        finished = await self._finish()
        await self._models.close(answer=not self._hurried)
        if not finished:
            await asyncio.sleep(0.05)  # time to send the answers
        timeout = _SHUTDOWN_TIMEOUT if self._models.running else 0.0
        asyncio.get_running_loop().call_later(timeout, self._abort)
        await super().shutdown(sockets)

    async def _finish(self) -> bool:
        """Wait for the requests in progress; return whether all are answered."""
        start = time.monotonic()
        while self.server_state.tasks and not self._hurried:
            timeout = _FINISH_TIMEOUT if self._models.running else _SHUTDOWN_TIMEOUT
            if time.monotonic() - start > timeout:
                break
            await asyncio.sleep(0.01)
        return not self.server_state.tasks

    def _abort(self) -> None:
        """Abort the connections of clients that do not read their answers."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


@contextlib.contextmanager
def _end_on_sigterm() -> Iterator[None]:
    """End the process at SIGTERM until the server handles it: the first process of a container would ignore it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _reload_certificate(settings: Settings, config: uvicorn.Config) -> None:
    """Use the certificate's file as it is now for new connections, unless it is invalid."""
    if settings.certificate is None or config.ssl is None:
        return
    try:
        reload_certificate(config.ssl, settings.certificate, settings.key)
    except GatewrightError as error:
        log_event("certificate not reloaded", level=logging.ERROR, error=str(error))
    else:
        log_event("certificate reloaded")


async def _sweep(models: Models) -> None:
    while True:
        await asyncio.sleep(min(_SWEEP, models.shared.limits.idle))
        try:
            await models.drop_idle()
        except GatewrightError as error:
            log_event("not swept", level=logging.WARNING, error=str(error))
