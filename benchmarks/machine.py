"""Where the figures come from: machine, kernels, versions."""

from __future__ import annotations

import os
import platform
import re
import statistics
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.settings import Settings, cores
from benchmarks.timing import settle
from gatewright import kernels
from gatewright.reproduce.machine import processor

PACKAGES = ("gatewright", "torch", "onnx", "onnxruntime", "openvino", "numpy")

#: Instructions that decide which kernels run, as Linux names them: x86-64, then aarch64.
INSTRUCTIONS = (
    "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8",
    "asimd", "asimddp", "bf16", "i8mm", "sve",
)  # fmt: skip

#: Load average over which other programs disturb what is measured.
BUSY = 0.5


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
        "instructions": instructions(),
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def instructions(info: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Return those of `INSTRUCTIONS` that the processor has; none where the system does not say."""
    text = info.read_text() if info.exists() else ""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    names = set(found[1].split()) if found else set()
    return [name for name in INSTRUCTIONS if name in names]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def show(found: dict[str, Any]) -> None:
    """Print the header."""
    print(f"{found['processor']}, {found['cores']} cores, {found['system']}, {found['date']}")
    print(f"kernels: {found['kernels']}")
    print(f"target {found['target']}, measured with threads: {', '.join(map(str, found['threads']))}")
    missing = [name for name in ("avx512_bf16", "amx_bf16") if name not in found["instructions"]]
    print(
        f"instructions: {' '.join(found['instructions']) or 'unknown'}"
        + (f" (no {', no '.join(missing)})" if "avx2" in found["instructions"] and missing else "")
        + f"; torch says {found['torch_capability']}"
    )
    print(", ".join(f"{name} {number}" for name, number in found["versions"].items()))
    if found["load"] is not None and found["load"] > BUSY:
        print(
            f"load average {found['load']:.1f}: other programs run on this machine, so that times are no verdict"
        )
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
