"""Rows of unequal length, and resets inside of sequences: over the padded run, torch's packed sequences and cells.

One thread; the time is that thread's own (CPU), the minimum over rounds in which the contenders take turns, so
that a busy machine changes the ratios little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks import bars, peers
from benchmarks.bars import Bar, Judged
from benchmarks.cases import CASES, Case
from benchmarks.peers import OURS, TORCH
from benchmarks.settings import Part, Settings, torch_threads

LENGTHS = ("hydro", "charlm")
RESETS = "rl"
PADDED, PLAIN, CELLS = "padded", "plain", "loop of cells"

#: Share of the steps before which a row's state is reset.
SHARE = 0.01
ROUNDS, QUICK_ROUNDS = 7, 2

#: What a contender is called with: x, and what it gives: y.
Forward = Callable[[Tensor], Tensor]


def run(settings: Settings) -> Part:
    """Measure and print forward + backward of the cases."""
    print("\nrows of unequal length, and resets: forward + backward, 1 thread (its CPU time, milliseconds)")
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    by_name = {case.name: case for case in CASES}
    for name in LENGTHS:
        case = settings.measured(by_name[name])
        ms = least(of_lengths(case), case, settings.quick)
        judged += _judged(case, ms, {PADDED: bars.LENGTHS_PADDED, TORCH: bars.LENGTHS_PACKED}, figures)
    case = settings.measured(by_name[RESETS])
    ms = least(of_resets(case), case, settings.quick)
    judged += _judged(case, ms, {PLAIN: bars.RESET_PLAIN, CELLS: bars.RESET_CELLS}, figures)
    return Part(figures, judged)


def _judged(
    case: Case, ms: Mapping[str, float], by: Mapping[str, Bar], figures: list[dict[str, Any]]
) -> list[Judged]:
    """Print a case, add its figures, and return its ratios."""
    print(f"{case.name:9}" + "".join(f"  {name} {value:.2f}" for name, value in ms.items()), flush=True)
    figures.append({**vars(case), "ms": dict(ms)})
    ratios = {name: ms[OURS] / ms[name] if bar.at_most else ms[name] / ms[OURS] for name, bar in by.items()}
    return [Judged(by[name], 1, ratio, case.name) for name, ratio in ratios.items()]


def of_lengths(case: Case) -> dict[str, tuple[nn.Module, Forward]]:
    """Return contenders on rows whose lengths are uniform in 1 to T."""
    lengths = torch.randint(1, case.T + 1, (case.B,), generator=torch.Generator().manual_seed(0))
    ours, theirs = peers.our_layer(case), peers.torch_layer(case)

    def packed(x: Tensor) -> Tensor:
        y, _ = theirs(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(y, total_length=case.T)[0]

    return {
        OURS: (ours, lambda x: ours(x, lengths=lengths)[0]),
        TORCH: (theirs, packed),
        PADDED: (ours, lambda x: ours(x)[0]),
    }


def of_resets(case: Case) -> dict[str, tuple[nn.Module, Forward]]:
    """Return contenders on rows whose states are reset here and there."""
    reset = torch.rand(case.T, case.B, generator=torch.Generator().manual_seed(0)) < SHARE
    ours, theirs = peers.our_layer(case), peers.torch_layer(case)
    cell = nn.LSTMCell(case.D, case.H)
    cell.load_state_dict({name.removesuffix("_l0"): W for name, W in theirs.state_dict().items()})

    def loop(x: Tensor) -> Tensor:
        h, c = (x.new_zeros(case.B, case.H) for _ in range(2))
        kept = (~reset).to(x.dtype)[..., None]
        ys = []
        for t in range(case.T):
            h, c = cell(x[t], (h * kept[t], c * kept[t]))
            ys.append(h)
        return torch.stack(ys)

    return {
        OURS: (ours, lambda x: ours(x, reset=reset)[0]),
        CELLS: (cell, loop),
        PLAIN: (ours, lambda x: ours(x)[0]),
    }


def least(contenders: Mapping[str, tuple[nn.Module, Forward]], case: Case, quick: bool) -> dict[str, float]:
    """Return the milliseconds of a training pass of each, after a look at whether those of one task agree."""
    x, dy = peers.inputs(case)
    calls = {name: _training(module, forward, x, dy) for name, (module, forward) in contenders.items()}
    best = dict.fromkeys(calls, float("inf"))
    with torch_threads(1):
        peers.agree({name: call() for name, call in calls.items() if name not in (PADDED, PLAIN)})
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            for name, call in calls.items():
                call()
                began = time.thread_time()
                call()
                best[name] = min(best[name], time.thread_time() - began)
    return {name: seconds * 1e3 for name, seconds in best.items()}


def _training(module: nn.Module, forward: Forward, x: Tensor, dy: Tensor) -> Callable[[], Sequence[Any]]:
    x = x.clone().requires_grad_()

    def call() -> Sequence[Any]:
        y = forward(x)
        gradients = torch.autograd.grad(y, [x, *module.parameters()], dy)
        return y.detach(), *gradients

    return call
