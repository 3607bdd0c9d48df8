"""Targets and threads: which kernels run on this machine, on how many threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gatewright.errors import GatewrightError, nearest
from gatewright.native_module import _kernels


@dataclass(frozen=True)
class Info:
    """Which kernels run here, on how many threads, and why.

    Attributes:
        target: name of the target in use.
        target_why: why that one.
        targets: every target that was built, best first, and whether this machine runs it.
        threads: how many threads a call may use.
        threads_why: who says so.
    """

    target: str
    target_why: str
    targets: dict[str, bool]
    threads: int
    threads_why: str

    def __str__(self) -> str:
        built = ", ".join(name if runs else f"{name} (not on this machine)" for name, runs in self.targets.items())
        return "\n".join(
            [
                f"target    {self.target}: {self.target_why}",
                f"built     {built}",
                f"threads   {self.threads}: {self.threads_why}",
                "LSTM      these kernels on the CPU, in float32, float64 and bf16;",
                "          torch's own operator on other devices, with records from its hidden states;",
                "          variants of the cell there by torch's operations, step by step",
            ]
        )


def info() -> Info:
    """Return which target and how many threads run, and why.

    >>> info().target in info().targets
    True
    """
    name = _kernels.target()
    if _kernels.forced():
        why = "chosen by use_target"
    elif os.environ.get("GATEWRIGHT_TARGET"):
        why = "chosen by GATEWRIGHT_TARGET"
    else:
        why = "the best that this machine runs"
    threads, says = threads_in_use()
    return Info(name, why, dict(_kernels.targets()), threads, says)


@contextmanager
def use_target(name: str) -> Iterator[None]:
    """Force a target for all threads of this process while the context lasts; for tests and benchmarks.

    Raises:
        GatewrightError: if no target of that name runs here.

    >>> with use_target(info().target):
    ...     info().target_why
    'chosen by use_target'
    """
    before = _kernels.target() if _kernels.forced() else ""
    if not _kernels.select(name):
        raise _unknown_target("name", name)
    try:
        yield
    finally:
        _kernels.select(before)


def share_threads() -> bool:
    """Run calls on the OpenMP threads of torch, if it is loaded and has such; return whether they do.

    Those spin for some milliseconds after each operation, and a second pool would have to share the cores with
    that.  `gatewright.nn` calls this.

    >>> share_threads() in (True, False)
    True
    """
    return "torch" in sys.modules and _kernels.share_openmp()


def threads() -> int:
    """Return how many threads a call uses unless told: torch's number if torch is loaded, else one a core.

    >>> threads() >= 1
    True
    """
    return threads_in_use()[0]


def threads_in_use() -> tuple[int, str]:
    """Return how many threads a call uses unless told, and who says so."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):  # it may be half imported
        shared = ", and torch's own" if _kernels.shares_openmp() else ""
        return torch.get_num_threads(), f"as torch.get_num_threads() says{shared}"
    wish = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wish.isdecimal() and int(wish) > 0:
        return int(wish), "as OMP_NUM_THREADS says"
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)), "one for each core that this process may use"
    return os.cpu_count() or 1, "one for each core"


def _unknown_target(argument: str, name: str) -> GatewrightError:
    runs = [target for target, can in _kernels.targets() if can]
    return GatewrightError(argument, f"one of {', '.join(runs)}", f"{name!r}{nearest(name, runs)}")


if _kernels.refused_target():
    raise _unknown_target("GATEWRIGHT_TARGET", _kernels.refused_target())
