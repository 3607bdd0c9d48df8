"""The command that opens the inspector: look."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from gatewright.cli import early_checks
from gatewright.cli.app import LOADING, app, errors, on_a_line, say
from gatewright.errors import GatewrightError, RunError
from gatewright.files.model_path import no_run
from gatewright.inspector.selection import Selection
from gatewright.progress import Waits
from gatewright.tasks import registry

if TYPE_CHECKING:
    from gatewright.inspector.catalog import Catalog


@app.command
def look(
    run: Path | None = None,
    data: Path | None = None,
    /,
    *,
    row: int | None = None,
    start: int = 0,
    steps: int | None = None,
    fill: str | None = None,
    plain_rnn: bool = False,
    export: Path | None = None,
    save: Path | None = None,
    port: int = 0,
    no_browser: bool = False,
) -> None:
    """Look inside a model, in a browser: every gate of every step, what the cell remembers, and what if.

    Example: gatewright look runs/load

    Without a run it opens a small example: an LSTM that remembers a flag, next to a plain RNN that guesses.

    Args:
        run: Directory of a run; or a recording, or a model file.
        data: A table or a text to read (default: the test part of the run's data).
        row: Index of the series to show, in a table of several (default: the first 16 series).
        start: First row or character to read (default: 0).
        steps: Maximum number of steps to read (default: 2000).
        fill: Fill missing inputs: "forward" or "mean" (default: as in training).
        plain_rnn: Train a plain RNN on the same batches, unless the run has one, and show it next to the model.
        export: Write a page that opens without a server, and exit.
        save: Write the recording, for gatewright.insight.Recording.load, and exit.
        port: Port to listen on; 0 for any free port (default: 0).
        no_browser: Print the page's URL; do not open a browser.
    """
    for name, path in (("--export", export), ("--save", save)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise GatewrightError(name, "a file in a directory that exists", str(path))
    selection = Selection(row, start, steps, fill)
    if run is not None and run.is_dir():
        opened = early_checks.check_run(run)
        if data is not None and registry.suffix_of(data) in registry.suffixes():
            early_checks.check_data(opened, data)
    elif run is not None and not run.is_file():
        raise RunError("run", "the directory of a run, a recording or a model file", no_run(run))
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.inspector import loader

        if export is None and save is None:
            import gatewright.inspector.server  # noqa: F401  (a missing package is an error before the model runs)

    if run is None:
        catalog, title = loader.open_example(selection, plain_rnn)
    else:
        with waits.during(f"reading {data or run}, and running the model over it"):
            catalog, title = loader.open_path(run, data, selection, plain_rnn, say)
    if export is None and save is None:
        _serve_page(catalog, title, port, no_browser)
        return
    from gatewright.files.atomic import writing

    shown = catalog.shown()
    if save is not None:
        with writing(save):
            catalog.payload(shown).recording.save(save)
        say(f"wrote {save}")
    if export is not None:
        from gatewright.inspector.html import export as write

        with writing(export):
            size = write(export, catalog, shown)
        say(f"wrote {export}, {size / 1e6:.1f} MB")


def _serve_page(catalog: Catalog, title: str, port: int, no_browser: bool) -> None:
    from gatewright.inspector.server import PageServer

    catalog.payload(catalog.shown())  # an error is printed here, not shown on the page
    with PageServer(catalog, f"{title} - Gatewright", port) as server, contextlib.suppress(KeyboardInterrupt):
        say(f"look at {on_a_line(title)}: {server.url}\nCtrl-C stops")
        if not no_browser:
            server.open_browser()
        server.wait()
