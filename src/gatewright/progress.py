"""Progress of long work: a line for a slow step, a bar or plain lines for one that can be counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between two plain lines where there is no validation to report.
PLAIN_SECONDS = 10.0
#: Seconds after which a step that is still running is announced.
PATIENCE = 1.0


class Waits:
    """Announcements of slow steps.

    Args:
        console: the console to write to; None for no output.
        shown: false for all processes but the first.
    """

    def __init__(self, console: Console | None, shown: bool = True) -> None:
        self._console = console if shown else None

    @property
    def console(self) -> Console | None:
        """The console that is written to; None for no output."""
        return self._console

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Announce the step as soon as it takes longer than `PATIENCE` seconds."""
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
        """Show the progress of a step: a bar in a terminal, a line every `PLAIN_SECONDS` elsewhere.

        Args:
            what: description of the step.
            total: number of units to do.
            unit: name of the unit.

        Yields:
            A function to call with the number of units just done.
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
        last_line = began

        def advance(more: int) -> None:
            nonlocal done, last_line
            done, now = done + more, time.monotonic()
            if done < total and now - last_line >= PLAIN_SECONDS:
                last_line = now
                left = (now - began) / done * (total - done)
                self._say(f"{what}: {done:,} of {total:,} {unit}, {self.left(left)}")

        with self.during(f"{what}: {total:,} {unit}"):
            yield advance

    def left(self, seconds: float) -> str:
        """Return the time left for a step, as a line shows it."""
        return f"eta {seconds:.0f} s"

    def _say(self, text: str) -> None:
        if self._console:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


#: No output.
SILENT = Waits(None)
