"""What it costs to look (``record=True``), and to keep less (``checkpoint=16``)."""

from __future__ import annotations

from typing import Any

from benchmarks import bars, memory, peers
from benchmarks.bars import Judged
from benchmarks.settings import Part, Settings, counted, torch_threads
from benchmarks.timing import interleaved

#: A small, a tall and a wide case.
CASES = ("forecast", "hydro", "charlm")

#: Steps from one kept state to the next.
CHECKPOINT = 16


def record(settings: Settings) -> Part:
    """Time the training forward pass with the record handed out, over without."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    for threads in settings.threads:
        print(f"\nrecord=True over a training forward pass without, {counted(threads)} (milliseconds)")
        ratios = {}
        for case in settings.some(CASES):
            x, _ = peers.inputs(case)
            calls = {
                "without": peers.training_forward(peers.our_layer(case), x),
                "record": peers.training_forward(peers.our_layer(case), x, record=True),
            }
            with torch_threads(threads):
                timed = interleaved(calls, settings.plan, peers.agree)
            ms = {name: one.seconds * 1e3 for name, one in timed.items()}
            ratios[case.name] = ms["record"] / ms["without"]
            print(
                f"{case.name:11}{ms['record']:9.2f} over{ms['without']:9.2f}  = {ratios[case.name]:.3f}",
                flush=True,
            )
            figures.append({**vars(case), "threads": threads, "ms": ms, "ratio": ratios[case.name]})
        worst = max(ratios, key=ratios.__getitem__)
        judged.append(Judged(bars.RECORD, threads, ratios[worst], f"worst of {', '.join(ratios)}: {worst}"))
    return Part(figures, judged)


def checkpoint(settings: Settings) -> Part:
    """Time forward + backward that keeps every sixteenth state, over one that keeps all; likewise its memory."""
    figures: list[dict[str, Any]] = []
    for threads in settings.threads:
        print(f"\ncheckpoint={CHECKPOINT} over a training step without, {counted(threads)} (milliseconds, MB)")
        for case in settings.some(CASES):
            x, dy = peers.inputs(case)
            options: dict[str, dict[str, Any]] = {"without": {}, "checkpoint": {"checkpoint": CHECKPOINT}}
            calls = {name: peers.training(peers.our_layer(case, **more), x, dy) for name, more in options.items()}
            with torch_threads(threads):
                timed = interleaved(calls, settings.plan, peers.agree)
            ms = {name: one.seconds * 1e3 for name, one in timed.items()}
            ratio = ms["checkpoint"] / ms["without"]
            line = f"{case.name:11}{ms['checkpoint']:9.2f} over{ms['without']:9.2f}  = {ratio:.3f}"
            figure = {**vars(case), "threads": threads, "ms": ms, "ratio": ratio}
            if memory.MEASURABLE:
                mb = {name: memory.peak(peers.OURS, case, threads, **more) for name, more in options.items()}
                saved = mb["checkpoint"] / mb["without"]
                line += f"; memory{mb['checkpoint']:9.1f} over{mb['without']:9.1f}  = {saved:.3f}"
                figure |= {"mb": mb, "memory_ratio": saved}
            print(line, flush=True)
            figures.append(figure)
    return Part(figures, [])
