"""What a person sees while something runs: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gatewright import progress
from gatewright.train.callback import Callback

Measures = Callable[[float], dict[str, float | None]]


def _no_measures(score: float) -> dict[str, float | None]:  # noqa: ARG001
    return {}


class Display(Callback):
    """Shows how a training goes.

    Args:
        console: where to.
        measures: returns other measures of a validation score, by name.
    """

    def __init__(self, console: Console, measures: Measures = _no_measures) -> None:
        self._console, self._total, self._unit = console, 0, ""
        self._measures = measures
        self._live: Progress | None = None
        self._last = 0.0

    def start(self, total: int, unit: str) -> None:
        """Show a bar, in a terminal."""
        self._total, self._unit = total, unit
        self._last = time.monotonic()
        if self._console.is_terminal:
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

    def close(self) -> None:
        """Remove the bar."""
        if self._live:
            self._live.stop()

    def step(self, step: int, loss: float, rate: float) -> None:
        """Show a finished step: its number, its loss, steps a second."""
        if self._live:
            self._live.update(self._bar, completed=step, figures=f"loss {loss:.4f}  {rate:.1f} steps/s")
        elif time.monotonic() - self._last >= progress.PLAIN_SECONDS:
            left = (self._total - step) / rate if rate else 0.0
            self._print(f"step {step}/{self._total}  loss {loss:.4f}  {rate:.1f} steps/s  eta {left:.0f} s")

    def validation(self, step: int, epoch: float, loss: float, valid: float, best: bool) -> None:
        """Show the score of a validation."""
        mark, train = "  best so far" if best else "", f"{loss:.4f}" if step else "     -"
        measures = self._measures(valid).items()
        more = "".join(f"  {value:.4g} {name.replace('_', ' ')}" for name, value in measures if value is not None)
        self._print(
            f"step {step:>6}  epoch {epoch:>6.2f}  train {train}  valid {valid:.4f} {self._unit}{more}{mark}",
        )

    def note(self, text: str) -> None:
        """Show a line."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
