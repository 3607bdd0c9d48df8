"""Other cells than the plain one: a training step over our plain layer, and loops of torch operations over it.

Our layers run in one process, the loops in another, the compiled loops in two more, which share the compilations.
A loop's time is proportional to its steps: it is measured on some of them, and with the largest number of threads
only, since a compilation takes longer than all the rest.
"""

from __future__ import annotations

import dataclasses
import statistics
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import gatewright
from benchmarks import bars, engine_calls, peers
from benchmarks.bars import Bar, Judged
from benchmarks.cases import Case
from benchmarks.engine_calls import EngineCall, Engines
from benchmarks.peers import OURS
from benchmarks.settings import Part, Settings, counted
from benchmarks.timing import Call, Plan
from gatewright.nn import fallback
from gatewright.nn.variant_steps import Variant
from gatewright.spec import CellSpec

#: A tall and a wide case.
CASES = ("hydro", "charlm")

PLAIN, SLSTM = "plain", "sLSTM"
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
    SLSTM: CellSpec(kind="slstm", heads=4),
}

#: Engines: ours; loops; loops that are compiled, in two processes.
LOOP, COMPILED = "loop", ("compiled loop", "compiled loop, second process")
#: A loop is measured on the steps of a case over this.
FEWER = 16

#: Of our layers of one case, all cells together; of the loops of one case.  A turn of our layers begins with a
#: call that is not timed: a cell keeps more memory than another, and the first call after the other pays for its
#: pages, which a training does once.
PLAN, LOOPS = Plan(seconds=12.0, at_least=3, warm=True), Plan(seconds=5.0, at_least=2)
QUICK = Plan(seconds=0.5, at_least=2)

#: A model of the size of TiRex (arXiv:2505.23719): 35 million weights, a context of 2048 steps in patches of 32.
#: Its repository publishes 36 ms for a forecast of one patch, batch of 1, by compiled torch on the CPU of a server
#: (github.com/NX-AI/tirex, benchmark/result/tirex-torch-cpu-h100-2025-11-10.csv). 12 layers of 512 units in 4
#: heads, with feed-forward parts of 3 x 512 x 1408 weights, come to 35 million. Ours read all 512 inputs, TiRex's
#: those of their own head.
TIREX_LAYERS, TIREX_WIDTH, TIREX_STEPS = 12, 512, 2048 // 32


