"""Forward + backward while other processes keep all cores busy: a shared machine, or a data loader at work.

As many single-threaded processes as there are cores spin at normal priority, so the measured process gets about
half of every core.  Threads that wait for each other by spinning suffer most.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import bars, peers
from benchmarks.bars import Judged
from benchmarks.peers import OURS, TORCH
from benchmarks.settings import Part, Settings, cores, counted, torch_threads
from benchmarks.timing import Plan, geometric_mean, interleaved

#: Cases whose turns are short enough to be taken often: a few long ones would be left to the scheduler's luck.
CASES = ("forecast", "imdb", "speaker", "charlm", "rl", "offline1")

#: Ends by itself when whoever started it is gone.
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1_000_000): pass"


def run(settings: Settings) -> Part:
    """Measure, print and judge forward + backward under load."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    # A turn has to last for many of the scheduler's time slices.
    plan = Plan(2.0, 3, turn=0.2) if settings.quick else Plan(8.0, 7, turn=0.3)
    for threads in settings.threads:
        print(f"\nforward + backward beside {cores()} busy processes, {counted(threads)} (milliseconds)")
        ratios = {}
        for case in settings.some(CASES):
            x, dy = peers.inputs(case)
            calls = {name: peers.training(layer, x, dy) for name, layer in peers.layers(case).items()}
            with torch_threads(threads), all_cores_busy():
                timed = interleaved(calls, plan, peers.agree)
            ms = {name: one.seconds * 1e3 for name, one in timed.items()}
            ratios[case.name] = ms[TORCH] / ms[OURS]
            spread = {name: one.spread for name, one in timed.items()}
            print(
                f"{case.name:11}{ms[OURS]:9.2f} (spread {spread[OURS]:.0%}), torch{ms[TORCH]:9.2f} "
                f"(spread {spread[TORCH]:.0%}), ratio {ratios[case.name]:.2f}",
                flush=True,
            )
            figure = {**vars(case), "threads": threads, "ms": ms, "spread": spread}
            figures.append({**figure, "ratio": ratios[case.name]})
        mean = geometric_mean(ratios.values())
        print(f"geometric mean {mean:.2f}")
        judged.append(Judged(bars.BUSY, threads, mean, ", ".join(ratios)))
    return Part(figures, judged)


@contextmanager
def all_cores_busy() -> Iterator[None]:
    """Keep every core busy with a process of its own."""
    spinning: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(cores()):
            spinning.append(subprocess.Popen([sys.executable, "-S", "-c", SPIN]))
        time.sleep(0.3)  # until all have begun
        yield
        if any(process.poll() is not None for process in spinning):
            raise RuntimeError("a process that was to keep a core busy has ended")
    finally:
        for process in spinning:
            process.kill()
            process.wait()
