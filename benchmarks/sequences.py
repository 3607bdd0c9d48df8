"""Whole sequences: forward, and forward + backward, of every case, each contender in a process of its own."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import peers, processes, verdicts
from benchmarks.bars import Judged
from benchmarks.cases import TRAINING as TRAINING_FLOPS
from benchmarks.cases import Case
from benchmarks.contenders import BY_NAME, CONTENDERS, FORWARD, OURS, OURS_BF16, TORCH, TRAINING, available
from benchmarks.machine import Peak
from benchmarks.outcomes import BF16_PEERS, PEERS, Outcome, Row, geometric_means, implementations
from benchmarks.settings import Part, Settings, counted, torch_threads
from benchmarks.timing import Plan, Timed, rounds, settle

#: Of the table; a line has those of its pass and precision.
COLUMNS = tuple(dict.fromkeys(("ours", *(contender.heading for contender in CONTENDERS))))


#: Share of turns that threads may wait for a core.
DISTURBED = 0.03


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
        print(heading())
        rows = []
        with processes.started(contenders, threads) as running:
            for case in map(settings.measured, settings.cases):
                row = measure(case, threads, settings, running)
                rows.append(row)
                print(lines(row), flush=True)
                outcomes = {"forward": row.forward.plain(), "training": row.training.plain()}
                figures.append({**vars(case), "threads": threads, **outcomes})
            restless = [name for name, process in running.items() if not process.settled]
            waited = {name: statistics.fmean(process.waited) for name, process in running.items()}
        means = geometric_means(rows)
        print("geometric means: " + ", ".join(f"{what} {mean:.2f}" for what, mean in means.items()))
        print("ran: " + "; ".join(f"{name} {what}" for name, what in implementations(rows).items()))
        if restless:
            print(f"threads that did not come to rest within a second after a turn: {', '.join(restless)}")
        disturbed = [f"{name} {share:.0%}" for name, share in waited.items() if share > DISTURBED]
        if disturbed:
            print(
                f"threads waited for a core, so that times are no verdict; of their turns: {', '.join(disturbed)}"
            )
        figures.append(
            {
                "threads": threads,
                "geometric_means": means,
                "restless": restless,
                "waited": waited,
                "left_out": left_out,
            }
        )
        judged += verdicts.judge(rows, threads)
    return Part(figures, judged)


def plan(settings: Settings) -> Plan:
    """Return how long one pass of one case is measured; all cases, twice, take some ten minutes."""
    return Plan(seconds=0.3, at_least=2) if settings.quick else Plan(seconds=5.0, at_least=7)


def measure(case: Case, threads: int, settings: Settings, running: Mapping[str, processes.Process]) -> Row:
    """Time one case."""
    number = 1 + [each.name for each in settings.cases].index(case.name)
    peak = Peak(threads, seconds=0.03 if settings.quick else 0.2)
    x, dy = peers.inputs(case)
    arrays = (x.numpy(), dy.numpy(), *peers.weights(peers.torch_layer(case)))
    outcomes = {}
    with torch_threads(threads):
        peak.measure()
        for passed in (FORWARD, TRAINING):
            some = {name: process for name, process in running.items() if passed in process.contender.passes}
            progress = Progress(f"case {number} of {len(settings.cases)}, {case.name} {passed}")
            outcomes[passed] = _pass(case, passed, arrays, some, plan(settings), progress)
            peak.measure()
    flops = {FORWARD: case.flops, TRAINING: TRAINING_FLOPS * case.flops}
    rows = {
        passed: Outcome(timed, flops[passed], peak.flops, errors, names)
        for passed, (timed, errors, names) in outcomes.items()
    }
    return Row(case, rows[FORWARD], rows[TRAINING])


def _pass(
    case: Case,
    passed: str,
    arrays: tuple[Any, ...],
    running: Mapping[str, processes.Process],
    plan: Plan,
    progress: Progress,
) -> tuple[dict[str, Timed], dict[str, list[float]], dict[str, str]]:
    """Compare and time one pass; return times, errors and implementations by contender."""
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


def heading() -> str:
    """Return the names of the columns."""
    columns = "".join(f"{head:>10}" for head in COLUMNS)
    ratios = f"{'/torch f32':>12}{'/best':>7}{'of peak':>9}"
    return f"{'case':11}{'T':>5}{'B':>5}{'D':>5}{'H':>5}  {'pass':14}{columns}{ratios}"


def lines(row: Row) -> str:
    """Return a line for each pass and precision."""
    case = row.case
    sizes = f"{case.name:11}{case.T:5}{case.B:5}{case.D:5}{case.H:5}"
    text = []
    for passed, outcome in (("forward", row.forward), ("+backward", row.training)):
        for bf16, ours, best in ((False, OURS, PEERS), (True, OURS_BF16, BF16_PEERS)):
            some = [name for name in outcome.timed if BY_NAME[name].bf16 == bf16]
            ms = {BY_NAME[name].heading: outcome.timed[name].seconds * 1e3 for name in some}
            columns = "".join(f"{ms[head]:10.2f}" if head in ms else " " * 10 for head in COLUMNS)
            ratios = f"{outcome.over(TORCH, ours):12.2f}{outcome.over_best(best, ours):7.2f}"
            ratios = ratios if ours in outcome.timed else ""
            share = "" if bf16 else f"{outcome.of_peak:9.1%}"
            text.append(f"{sizes:31}  {passed + ' bf16' * bf16:14}{columns}{ratios}{share}".rstrip())
            sizes = ""
    return "\n".join(text)
