"""What it costs to look (``record=True``), here and on other devices, and to keep less (``checkpoint=16``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks import bars, memory, peers
from benchmarks.bars import Judged
from benchmarks.cases import Case
from benchmarks.settings import Part, Settings, counted, torch_threads
from benchmarks.timing import interleaved
from gatewright.nn import fallback, recompute

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


def recomputed(settings: Settings) -> Part:
    """Time what other devices do for a record, on the CPU, over torch's forward pass; and a loop of cells."""
    case = Case("recompute", 500, 16, 256, 256)
    x, _ = peers.inputs(case)
    weights, zeros = peers.our_layer(case).layer_weights(0), torch.zeros(case.B, case.H)

    def recorded(sequence: Any) -> Any:
        @torch.no_grad()
        def call() -> tuple[Tensor, ...]:
            y, h_n, c_n, _ = sequence(x, zeros, zeros, weights)
            return y, h_n[None], c_n[None]

        return call

    calls = {
        "without": peers.forward(peers.torch_layer(case), x),
        "recomputed": recorded(recompute.sequence),
        "loop": recorded(fallback.sequence),
    }
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    for threads in settings.threads:
        print(
            f"\na record from torch's hidden states over torch's forward pass, {counted(threads)} (milliseconds)"
        )
        with torch_threads(threads):
            timed = interleaved(calls, settings.plan, peers.agree)
        ms = {name: one.seconds * 1e3 for name, one in timed.items()}
        ratios = {name: ms[name] / ms["without"] for name in ("recomputed", "loop")}
        for name, ratio in ratios.items():
            print(f"{name:11}{ms[name]:9.2f} over{ms['without']:9.2f}  = {ratio:.3f}", flush=True)
        figures.append({**vars(case), "threads": threads, "ms": ms, "ratios": ratios})
        judged.append(Judged(bars.RECOMPUTED, threads, ratios["recomputed"]))
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
