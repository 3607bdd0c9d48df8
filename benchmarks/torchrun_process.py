"""A training in one of several processes or alone, which writes what it took: started by `benchmarks.torchrun`.

Arguments: the name of a training, its table, and the directory for the run and the figures.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, distributed
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from benchmarks.torchrun import TRAININGS, WARM
from gatewright.tasks import processes
from gatewright.train import launch, trainer


class Watched(trainer.Loop):
    """The loop of a training, timed from the end of its `WARM`-th step to that of its last one."""

    begun: tuple[float, float] = (0.0, 0.0)
    took: tuple[float, float] = (0.0, 0.0)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if isinstance(self._model, torch.nn.parallel.DistributedDataParallel):
            # Of a function with annotations that are text, torch refuses them.
            self._model.register_comm_hook(None, lambda group, bucket: all_reduce(group, bucket))

    def _step(self, stop: bool) -> tuple[float, bool]:
        found = super()._step(stop)
        if self.progress.step == WARM:
            Watched.begun = now()
            Exchange.seconds = 0.0
        (wall, cpu), (first_wall, first_cpu) = now(), Watched.begun
        Watched.took = wall - first_wall, cpu - first_cpu
        Exchange.latest = Exchange.seconds
        return found


class Exchange:
    """Seconds in which this process waited for others, or sent and received while nothing was computed."""

    seconds = latest = 0.0

    @classmethod
    def timed(cls, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time counts."""

        def call(*args: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                cls.seconds += time.perf_counter() - began

        return call


def now() -> tuple[float, float]:
    """Return wall and CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def all_reduce(group: Any, bucket: Any) -> torch.futures.Future[Tensor]:
    """Exchange the gradients of a bucket; what the last one takes is no more overlapped by any computation."""
    began, found = time.perf_counter(), default_hooks.allreduce_hook(group, bucket)
    if not bucket.is_last():
        return found

    def counted(done: torch.futures.Future[Tensor]) -> Tensor:
        Exchange.seconds += time.perf_counter() - began
        return done.value()

    return found.then(counted)


def main() -> None:
    """Train, and write the figures of this process."""
    name, source, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    training = TRAININGS[name]
    launch.Loop = Watched  # type: ignore[attr-defined]
    processes.Sum.wait = Exchange.timed(processes.Sum.wait)  # type: ignore[method-assign]
    distributed.all_gather = Exchange.timed(distributed.all_gather)
    _, progress = launch.train(source, training.options, run=folder / "run", console=Console(file=io.StringIO()))
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    wall, cpu = Watched.took
    figures = {
        "rank": rank, "steps": training.steps - WARM, "seconds": wall, "cpu_seconds": cpu,
        "exchange_seconds": Exchange.latest, "score": progress.best,
    }  # fmt: skip
    (folder / f"{rank}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
