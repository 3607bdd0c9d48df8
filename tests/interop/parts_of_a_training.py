"""Train in parts, each in its own number of processes: what torchrun starts of the tests next to this file.

Arguments: the source, the directory of the run, the step after which to stop, and how many.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from gatewright.tasks.options import Options
from gatewright.train.callback import Callback
from gatewright.train.launch import resume, train
from tests.support.training_runs import FORECAST, LANGUAGE, quiet

#: Steps of the whole training.
STEPS = 12


class StopAfter(Callback):
    """Stops a training as a person would, in its first process alone."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, step: int, loss: float, rate: float) -> None:  # noqa: ARG002
        """Ask for the end, which comes after one more step."""
        if step == self._step - 1:
            os.kill(os.getpid(), signal.SIGTERM)


def options_of(source: Path) -> Options:
    """Return options without dropout, whose masks would depend on the number of processes."""
    own = LANGUAGE if source.suffix == ".txt" else FORECAST
    training = replace(own.training, steps=STEPS, batch=7, validate_every=4)
    return replace(own, model=replace(own.model, dropout=0.0), training=training)


def main() -> None:
    """Go on with a run, or make it."""
    source, run, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    callbacks = [StopAfter(last)] if last < STEPS else []
    if run.exists():
        resume(run, console=quiet(), callbacks=callbacks)
    else:
        train(source, options_of(source), run=run, console=quiet(), callbacks=callbacks)


if __name__ == "__main__":
    main()
