"""``make bench``: tests of what is timed, then every measurement, then the bars.

A bar that is missed is printed, not an error: exit status 1 means that nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks import (
    bars,
    busy,
    cases,
    costs,
    idle,
    imports,
    large_table,
    looking,
    loop_overhead,
    machine,
    memory,
    reading,
    scoring,
    sequences,
    serving,
    small_calls,
    step,
    streaming,
    torchrun,
    training,
    unequal_rows,
    variants,
)
from benchmarks.peers import DisagreementError
from benchmarks.processes import EndedError
from benchmarks.settings import Part, Settings, cores
from gatewright.errors import GatewrightError, nearest

ROOT = Path(__file__).parents[1]

PARTS: dict[str, Callable[[Settings], Part]] = {
    "cases": sequences.run,
    "step": step.run,
    "small": small_calls.run,
    "stream": streaming.run,
    "serve": serving.run,
    "idle": idle.run,
    "import": imports.run,
    "read": reading.run,
    "table": large_table.run,
    "score": scoring.run,
    "record": costs.record,
    "recompute": costs.recomputed,
    "variants": variants.run,
    "look": looking.run,
    "rows": unequal_rows.run,
    "checkpoint": costs.checkpoint,
    "memory": memory.run,
    "busy": busy.run,
    "train": training.run,
    "torchrun": torchrun.run,
    "loop": loop_overhead.run,
}

#: Take up to ten minutes, and train on files that not every checkout has.
NOT_BY_DEFAULT = {"train", "score", "torchrun"}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"error: {message}\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser("python -m benchmarks", description=__doc__)
    parser.add_argument("--cases", metavar="NAME,...", help="of " + ", ".join(one.name for one in cases.CASES))
    parser.add_argument("--threads", metavar="N,...", help="measure with so many threads (default: 1 and all)")
    parser.add_argument("--quick", action="store_true", help="all cases in a minute, with shortened sequences")
    parser.add_argument(
        "--only", metavar="PART,...", help=f"of {', '.join(PARTS)} (default: all but {', '.join(NOT_BY_DEFAULT)})"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there, too")
    parser.add_argument("--no-tests", action="store_true", help="leave out the tests, where they have just passed")
    return parser.parse_args(arguments)


def listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def settings(told: argparse.Namespace) -> Settings:
    """Return what was asked for.

    Raises:
        GatewrightError: at what cannot be measured.
    """
    chosen = cases.CASES if told.cases is None else cases.named(listed(told.cases))
    if told.json is not None and not told.json.parent.is_dir():
        raise GatewrightError("--json", "a file in a directory that exists", repr(str(told.json)))
    threads = sorted({1, cores()})
    if told.threads is not None:
        numbers = listed(told.threads)
        if not all(number.isdecimal() and int(number) >= 1 for number in numbers):
            raise GatewrightError("--threads", "whole numbers of at least 1", repr(told.threads))
        threads = [int(number) for number in numbers]
    return Settings(chosen, tuple(threads), told.quick)


def parts(told: argparse.Namespace) -> list[str]:
    """Return the parts asked for, in the order they are measured.

    Raises:
        GatewrightError: at a part that does not exist.
    """
    if told.only is None:
        return [name for name in PARTS if name not in NOT_BY_DEFAULT]
    wanted = listed(told.only)
    for name in wanted:
        if name not in PARTS:
            raise GatewrightError("--only", f"some of {', '.join(PARTS)}", repr(name) + nearest(name, PARTS))
    return [name for name in PARTS if name in wanted]


def tests_pass() -> bool:
    """Run the tests of what is timed: nothing is timed that does not compute the right thing."""
    files = ["tests/nn/test_lstm.py", "tests/train/test_trainer.py"]
    files += sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/kernels/test_kernels*.py"))
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", *files, "-k", "not two_processes"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main(arguments: Sequence[str]) -> int:
    told = parse(arguments)
    try:
        asked, wanted = settings(told), parts(told)
    except GatewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not told.no_tests and not tests_pass():
        print("error: the tests of what is timed failed, so nothing is timed", file=sys.stderr)
        return 1
    found = machine.header(asked)
    machine.show(found)
    judged = []
    try:
        for name in wanted:
            figures, more = PARTS[name](asked)
            found[name] = figures
            judged += more
    except (DisagreementError, EndedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if judged:
        bars.show(judged)
    if told.json is not None:
        found["bars"] = [one.plain() for one in judged]
        told.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
