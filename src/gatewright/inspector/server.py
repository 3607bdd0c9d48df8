"""The server of the page: on this machine only, under a secret path."""

from __future__ import annotations

import logging
import secrets
import threading
import time
import webbrowser
from types import TracebackType

import uvicorn

from gatewright.errors import GatewrightError
from gatewright.inspector.app import create_app
from gatewright.inspector.catalog import Catalog
from gatewright.web.connection_limit import ConnectionLimit
from gatewright.web.http_connection import server_config
from gatewright.web.listen import address_of, listen

HOST = "127.0.0.1"
#: Maximum number of connections, enough for a few pages.
_MAX_CONNECTIONS = 256


class PageServer:
    """Serves a catalog in a thread of its own, as a context manager.

    Args:
        catalog: recordings that the page can show.
        title: title of the page.
        port: port to listen on; 0 for any free port.

    Attributes:
        title: title of the page, which may be changed.
        url: address of the page, with its token.

    Raises:
        GatewrightError: if the port is not free.
    """

    def __init__(self, catalog: Catalog, title: str, port: int = 0) -> None:
        try:
            self._listening = listen(HOST, port)
        except GatewrightError as error:
            expected, got = error.expected.replace("an address", "a port"), error.got.partition(" (")[0]
            raise GatewrightError("--port", expected, got) from None
        self.title = title
        token = secrets.token_urlsafe(24)
        self.url = f"{address_of(self._listening)}/{token}/"
        app = create_app(catalog, token, lambda: self.title, lambda: self._server.should_exit)
        self._listening.limit = ConnectionLimit(_MAX_CONNECTIONS)
        # No log of requests by other programs on this machine, which would disturb the output of a training.
        config = server_config(
            app, self._listening.limit, log_level="error", lifespan="off", timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gatewright look", daemon=True)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listening])
        finally:
            self._ended.set()

    def __enter__(self) -> PageServer:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise GatewrightError("--port", "a port that can be served", self.url)
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server, even if it was never started."""
        # uvicorn cuts off connections that do not end in time, and logs that as an error of the application.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server.should_exit = True
        if self._thread.is_alive():
            # The server ends by itself within two seconds, or later on a busy machine; until then its socket must
            # stay open.
            self._ended.wait(timeout=60)
        self._listening.close()

    def open_browser(self) -> None:
        """Open the page in the default browser, if there is one."""
        webbrowser.open(self.url)

    def wait(self) -> None:
        """Serve until Ctrl-C."""
        try:
            # Not Thread.join: if Ctrl-C interrupts it, the running thread counts as ended.
            while not self._ended.wait(timeout=0.5):
                pass
        except KeyboardInterrupt:
            return
