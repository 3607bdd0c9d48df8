"""What a person sees while something runs: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

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


class Display:
    """Shows how a training goes.

    Args:
        console: where to.
        total: steps of the run.
        unit: what the losses are measured in.
        shown: false for all processes but the first.
    """

    def __init__(self, console: Console, total: int, unit: str, shown: bool = True) -> None:
        self._console, self._total, self._unit, self._shown = console, total, unit, shown
        self._live: Progress | None = None
        self._last = 0.0

    def __enter__(self) -> Display:
        self._last = time.monotonic()
        if self._shown and self._console.is_terminal:
            self._live = Progress(
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TextColumn("eta"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=5,
            )
            self._live.start()
            self._bar = self._live.add_task("train", total=self._total, figures="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def step(self, step: int, loss: float, rate: float) -> None:
        """Show a finished step: its number, its loss, steps a second."""
        if self._live:
            self._live.update(self._bar, completed=step, figures=f"loss {loss:.4f}  {rate:.1f} steps/s")
        elif self._shown and time.monotonic() - self._last >= PLAIN_SECONDS:
            left = (self._total - step) / rate if rate else 0.0
            self._print(f"step {step}/{self._total}  loss {loss:.4f}  {rate:.1f} steps/s  eta {left:.0f} s")

    def validation(self, step: int, epoch: float, loss: float, valid: float, best: bool) -> None:
        """Show the score of a validation."""
        mark = "  best so far" if best else ""
        self._print(
            f"step {step:>6}  epoch {epoch:>6.2f}  train {loss:.4f}  valid {valid:.4f} {self._unit}{mark}",
        )

    def note(self, text: str) -> None:
        """Show a line."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        if self._shown:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