def run(settings: Settings) -> Part:
    """Time a training step of each cell over that of the plain one, and loops of torch's operations over it."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    with engine_calls.started((OURS, LOOP, *COMPILED), contender) as engines:
        loops = {case.name: _loops(engines, case, settings) for case in settings.some(CASES)}
        for threads in settings.threads:
            print(f"\nforward + backward of other cells, {counted(threads)} (milliseconds; over the plain cell)")
            ratios: dict[str, float] = {}
            over: dict[str, float] = {}
            for case in settings.some(CASES):
                ms = _ours(engines, case, threads, settings)
                for name in CELLS:
                    place = f"{case.name}, {name}"
                    ratios[place] = ms[name] / ms[PLAIN]
                    line = f"{place:26}{ms[name]:9.2f} = {ratios[place]:.3f}"
                    of_loops = loops[case.name].get(name, {}) if threads == max(settings.threads) else {}
                    if of_loops:
                        over[place] = min(of_loops.values()) / ms[name]
                        line += "".join(f"  {loop}{value:9.1f}" for loop, value in of_loops.items())
                        line += f"  = {over[place]:.1f} times"
                    print(line, flush=True)
                    own = {"plain": ms[PLAIN], "cell": ms[name], **of_loops}
                    figures.append({**vars(case), "cell": name, "threads": threads, "ms": own})
            judged += _judged(ratios, over, threads)
            figures += _tirex(engines, threads, settings)
    return Part(figures, judged)


def _judged(ratios: Mapping[str, float], over: Mapping[str, float], threads: int) -> list[Judged]:
    own = {"layer norm": bars.LAYER_NORM, SLSTM: bars.SLSTM}
    by_bar: dict[Bar, dict[str, float]] = {}
    for place, ratio in ratios.items():
        by_bar.setdefault(own.get(place.partition(", ")[2], bars.VARIANT), {})[place] = ratio
    judged = []
    for bar, some in by_bar.items():
        worst = max(some, key=some.__getitem__)
        judged.append(Judged(bar, threads, some[worst], worst))
    if over:
        lowest = min(over, key=over.__getitem__)
        judged.append(Judged(bars.VARIANT_LOOPS, threads, over[lowest], lowest))
    return judged


def _ours(engines: Engines, case: Case, threads: int, settings: Settings) -> dict[str, float]:
    """Return the milliseconds of a training step of our layers, in turns, by cell."""
    arguments = {"case": vars(case), "threads": threads, "steps": case.T}
    calls = {name: EngineCall(OURS, {"what": "layer", "cell": name, **arguments}) for name in (PLAIN, *CELLS)}
    return _timed(engines, calls, QUICK if settings.quick else PLAN)


def _loops(engines: Engines, case: Case, settings: Settings) -> dict[str, dict[str, float]]:
    """Return the milliseconds of loops over all steps, by cell, and compare them with our layers."""
    steps, threads = max(2, case.T // FEWER), max(settings.threads)
    arguments = {"case": vars(case), "threads": threads, "steps": steps}
    calls: dict[str, EngineCall] = {}
    for number, name in enumerate(CELLS):
        own = {"cell": name, **arguments}
        calls[f"{OURS}, {name}"] = EngineCall(OURS, {"what": "expectation", **own})
        calls[f"{LOOP}, {name}"] = EngineCall(LOOP, {"what": "loop", **own})
        calls[f"{COMPILED[0]}, {name}"] = EngineCall(COMPILED[number % 2], {"what": "compiled loop", **own})
    print(f"loops of {case.name} are compiled, run over {steps} steps and compared", flush=True)
    first = engines.prepare(calls)
    engines.drop({key: call for key, call in calls.items() if call.engine == OURS})
    loops = {}
    for name in CELLS:
        some = {engine: first[f"{engine}, {name}"].results for engine in (OURS, LOOP, COMPILED[0])}
        peers.agree(some)
        own_calls = {engine: calls[f"{engine}, {name}"] for engine in (LOOP, COMPILED[0])}
        keys = {f"{engine}, {name}": call for engine, call in own_calls.items()}
        plan = QUICK if settings.quick else LOOPS._replace(seconds=LOOPS.seconds / len(CELLS))
        seconds = engines.timed(keys, first, plan)
        loops[name] = {
            engine: statistics.median(seconds[f"{engine}, {name}"]) * 1e3 * case.T / steps for engine in own_calls
        }
    engines.drop(calls)
    return loops


def _tirex(engines: Engines, threads: int, settings: Settings) -> list[dict[str, Any]]:
    """Time the sLSTM layers of a model of the size of TiRex, forward, batch of 1."""
    calls = {"layers": EngineCall(OURS, {"what": "tirex", "cell": SLSTM, "threads": threads})}
    ms = _timed(engines, calls, QUICK if settings.quick else Plan(seconds=2.0, at_least=5))
    print(
        f"{TIREX_LAYERS} sLSTM layers of {TIREX_WIDTH} units, {TIREX_STEPS} patches (2048 steps), batch of 1: "
        f"{ms['layers']:.2f} ms forward, {counted(threads)}; all of TiRex: 36 ms, as published",
        flush=True,
    )
    return [{"name": "TiRex-size sLSTM layers, forward", "threads": threads, "ms": ms}]


def _timed(engines: Engines, calls: Mapping[str, EngineCall], plan: Plan) -> dict[str, float]:
    first = engines.prepare(calls, results=False)
    seconds = engines.timed(calls, first, plan)
    engines.drop(calls)
    return {key: statistics.median(turns) * 1e3 for key, turns in seconds.items()}


def contender(what: str, cell: str, threads: int, case: Mapping[str, Any] | None = None, steps: int = 0) -> Call:
    """Return the call of a contender; called in the process of its engine.

    Args:
        what: "layer"; "expectation", the same without random choices; "loop"; "compiled loop"; "tirex".
        cell: name in `CELLS`, or "plain".
        threads: how many.
        case: the sizes.
        steps: how many of the case's steps.
    """
    torch.set_num_threads(threads)
    if what == "tirex":
        return _tirex_layers()
    assert case is not None
    sizes = dataclasses.replace(Case(**case), T=steps)
    x, dy = peers.inputs(sizes)
    torch.manual_seed(0)
    layer = gatewright.LSTM(sizes.D, sizes.H, cell=CELLS.get(cell))
    if what == "layer":
        return peers.training(layer, x, dy)
    if what == "expectation":
        return _in_evaluation(layer, x, dy)
    compiled = what == "compiled loop"
    call = (_slstm_loop if cell == SLSTM else _loop)(layer, x, dy, compiled=compiled)
    if compiled:
        call()  # the first call compiles, and says nothing of the time of a call
    return call


def _tirex_layers() -> Call:
    torch.manual_seed(0)
    layers = gatewright.LSTM(TIREX_WIDTH, TIREX_WIDTH, TIREX_LAYERS, cell=CELLS[SLSTM])
    return peers.forward(layers, torch.randn(TIREX_STEPS, 1, TIREX_WIDTH))


def _in_evaluation(layer: Any, x: Tensor, dy: Tensor) -> Call:
    """Return a training step with the expectations of random choices, as the loops have them."""
    layer.eval()
    x = x.clone().requires_grad_()
    leaves = [x, *layer.parameters()]

    def call() -> Sequence[Any]:
        y, _ = layer(x)
        return y.detach(), *torch.autograd.grad(y, leaves, dy)

    return call


def _trained(layer: Any, x: Tensor, dy: Tensor, forward: Callable[[Tensor], Tensor]) -> Call:
    x = x.clone().requires_grad_()
    leaves = [x, *layer.parameters()]

    def call() -> Sequence[Any]:
        for leaf in leaves:
            leaf.grad = None
        y = forward(x)
        y.backward(dy)
        return y.detach(), *(leaf.grad for leaf in leaves)

    return call


def _compiled(function: Any) -> Callable[..., Any]:
    """Return a function compiled for one cell and case: torch keeps some compilations of each code object only."""
    code = function.__code__.replace(co_name=f"{function.__name__}_of_a_case")
    copy = types.FunctionType(
        code, function.__globals__, code.co_name, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return torch.compile(copy, dynamic=False)


def _loop(layer: Any, x: Tensor, dy: Tensor, *, compiled: bool) -> Call:
    """Return a training step that calls a function of torch's operations for each step of the sequence.

    It draws no random numbers, but multiplies with expectations, which favours it.
    """
    step = _compiled(fallback.sequence) if compiled else fallback.sequence
    variant = Variant(layer.cell)

    def forward(x: Tensor) -> Tensor:
        weights = layer.layer_weights(0)
        h = c = x.new_zeros(x.shape[1], layer.hidden_size)
        ys = []
        for t in range(len(x)):
            _, h, c, _ = step(x[t : t + 1], h, c, weights, variant=variant)
            ys.append(h)
        return torch.stack(ys)

    return _trained(layer, x, dy, forward)


def _slstm_loop(layer: Any, x: Tensor, dy: Tensor, *, compiled: bool) -> Call:
    """Return a training step of the sLSTM as its authors' plain code does it: products by heads, then the step."""
    step = _compiled(_slstm_step) if compiled else _slstm_step
    heads = layer.cell.heads

    def forward(x: Tensor) -> Tensor:
        W_ih, W_hh, b_ih, b_hh = layer.parameters()
        B, H = x.shape[1], layer.hidden_size
        from_input = F.linear(x, W_ih, b_ih + b_hh)
        # Rows of W_hh are gate by gate, and head by head within a gate.
        blocks = W_hh.view(4, heads, H // heads, H // heads)
        h, c, n = (x.new_zeros(B, H) for _ in range(3))
        m = x.new_full((B, H), -1e30)
        ys = []
        for t in range(len(x)):
            h, c, n, m = step(from_input[t], h, c, n, m, blocks)
            ys.append(h)
        return torch.stack(ys)

    return _trained(layer, x, dy, forward)


def _slstm_step(
    from_input: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor, blocks: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return h, c, n and m after a step (Beck et al. 2024, equations 8 to 17)."""
    B, H = h.shape
    from_state = torch.einsum("bkj,gkij->bgki", h.view(B, blocks.shape[1], -1), blocks).reshape(B, 4 * H)
    i, f, z, o = (from_input + from_state).chunk(4, dim=1)
    kept = F.logsigmoid(f) + m
    new = torch.maximum(kept, i)
    write, keep = torch.exp(i - new), torch.exp(kept - new)
    c = keep * c + write * torch.tanh(z)
    n = keep * n + write
    return torch.sigmoid(o) * c / n, c, n, new
