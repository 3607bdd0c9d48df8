"""Whole sequences: forward, and forward + backward, of every case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import bars, onnx_peer, peers
from benchmarks.bars import Judged
from benchmarks.cases import CASES, TRAINING, Case
from benchmarks.machine import Peak
from benchmarks.peers import ORT, OURS, TORCH
from benchmarks.settings import Part, Settings, counted, torch_threads
from benchmarks.timing import Timed, geometric_mean, interleaved

#: Large enough for a kernel to come near the peak.
NEAR_PEAK = ("charlm", "nanopore", "large", "hydro256")


@dataclass(frozen=True)
class Outcome:
    """Times of one pass over one case.

    Attributes:
        timed: by contender.
        flops: FLOPs of the pass.
        peak: FLOP/s of the machine.
    """

    timed: dict[str, Timed]
    flops: int
    peak: float

    def over(self, peer: str) -> float:
        """How many times as fast as a peer we are."""
        return self.timed[peer].seconds / self.timed[OURS].seconds

    @property
    def over_best(self) -> float:
        """How many times as fast as the fastest peer we are."""
        return min(self.over(peer) for peer in self.timed if peer != OURS)

    @property
    def gflops(self) -> float:
        """Our GFLOP/s."""
        return self.flops / self.timed[OURS].seconds / 1e9

    @property
    def of_peak(self) -> float:
        """Our fraction of the machine's FMA peak."""
        return self.gflops * 1e9 / self.peak

    def plain(self) -> dict[str, Any]:
        """Return it for JSON; times in milliseconds."""
        return {
            "ms": {name: timed.seconds * 1e3 for name, timed in self.timed.items()},
            "spread": {name: timed.spread for name, timed in self.timed.items()},
            "rounds": self.timed[OURS].rounds,
            "over": {name: self.over(name) for name in self.timed if name != OURS},
            "gflops": self.gflops,
            "fma_peak_gflops": self.peak / 1e9,
            "fraction_of_peak": self.of_peak,
        }


@dataclass(frozen=True)
class Row:
    """What came of one case."""

    case: Case
    forward: Outcome
    training: Outcome


def run(settings: Settings) -> Part:
    """Measure, print and judge every case with every number of threads."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    for threads in settings.threads:
        print(f"\nsequences, {counted(threads)} (milliseconds; a ratio over 1 is in our favour)")
        print(
            f"{'case':11}{'T':>5}{'B':>5}{'D':>5}{'H':>5}  {'pass':9}{'ours':>9}{'torch':>9}{'ORT':>9}"
            f"{'/torch':>8}{'/ORT':>7}{'GFLOP/s':>9}{'of peak':>9}"
        )
        rows = []
        for case in map(settings.measured, settings.cases):
            row = measure(case, threads, settings)
            rows.append(row)
            show(row)
            outcomes = {"forward": row.forward.plain(), "training": row.training.plain()}
            figures.append({**vars(case), "threads": threads, **outcomes})
        means = {
            "forward over torch": geometric_mean(row.forward.over(TORCH) for row in rows),
            "forward over ONNX Runtime": geometric_mean(row.forward.over(ORT) for row in rows),
            "forward over the better": geometric_mean(row.forward.over_best for row in rows),
            "forward + backward over torch": geometric_mean(row.training.over(TORCH) for row in rows),
        }
        print("geometric means: " + ", ".join(f"{what} {mean:.2f}" for what, mean in means.items()))
        figures.append({"threads": threads, "geometric_means": means})
        judged += judge(rows, threads)
    return Part(figures, judged)


def measure(case: Case, threads: int, settings: Settings) -> Row:
    """Time one case."""
    layers, (x, dy) = peers.layers(case), peers.inputs(case)
    peak = Peak(threads, seconds=0.03 if settings.quick else 0.2)
    with torch_threads(threads):
        peak.measure()
        calls = {name: peers.forward(layer, x) for name, layer in layers.items()}
        calls[ORT] = onnx_peer.forward(layers[TORCH], x, threads)
        forward = interleaved(calls, settings.plan, peers.agree)
        del calls  # and with it the session and its threads
        peak.measure()
        both = {name: peers.training(layer, x, dy) for name, layer in layers.items()}
        training = interleaved(both, settings.plan, peers.agree)
        peak.measure()
    return Row(
        case, Outcome(forward, case.flops, peak.flops), Outcome(training, TRAINING * case.flops, peak.flops)
    )


def show(row: Row) -> None:
    """Print two lines, one a pass."""
    case = row.case
    sizes = f"{case.name:11}{case.T:5}{case.B:5}{case.D:5}{case.H:5}"
    for name, outcome in (("forward", row.forward), ("+backward", row.training)):
        ms = {who: f"{timed.seconds * 1e3:9.2f}" for who, timed in outcome.timed.items()}
        to_ort = f"{outcome.over(ORT):7.2f}" if ORT in outcome.timed else ""
        print(
            f"{sizes:31}  {name:9}{ms[OURS]}{ms[TORCH]}{ms.get(ORT, ''):9}{outcome.over(TORCH):8.2f}{to_ort:7}"
            f"{outcome.gflops:9.1f}{outcome.of_peak:9.1%}",
            flush=True,
        )
        sizes = ""


def judge(rows: list[Row], threads: int) -> list[Judged]:
    """Hold the rows against the bars."""
    some = bars.only([row.case.name for row in rows], len(CASES))

    def worst(bar: bars.Bar, values: dict[str, float]) -> Judged:
        name = min(values, key=values.__getitem__)
        return Judged(bar, threads, values[name], name)

    training = {row.case.name: row.training.over(TORCH) for row in rows}
    forward = {row.case.name: row.forward.over_best for row in rows}
    judged = [
        Judged(bars.TRAINING_MEAN, threads, geometric_mean(training.values()), some),
        worst(bars.TRAINING_EACH, training),
        Judged(bars.FORWARD_MEAN, threads, geometric_mean(forward.values()), some),
        worst(bars.FORWARD_EACH, forward),
    ]
    near = [row for row in rows if row.case.name in NEAR_PEAK]
    if near:
        judged += [
            worst(bars.FORWARD_PEAK, {row.case.name: row.forward.of_peak for row in near}),
            worst(bars.TRAINING_PEAK, {row.case.name: row.training.of_peak for row in near}),
        ]
    return judged
