"""Progress of long work: a line for a step that takes long, a bar or plain lines for one that can be counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between two plain lines where there is no validation to report.
PLAIN_SECONDS = 10.0


#: Seconds after which a step that goes on says what it is.
PATIENCE = 1.0


class Waits:
    """Says what takes long.

    Args:
        console: where to; None for nowhere.
        shown: false for all processes but the first.
    """

    def __init__(self, console: Console | None, shown: bool = True) -> None:
        self._console = console if shown else None

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Say what is being done, as soon as it takes longer than `PATIENCE`."""
        if PATIENCE <= 0:
            self._say(what)
            yield
            return
        timer = threading.Timer(PATIENCE, self._say, [what])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def counting(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Show how far something has come: a bar in a terminal, a line now and then elsewhere.

        Args:
            what: what is being done.
            total: how much there is to do.
            unit: of what.

        Yields:
            A function that is given how much more is done.
        """
        if self._console and self._console.is_terminal:
            bar = Progress(
                TextColumn(what), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn(unit),
                TextColumn("eta"), TimeRemainingColumn(), console=self._console, transient=True,
            )  # fmt: skip
            with bar:
                task = bar.add_task(what, total=total)
                yield lambda more: bar.advance(task, more)
            return
        done, began = 0, time.monotonic()
        told = began

        def advance(more: int) -> None:
            nonlocal done, told
            done, now = done + more, time.monotonic()
            if done < total and now - told >= PLAIN_SECONDS:
                told = now
                left = (now - began) / done * (total - done)
                self._say(f"{what}: {done:,} of {total:,} {unit}, eta {left:.0f} s")

        with self.during(f"{what}: {total:,} {unit}"):
            yield advance

    def _say(self, text: str) -> None:
        if self._console:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


#: Says nothing.
SILENT = Waits(None)
