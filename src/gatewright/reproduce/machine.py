"""Descriptions of the machine and the versions that a figure comes from."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gatewright import kernels

PACKAGES = ("gatewright", "torch", "numpy")


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Return processor, cores, the kernels' target and the system."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "target": kernels.info().target,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(extra: str = "") -> dict[str, str]:
    """Return the versions of Python and of the packages, and of the one that has the data."""
    numbers = {"python": platform.python_version()}
    for name in (*PACKAGES, *([extra] if extra else [])):
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            numbers[name] = "not installed"
    return numbers
