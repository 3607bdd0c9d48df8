"""Peak memory of one training step, each contender in a fresh process.

The process first imports all, makes layer and inputs, and takes a training step with a tiny layer of the same
class, so that libraries are loaded and pools are there.  What it holds then is the base; the peak of the
resident set during the one step that follows, less the base, is what the step needs: y, dx and the gradients of
the parameters included, inputs and parameters not.
"""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks import bars, peers
from benchmarks.bars import Judged
from benchmarks.cases import Case
from benchmarks.peers import OURS, TORCH
from benchmarks.settings import Part, Settings, counted
from benchmarks.timing import Call

STATUS = Path("/proc/self/status")

#: The case that the bar is about: its activations are far larger than its weights.
BARRED = "hydro"

#: Whether this system says what a process holds.
MEASURABLE = STATUS.exists()


def run(settings: Settings) -> Part:
    """Measure, print and judge the peak memory of a training step, ours over torch's."""
    if not MEASURABLE:
        print("\npeak memory: not measured, there is no /proc here")
        return Part([], [])
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    for threads in settings.threads:
        print(f"\npeak memory of a training step, {counted(threads)} (MB)")
        for case in settings.some([BARRED]):
            mb = {who: peak(who, case, threads) for who in (OURS, TORCH)}
            ratio = mb[OURS] / mb[TORCH]
            print(f"{case.name:11}{mb[OURS]:9.1f} over torch's{mb[TORCH]:9.1f}  = {ratio:.3f}", flush=True)
            figures.append({**vars(case), "threads": threads, "mb": mb, "ratio": ratio})
            if case.name == BARRED:
                judged.append(Judged(bars.MEMORY, threads, ratio, case.name))
    return Part(figures, judged)


def peak(who: str, case: Case, threads: int, **options: Any) -> float:
    """Return the megabytes that a training step needs.

    Args:
        who: `OURS` or `TORCH`.
        case: the layer and its batch.
        threads: torch's.
        options: arguments that only our layer has.
    """
    asked = json.dumps({"who": who, "case": vars(case), "threads": threads, "options": options})
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", asked],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    return float(answer.stdout)


def measure(who: str, case: Case, threads: int, options: dict[str, Any]) -> float:
    """Take the step in this process; return its megabytes."""
    torch.set_num_threads(threads)

    def step(sizes: Case) -> Call:
        layer = peers.our_layer(sizes, **options) if who == OURS else peers.torch_layer(sizes)
        return peers.training(layer, *peers.inputs(sizes))

    call = step(case)
    step(Case("tiny", 2, threads, 3, 8))()
    gc.collect()
    with suppress(OSError):  # where it may not be reset, the peak so far is close to what is held now
        Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    results = call()
    peak_now = kilobytes("VmHWM")
    del results
    return (peak_now - before) / 1e3


def kilobytes(field: str) -> float:
    """Return a field of this process's status, in units of 1000 bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1.024


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    print(measure(told["who"], Case(**told["case"]), told["threads"], told["options"]))
