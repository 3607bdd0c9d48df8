"""Where the figures come from: machine, kernels, versions."""

from __future__ import annotations

import platform
import statistics
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from benchmarks.settings import Settings, cores
from benchmarks.timing import settle
from gatewright import kernels
from gatewright.reproduce.machine import processor

PACKAGES = ("gatewright", "torch", "onnxruntime", "numpy")


def header(settings: Settings) -> dict[str, Any]:
    """Return what a figure has to be read with."""
    info = kernels.info()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": cores(),
        "target": info.target,
        "kernels": str(info),
        "threads": list(settings.threads),
        "quick": settings.quick,
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def show(found: dict[str, Any]) -> None:
    """Print the header."""
    print(f"{found['processor']}, {found['cores']} cores, {found['system']}, {found['date']}")
    print(f"kernels: {found['kernels']}")
    print(f"target {found['target']}, measured with threads: {', '.join(map(str, found['threads']))}")
    print(", ".join(f"{name} {number}" for name, number in found["versions"].items()))
    if found["quick"]:
        print("quick: few rounds and shortened sequences, for a first look and not for a verdict")


class Peak:
    """The machine's FMA peak, float32, over all threads, measured between what is held against it.

    The clock of a virtual machine varies from second to second, so one peak for a whole run would be neither's:
    it is measured before, between and after the passes of a case, and the case gets the median.  The highest
    would be the fairest to the machine, and the least reproducible.
    """

    def __init__(self, threads: int, seconds: float) -> None:
        self._threads, self._seconds = threads, seconds
        self._found: list[float] = []

    def measure(self) -> None:
        """Measure once more."""
        settle()
        self._found.append(kernels.fma_peak("float32", threads=self._threads, seconds=self._seconds))

    @property
    def flops(self) -> float:
        """FLOP/s: the median of what was measured."""
        return statistics.median(self._found)
