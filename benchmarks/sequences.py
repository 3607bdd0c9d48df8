"""Whole sequences: forward, and forward + backward, of every case, each contender in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import peers, processes, verdicts
from benchmarks.bars import Judged
from benchmarks.cases import TRAINING as TRAINING_FLOPS
from benchmarks.cases import Case
from benchmarks.contenders import BY_NAME, FORWARD, OURS_BF16, TORCH, TORCH_BF16, TRAINING, Contender, available
from benchmarks.machine import Peak
from benchmarks.outcomes import BF16_PEERS, Outcome, Row, geometric_means, implementations
from benchmarks.settings import Part, Settings, counted, torch_threads
from benchmarks.timing import Plan, Timed, rounds, settle


def run(settings: Settings) -> Part:
    """Measure, print and judge every case with every number of threads."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    contenders, left_out = available()
    for name, reason in left_out.items():
        print(f"\n{name} is left out: {reason}", end="")
    print()
    for threads in settings.threads:
        print(f"\nsequences, {counted(threads)} (milliseconds; a ratio over 1 is in our favour)")
        print(heading(contenders))
        rows = []
        with processes.started(contenders, threads) as running:
            for case in map(settings.measured, settings.cases):
                row = measure(case, threads, settings, running)
                rows.append(row)
                print(lines(row, contenders), flush=True)
                outcomes = {"forward": row.forward.plain(), "training": row.training.plain()}
                figures.append({**vars(case), "threads": threads, **outcomes})
            restless = [name for name, process in running.items() if not process.settled]
        means = geometric_means(rows)
        print("geometric means: " + ", ".join(f"{what} {mean:.2f}" for what, mean in means.items()))
        print("ran: " + "; ".join(f"{name} {what}" for name, what in implementations(rows).items()))
        if restless:
            print(f"threads that did not come to rest within half a second of a turn: {', '.join(restless)}")
        figures.append({"threads": threads, "geometric_means": means, "restless": restless, "left_out": left_out})
        judged += verdicts.judge(rows, threads)
    return Part(figures, judged)


def plan(settings: Settings) -> Plan:
    """Return how long one pass of one case is measured; all cases, twice, take some ten minutes."""
    return Plan(seconds=0.3, at_least=2) if settings.quick else Plan(seconds=6.0, at_least=7)


def measure(case: Case, threads: int, settings: Settings, running: Mapping[str, processes.Process]) -> Row:
    """Time one case."""
    peak = Peak(threads, seconds=0.03 if settings.quick else 0.2)
    x, dy = peers.inputs(case)
    arrays = (x.numpy(), dy.numpy(), *peers.weights(peers.torch_layer(case)))
    outcomes = {}
    with torch_threads(threads):
        peak.measure()
        for passed in (FORWARD, TRAINING):
            some = {name: process for name, process in running.items() if passed in process.contender.passes}
            outcomes[passed] = _pass(case, passed, arrays, some, plan(settings))
            peak.measure()
    flops = {FORWARD: case.flops, TRAINING: TRAINING_FLOPS * case.flops}
    rows = {
        passed: Outcome(timed, flops[passed], peak.flops, errors, names)
        for passed, (timed, errors, names) in outcomes.items()
    }
    return Row(case, rows[FORWARD], rows[TRAINING])


def _pass(
    case: Case, passed: str, arrays: tuple[Any, ...], running: Mapping[str, processes.Process], plan: Plan
) -> tuple[dict[str, Timed], dict[str, list[float]], dict[str, str]]:
    """Compare and time one pass; return times, errors and implementations by contender."""
    progress = Progress(f"{case.name}, {passed}")
    first, errors, implementations = {}, {}, {}
    expected: Any = None
    for name, process in running.items():
        progress.show(f"first call of {name}")
        prepared = process.prepare(case, passed, arrays)
        first[name], implementations[name] = prepared.seconds, prepared.implementation
        if expected is None:
            judge, expected = name, prepared.results
        else:
            errors[name] = peers.compare(judge, expected, name, prepared.results, bf16=BY_NAME[name].bf16)
        del prepared
    del expected
    settle()
    turns = {name: process.turn for name, process in running.items()}
    timed = rounds(turns, first, plan, lambda number: progress.show(f"round {number}"))
    for process in running.values():
        process.drop()
    progress.clear()
    return timed, errors, implementations


class Progress:
    """A line that says what is being measured, on a terminal only."""

    def __init__(self, what: str) -> None:
        self._what = what

    def show(self, state: str) -> None:
        """Write it over the line before."""
        self._write(f"{self._what}: {state}")

    def clear(self) -> None:
        """Take it away."""
        self._write("")

    def _write(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)


def heading(contenders: Sequence[Contender]) -> str:
    """Return two lines: precisions, and the names of the columns."""
    line = f"{'case':11}{'T':>5}{'B':>5}{'D':>5}{'H':>5}  {'pass':9}"
    above = " " * len(line)
    for contender in contenders:
        first = contender.name in (TORCH, TORCH_BF16)
        above += f"{('bf16' if contender.bf16 else 'float32') if first else '':>10}"
        line += f"{contender.heading:>10}"
    return f"{above}\n{line}{'/torch':>8}{'/best':>7}{'of peak':>9}{'bf16/best':>11}".rstrip()


def lines(row: Row, contenders: Sequence[Contender]) -> str:
    """Return two lines, one a pass."""
    case = row.case
    sizes = f"{case.name:11}{case.T:5}{case.B:5}{case.D:5}{case.H:5}"
    text = []
    for name, outcome in (("forward", row.forward), ("+backward", row.training)):
        ms = {who: f"{timed.seconds * 1e3:.2f}" for who, timed in outcome.timed.items()}
        bf16 = outcome.over_best(BF16_PEERS, OURS_BF16)
        columns = "".join(f"{ms.get(contender.name, ''):>10}" for contender in contenders)
        text.append(
            f"{sizes:31}  {name:9}{columns}{outcome.over(TORCH):8.2f}{outcome.over_best():7.2f}"
            f"{outcome.of_peak:9.1%}" + (f"{bf16:11.2f}" if bf16 == bf16 else "")
        )
        sizes = ""
    return "\n".join(text)
