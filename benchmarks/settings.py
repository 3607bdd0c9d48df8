"""What a run of the benchmarks was asked for, and what each part of it gives back."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from benchmarks.bars import Judged
from benchmarks.cases import CASES, Case
from benchmarks.timing import Plan


@dataclass(frozen=True)
class Settings:
    """What to measure, and how long.

    Attributes:
        cases: in the order of the table.
        threads: each part runs once for every one of these.
        quick: whether to measure less of everything.
    """

    cases: tuple[Case, ...] = CASES
    threads: tuple[int, ...] = (1,)
    quick: bool = False

    @property
    def plan(self) -> Plan:
        """How long to measure one table row."""
        return Plan(seconds=0.25, at_least=3) if self.quick else Plan(seconds=4.0, at_least=5)

    def measured(self, case: Case) -> Case:
        """Return a case as it is to be measured."""
        return case.shortened() if self.quick else case

    def some(self, names: Collection[str]) -> tuple[Case, ...]:
        """Return the cases that a part prefers among those asked for, or else all that were asked for."""
        preferred = [case for case in self.cases if case.name in names]
        return tuple(self.measured(case) for case in preferred or self.cases)


class Part(NamedTuple):
    """What a part found: figures for ``--json``, and values to hold against the bars."""

    figures: list[dict[str, Any]]
    judged: list[Judged]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def counted(threads: int) -> str:
    """Return "1 thread" or "2 threads"."""
    return f"{threads} thread" + "s" * (threads != 1)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Give torch this many threads; Gatewright's kernels follow."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
