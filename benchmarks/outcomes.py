"""What came of whole sequences: times and ratios of each case, and means over cases."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cases import Case
from benchmarks.contenders import (
    FORWARD,
    OPENVINO,
    OPENVINO_BF16,
    ORT,
    OURS,
    OURS_BF16,
    TORCH,
    TORCH_AUTOCAST,
    TORCH_BF16,
    TRAINING,
)
from benchmarks.timing import Timed, geometric_mean

#: Those that we are held against, by the precision of the products.
PEERS = (TORCH, ORT, OPENVINO)
BF16_PEERS = (TORCH_BF16, TORCH_AUTOCAST, OPENVINO_BF16)


@dataclass(frozen=True)
class Outcome:
    """Times of one pass over one case.

    Attributes:
        timed: by contender.
        flops: FLOPs of the pass.
        peak: FLOP/s of the machine, float32.
        errors: of the results against torch's float32, root mean square over root mean square, by contender.
        implementations: which code ran, by contender.
    """

    timed: dict[str, Timed]
    flops: int
    peak: float
    errors: dict[str, list[float]] = field(default_factory=dict)
    implementations: dict[str, str] = field(default_factory=dict)

    def over(self, peer: str, ours: str = OURS) -> float:
        """How many times as fast as a peer we are; not a number where one of both was not measured."""
        if peer not in self.timed or ours not in self.timed:
            return float("nan")
        return self.timed[peer].seconds / self.timed[ours].seconds

    def over_best(self, some: Collection[str] = PEERS, ours: str = OURS) -> float:
        """How many times as fast as the fastest of some peers we are."""
        return min((self.over(peer, ours) for peer in some if peer in self.timed), default=float("nan"))

    @property
    def gflops(self) -> float:
        """Our GFLOP/s, float32."""
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
            "over": {name: self.over(name) for name in self.timed if name in PEERS},
            "bf16_over": {
                name: self.over(name, OURS_BF16)
                for name in self.timed
                if OURS_BF16 in self.timed and name in (*BF16_PEERS, TORCH, OURS)
            },
            "errors": self.errors,
            "implementations": self.implementations,
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


def geometric_means(rows: Iterable[Row]) -> dict[str, float]:
    """Return the means of the ratios that can be formed."""
    rows = list(rows)
    ratios = {
        **{f"forward over {peer}": [row.forward.over(peer) for row in rows] for peer in PEERS},
        "forward over the best": [row.forward.over_best() for row in rows],
        "forward + backward over torch": [row.training.over(TORCH) for row in rows],
        "bf16 forward over the best": [row.forward.over_best(BF16_PEERS, OURS_BF16) for row in rows],
        "bf16 forward over our float32": [row.forward.over(OURS, OURS_BF16) for row in rows],
        "bf16 forward + backward over the best": [row.training.over_best(BF16_PEERS, OURS_BF16) for row in rows],
        "bf16 forward + backward over torch float32": [row.training.over(TORCH, OURS_BF16) for row in rows],
        "bf16 forward + backward over our float32": [row.training.over(OURS, OURS_BF16) for row in rows],
    }
    means = {what: geometric_mean(values) for what, values in ratios.items()}
    return {what: mean for what, mean in means.items() if mean == mean}


def implementations(rows: Iterable[Row]) -> dict[str, str]:
    """Return which code ran, over all cases and in both passes, by contender."""
    names: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for passed, outcome in ((FORWARD, row.forward), (TRAINING, row.training)):
            for contender, name in outcome.implementations.items():
                passes = names.setdefault(contender, {}).setdefault(name, [])
                if passed not in passes:
                    passes.append(passed)
    return {
        contender: ", ".join(
            name if len(some) == 1 else f"{name} ({' and '.join(passes)})" for name, passes in some.items()
        )
        for contender, some in names.items()
    }
