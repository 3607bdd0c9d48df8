"""Callbacks of a training."""

from __future__ import annotations

from collections.abc import Callable

from gatewright.nn.model import Model
from gatewright.runs.run import Run


class Callback:
    """Methods that a training calls in its first process; these do nothing."""

    def start(self, total: int, unit: str) -> None:
        """Called first.

        Args:
            total: steps of the whole run.
            unit: of losses and scores.
        """

    def note(self, text: str) -> None:
        """Called with a line for a person: what is learned, how large the model is, how the training ended."""

    def begin(self, run: Run, say: Callable[[str], None]) -> None:
        """Called before the first step, when the directory of the run is there.

        Args:
            run: the run.
            say: gives a line to the `note` of all callbacks.
        """

    def step(self, step: int, loss: float, rate: float) -> None:
        """Called after each step.

        Args:
            step: number of steps taken.
            loss: of the step.
            rate: steps a second.
        """

    def validation(self, step: int, epoch: float, loss: float, valid: float, best: bool) -> None:
        """Called with the score of each validation.

        Args:
            step: number of steps taken.
            epoch: number of epochs taken.
            loss: mean training loss since the last line of metrics.
            valid: score of the validation part.
            best: whether no earlier score was as good.
        """

    def validated(self, model: Model, step: int) -> None:
        """Called after each validation, once the checkpoint is on disk.

        Args:
            model: the model; it changes once this returns.
            step: number of steps taken.
        """

    def close(self) -> None:
        """Called last, also after an error."""

    def end(self) -> None:
        """Called by the command line when the training has ended: for what may wait for a person."""
