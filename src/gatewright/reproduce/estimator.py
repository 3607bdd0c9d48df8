"""Trainings of estimators with the progress of an experiment."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from gatewright.estimators.base import Estimator, GatewrightWarning
from gatewright.progress import Waits
from gatewright.reproduce.experiment import Curve
from gatewright.train.callback import Callback


class Counted(Callback):
    """The steps of a training as progress.

    Args:
        waits: progress.
        label: description.
    """

    def __init__(self, waits: Waits, label: str) -> None:
        self._waits, self._label = waits, label
        self._stack = ExitStack()

    def start(self, total: int, unit: str) -> None:  # noqa: ARG002
        """Show the number of steps."""
        self._advance = self._stack.enter_context(self._waits.counting(self._label, total, "steps"))

    def step(self, step: int, loss: float, rate: float) -> None:  # noqa: ARG002
        """Count a step."""
        self._advance(1)

    def close(self) -> None:
        """Take the progress away."""
        self._stack.close()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Pass Ctrl-C on: an estimator would end its training and keep what it has so far, which is no result.

    Raises:
        KeyboardInterrupt: if the training was stopped.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "stopped at step", GatewrightWarning)
        try:
            yield
        except GatewrightWarning:
            raise KeyboardInterrupt from None


def validations(model: Estimator) -> Curve:
    """Return the validation score by step."""
    steps: list[Any] = [float(step) for step, _ in model.history_]
    return Curve(steps, [score for _, score in model.history_])
