"""Callbacks of a training."""

from __future__ import annotations

from collections.abc import Callable

from gatewright.nn.model import Model
from gatewright.runs.run import Run


class Callback:
    """Methods that a training calls; these do nothing."""

    def begin(self, run: Run, say: Callable[[str], None]) -> None:
        """Called when a run begins or continues.

        Args:
            run: the run.
            say: shows a line to the person who trains.
        """

    def validated(self, model: Model, step: int) -> None:
        """Called after each validation, with the model, which changes once this returns."""

    def end(self) -> None:
        """Called when the run has ended, for now or for good."""
