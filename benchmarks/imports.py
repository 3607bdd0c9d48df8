"""Seconds that ``import gatewright`` takes in a fresh process, next to ``import numpy`` and ``import torch``."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.settings import Part, Settings

MODULES = ("gatewright", "numpy", "torch")


def run(settings: Settings) -> Part:
    """Measure each module in turn, round after round, and print the medians."""
    rounds = 3 if settings.quick else 15
    seconds: dict[str, list[float]] = {module: [] for module in MODULES}
    for _ in range(rounds):
        for module in MODULES:
            seconds[module].append(_import(module))
    medians = {module: statistics.median(values) for module, values in seconds.items()}
    print("\nimport in a fresh process (seconds)")
    for module, median in medians.items():
        print(f"{module:>12}{median:8.3f}", flush=True)
    return Part([{"module": module, "seconds": median} for module, median in medians.items()], [])


def _import(module: str) -> float:
    code = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
