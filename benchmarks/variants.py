"""Other cells than the plain one: a training step over our plain layer, and loops of torch operations over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import gatewright
from benchmarks import bars, peers
from benchmarks.bars import Judged
from benchmarks.cases import Case
from benchmarks.settings import Part, Settings, counted, torch_threads
from benchmarks.timing import interleaved
from gatewright.nn import fallback
from gatewright.nn.variant_steps import Variant
from gatewright.spec import CellSpec

#: A tall and a wide case.
CASES = ("hydro", "charlm")

CELLS = {
    "peephole": CellSpec(peephole=True),
    "coupled": CellSpec(coupled=True),
    "no input gate": CellSpec(input_gate=False),
    "hard": CellSpec(
        gate_activation="hard_sigmoid", candidate_activation="hard_tanh", output_activation="hard_tanh"
    ),
    "clip": CellSpec(cell_clip=3.0),
    "zoneout": CellSpec(zoneout_cell=0.1, zoneout_hidden=0.05),
    "hidden dropout": CellSpec(hidden_dropout=0.2),
    "candidate dropout": CellSpec(candidate_dropout=0.2),
    "weight drop": CellSpec(weight_drop=0.2),
    "layer norm": CellSpec(layer_norm=True),
}


def run(settings: Settings) -> Part:
    """Time a training step of each cell over that of the plain one, and loops of torch's operations over it."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    for threads in settings.threads:
        print(f"\nforward + backward of other cells, {counted(threads)} (milliseconds; over the plain cell)")
        over_plain: dict[str, float] = {}
        over_loops: dict[str, float] = {}
        for case in settings.some(CASES):
            for name, cell in CELLS.items():
                with torch_threads(threads):
                    ms = _timed(case, cell, settings)
                place = f"{case.name}, {name}"
                over_plain[place] = ms["cell"] / ms["plain"]
                loops = min(ms["loop"], ms["compiled loop"])
                over_loops[place] = loops / ms["cell"]
                each = "".join(f"  {contender}{value:9.2f}" for contender, value in ms.items())
                print(f"{place:26}{each}  = {over_plain[place]:.3f}; loops {over_loops[place]:.1f}", flush=True)
                figures.append({**vars(case), "cell": name, "threads": threads, "ms": ms})
        norms = {place: ratio for place, ratio in over_plain.items() if "norm" in place}
        others = {place: ratio for place, ratio in over_plain.items() if place not in norms}
        for bar, ratios in ((bars.VARIANT, others), (bars.LAYER_NORM, norms)):
            worst = max(ratios, key=ratios.__getitem__)
            judged.append(Judged(bar, threads, ratios[worst], worst))
        lowest = min(over_loops, key=over_loops.__getitem__)
        judged.append(Judged(bars.VARIANT_LOOPS, threads, over_loops[lowest], lowest))
    return Part(figures, judged)


def _timed(case: Case, cell: CellSpec, settings: Settings) -> dict[str, float]:
    """Time all contenders in turns.

    The loops draw no random numbers: they multiply with expectations, which favours them.
    """
    torch.compiler.reset()  # it compiles a function for so many cells only
    x, dy = peers.inputs(case)
    layer = gatewright.LSTM(case.D, case.H, cell=cell)
    calls = {
        "plain": peers.training(peers.our_layer(case), x, dy),
        "cell": peers.training(layer, x, dy),
        "loop": _loop(layer, x, dy, fallback.sequence),
        "compiled loop": _loop(layer, x, dy, torch.compile(fallback.sequence, dynamic=False)),
    }

    def check(results: Any) -> None:
        random = any(cell.rates()[1:]) or cell.weight_drop
        compared = ("loop", "compiled loop") if random else ("cell", "loop", "compiled loop")
        peers.agree({name: results[name] for name in compared})

    timed = interleaved(calls, settings.plan, check)
    return {name: one.seconds * 1e3 for name, one in timed.items()}


def _loop(layer: Any, x: Tensor, dy: Tensor, step: Callable[..., Any]) -> Callable[[], Sequence[Any]]:
    """Return a training step that calls ``step`` for each step of the sequence."""
    x = x.clone().requires_grad_()
    leaves = [x, *layer.parameters()]
    variant = Variant(layer.cell)

    def call() -> Sequence[Any]:
        for leaf in leaves:
            leaf.grad = None
        weights = layer.layer_weights(0)
        h = c = x.new_zeros(x.shape[1], layer.hidden_size)
        ys = []
        for t in range(len(x)):
            _, h, c, _ = step(x[t : t + 1], h, c, weights, variant=variant)
            ys.append(h)
        y = torch.stack(ys)
        y.backward(dy)
        return y.detach(), *(leaf.grad for leaf in leaves)

    return call
