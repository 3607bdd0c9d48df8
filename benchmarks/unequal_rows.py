"""Rows of unequal length, and resets inside of sequences: over the padded run, torch's packed sequences and cells.

One thread; the time is that thread's own (CPU), the minimum over turns, so that a busy machine changes the ratios
little. Ours and torch run in processes of their own; a call of many seconds is timed less often
(`engine_calls.py`): torch's packed sequence takes half a minute in the first case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks import bars, engine_calls, peers
from benchmarks.bars import Bar, Judged
from benchmarks.cases import CASES, Case
from benchmarks.engine_calls import EngineCall, Engines
from benchmarks.peers import OURS, TORCH
from benchmarks.settings import Part, Settings
from benchmarks.timing import Call, Plan

LENGTHS = ("hydro", "charlm")
RESETS = "rl"
PADDED, PLAIN, CELLS = "padded", "plain", "loop of cells"

#: Share of the steps before which a row's state is reset.
SHARE = 0.01
PLAN, QUICK_PLAN = Plan(seconds=8.0, at_least=3), Plan(seconds=0.5, at_least=2)

#: What a contender is called with: x, and what it gives: y.
Forward = Callable[[Tensor], Tensor]


def run(settings: Settings) -> Part:
    """Measure and print forward + backward of the cases."""
    print("\nrows of unequal length, and resets: forward + backward, 1 thread (its CPU time, milliseconds)")
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    by_name = {case.name: case for case in CASES}
    with engine_calls.started((OURS, TORCH), contender) as engines:
        for name, task in (*((name, "lengths") for name in LENGTHS), (RESETS, "resets")):
            case = settings.measured(by_name[name])
            ms = least(engines, task, case, settings.quick)
            judged += _judged(case, ms, BARS[task], figures)
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


TASKS = {"lengths": of_lengths, "resets": of_resets}
BARS = {
    "lengths": {PADDED: bars.LENGTHS_PADDED, TORCH: bars.LENGTHS_PACKED},
    "resets": {PLAIN: bars.RESET_PLAIN, CELLS: bars.RESET_CELLS},
}


def contender(task: str, name: str, case: dict[str, Any]) -> Call:
    """Return a training pass of a contender, on one thread; called in the process of its engine."""
    torch.set_num_threads(1)
    sizes = Case(**case)
    module, forward = TASKS[task](sizes)[name]
    return _training(module, forward, *peers.inputs(sizes))


def least(engines: Engines, task: str, case: Case, quick: bool) -> dict[str, float]:
    """Return the milliseconds of a training pass of each, after a look at whether those of one task agree."""
    own = {OURS: OURS, **dict.fromkeys(BARS[task], OURS), TORCH: TORCH, CELLS: TORCH}
    calls = {
        name: EngineCall(own[name], {"task": task, "name": name, "case": vars(case)})
        for name in (OURS, *BARS[task])
    }
    first = engines.prepare(calls)
    peers.agree({name: first[name].results for name in calls if name not in (PADDED, PLAIN)})
    seconds = engines.timed(calls, first, QUICK_PLAN if quick else PLAN, cpu=True)
    engines.drop(calls)
    return {name: min(turns) * 1e3 for name, turns in seconds.items()}


def _training(module: nn.Module, forward: Forward, x: Tensor, dy: Tensor) -> Callable[[], Sequence[Any]]:
    x = x.clone().requires_grad_()

    def call() -> Sequence[Any]:
        y = forward(x)
        gradients = torch.autograd.grad(y, [x, *module.parameters()], dy)
        return y.detach(), *gradients

    return call
