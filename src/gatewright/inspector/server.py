"""The process behind a page: listens on this machine alone, under a name that nobody guesses."""

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
from gatewright.inspector.catalog import Shelf
from gatewright.web.connection_limit import Room
from gatewright.web.http_connection import configured
from gatewright.web.listen import address_of, listen

HOST = "127.0.0.1"
#: Connections at once: those of a few pages.
_MOST = 256


class PageServer:
    """Serves a shelf in a thread of its own, between ``with`` and its end.

    Args:
        shelf: what the page can show.
        title: of the page.
        port: to listen at; 0 for any that is free.

    Attributes:
        title: of the page, until it is changed.
        url: of the page, with its token.

    Raises:
        GatewrightError: if the port is not free.
    """

    def __init__(self, shelf: Shelf, title: str, port: int = 0) -> None:
        try:
            self._listening = listen(HOST, port)
        except GatewrightError as error:
            expected, got = error.expected.replace("an address", "a port"), error.got.partition(" (")[0]
            raise GatewrightError("--port", expected, got) from None
        self.title = title
        token = secrets.token_urlsafe(24)
        self.url = f"{address_of(self._listening)}/{token}/"
        app = create_app(shelf, token, lambda: self.title, lambda: self._server.should_exit)
        self._listening.room = Room(_MOST)
        # Of what others on this machine send here, a person who watches a training is told nothing.
        config = configured(
            app, self._listening.room, log_level="error", lifespan="off", timeout_graceful_shutdown=2
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
        """Stop, also what was never begun."""
        # What does not end by itself in time is cut off, which uvicorn tells as the application's fault.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server.should_exit = True
        if self._thread.is_alive():
            # The server ends within two seconds of its own; on a busy machine these take longer, and its socket
            # must not be closed under it.
            self._ended.wait(timeout=60)
        self._listening.close()

    def open_browser(self) -> None:
        """Show the page in the default browser, if there is one."""
        webbrowser.open(self.url)

    def wait(self) -> None:
        """Serve until Ctrl-C."""
        try:
            # Not Thread.join: where Ctrl-C interrupts it, a thread that runs counts as ended.
            while not self._ended.wait(timeout=0.5):
                pass
        except KeyboardInterrupt:
            return
