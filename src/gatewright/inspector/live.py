"""The page while a model trains, with a snapshot at each validation."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from gatewright.errors import reason
from gatewright.insight.inputs import of_run
from gatewright.inspector.catalog import Catalog, Subject
from gatewright.inspector.loader import snapshot_entry
from gatewright.inspector.selection import DEFAULT
from gatewright.inspector.server import PageServer
from gatewright.nn.model import Model, load
from gatewright.runs import snapshots
from gatewright.runs.run import Run
from gatewright.train.callback import Callback

#: Maximum number of steps of the validation part on the page.
STEPS = 500
#: Seconds at the end of training in which open pages can request the last model.
FAREWELL = 3.0


class Live(Callback):
    """Shows a run in a browser while it trains, and keeps a snapshot of the model at each validation.

    Recordings are made from the snapshots when the page requests them, so that training waits only for the writing
    of a file.

    Args:
        port: port to listen on; 0 for any free port.
        browser: whether to open a browser.
    """

    def __init__(self, port: int = 0, browser: bool = True) -> None:
        self._catalog, self._port, self._browser = Catalog(), port, browser
        self._server: PageServer | None = None

    def begin(self, run: Run, say: Callable[[str], None]) -> None:
        """Serve the page, with the snapshots of an earlier start of the run."""
        self._run, self._say = run, say
        server = self._server = self._server or self._listen()
        server.title = f"{run.path.resolve().name} - Gatewright"
        server.__enter__()
        scores = dict(run.validations())
        for step, _ in snapshots.found(run):
            if step in scores:
                self._add(step, scores[step])
        say(f"look at it: {server.url}")
        if self._browser:
            server.open_browser()

    def validated(self, model: Model, step: int) -> None:
        """Keep a snapshot and add it to the page."""
        try:
            removed = snapshots.keep(self._run, model, step)
        except OSError as error:
            self._say(f"no snapshot of step {step}: {reason(error, writing=True)}")
            return
        self._add(step, dict(self._run.validations()).get(step))
        for number in removed:
            self._catalog.remove(snapshot_entry(self._run, number, None).id)

    def _add(self, step: int, score: float | None) -> None:
        entry = snapshot_entry(self._run, step, score)

        def make() -> Subject:
            path = dict(snapshots.found(self._run))[step]
            model = load(path)
            batch = of_run(self._run, model, None, part="valid", steps=STEPS)
            return Subject(model, DEFAULT.rows_of(batch, lambda _: None).noted(entry.note))

        self._catalog.add(entry, make)

    def end(self) -> None:
        """Keep serving until Ctrl-C at a terminal; elsewhere until open pages have the last model."""
        if self._server is None:
            return
        self._say(f"gatewright look {self._run.path} shows it again")
        if sys.stdin.isatty() and sys.stdout.isatty():
            self._say("the page stays until Ctrl-C")
            self._server.wait()
        elif self._catalog.requested:
            time.sleep(FAREWELL)

    def _listen(self) -> PageServer:
        return PageServer(self._catalog, "Gatewright", self._port)

    def __enter__(self) -> Live:
        # Before the run is created, so that an occupied port leaves no run behind. Only the first process serves.
        if os.environ.get("RANK", "0") == "0":
            self._server = self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
