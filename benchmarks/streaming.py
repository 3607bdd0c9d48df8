"""`gatewright.Stream`: steps without Python between them, weights in fewer bits, and what it takes to have it.

RTNeural, the C++ library for audio plug-ins, is measured in the same run where its sources are: set ``RTNEURAL``
to a checkout of github.com/jatinchowdhury18/RTNeural (its Eigen backend, compiled for this very machine).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np

import gatewright
from benchmarks import bars
from benchmarks.bars import Judged
from benchmarks.settings import Part, Settings
from benchmarks.timing import Call, interleaved
from gatewright.runtime.packed_model import WeightFormat
from gatewright.runtime.stream import Stream

STEPS = 10_000
MOST = {16: bars.RUN_16, 32: bars.RUN_32, 64: bars.RUN_64}
NARROW_SIZES = (64, 256, 512, 1024, 2048)


def run(settings: Settings) -> Part:
    """Measure and print all of it."""
    figures: list[dict[str, Any]] = []
    judged: list[Judged] = []
    peer = rtneural()
    print(f"\nStream.run of {STEPS:,} steps, one session, 1 thread (microseconds a step)")
    print(f"{'D = H':>6}{'Stream.run':>12}{'RTNeural':>10}")
    for size, bar in MOST.items():
        x = random(STEPS, size)
        timed = interleaved({"run": steps_of(Stream.from_weights(weights(size)), x)}, settings.plan)
        us = timed["run"].seconds / STEPS * 1e6
        print(f"{size:6}{us:12.3f}{peer.get(size, float('nan')):10.3f}", flush=True)
        figures.append({"H": size, "us": us, "rtneural_us": peer.get(size)})
        judged.append(Judged(bar, 1, us, f"RTNeural {peer[size]:.3f}" if peer else ""))
    print("\nStream.step with weights in fewer bits, one session, 1 thread (microseconds)")
    print(f"{'D = H':>6}" + "".join(f"{kept:>10}" for kept in get_args(WeightFormat)))
    for size in NARROW_SIZES:
        x = random(20, size)
        calls = {
            kept: each_of(Stream.from_weights(weights(size), weights=kept), x) for kept in get_args(WeightFormat)
        }
        timed = interleaved(calls, settings.plan)
        by_kept = {kept: one.seconds / len(x) * 1e6 for kept, one in timed.items()}
        print(f"{size:6}" + "".join(f"{us:10.1f}" for us in by_kept.values()), flush=True)
        figures.append({"H": size, "us_by_weights": by_kept})
    size_mb, seconds = installed(), import_seconds()
    print(
        f"\ninstalled without dependencies: {size_mb:.2f} MB; `import gatewright.runtime.stream`: {seconds:.3f} s"
    )
    judged += [Judged(bars.INSTALLED, 1, size_mb), Judged(bars.IMPORT, 1, seconds)]
    figures.append({"installed_mb": size_mb, "import_seconds": seconds})
    return Part(figures, judged)


def random(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def weights(size: int) -> dict[str, Any]:
    """Return the weights of one layer, D = H."""
    shapes = {"weight_ih_l0": (size,), "weight_hh_l0": (size,), "bias_ih_l0": (), "bias_hh_l0": ()}
    return {name: random(4 * size, *shape) * np.float32(size**-0.5) for name, shape in shapes.items()}


def steps_of(stream: Stream, x: Any) -> Call:
    return lambda: (stream.run(x),)


def each_of(stream: Stream, x: Any) -> Call:
    return lambda: [stream.step(one) for one in x]


def rtneural() -> dict[int, float]:
    """Return RTNeural's microseconds a step by size, or nothing where its sources are not."""
    folder = os.environ.get("RTNEURAL", "")
    if not folder:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "rtneural"
        options = ["-O3", "-march=native", "-std=c++17", "-DNDEBUG", "-DRTNEURAL_USE_EIGEN=1"]
        options += ["-DEIGEN_STACK_ALLOCATION_LIMIT=0", f"-I{folder}", f"-I{folder}/modules/Eigen"]
        source = Path(__file__).with_name("rtneural.cpp")
        subprocess.run(["c++", *options, str(source), "-o", str(program)], check=True, capture_output=True)
        out = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {int(size): float(us) for size, us in (line.split() for line in out.splitlines())}


def installed() -> float:
    """Return the megabytes of our package's own files."""
    import gatewright._kernels as native

    ours = [*Path(gatewright.__file__).parent.rglob("*.py"), Path(native.__file__)]
    return sum(path.stat().st_size for path in ours) / 1e6


def import_seconds() -> float:
    """Return the seconds that a new process takes to import a stream, NumPy's own included; the median of 9."""
    code = "import time; t = time.perf_counter(); from gatewright import Stream; print(time.perf_counter() - t)"
    took = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(9)
    ]
    return statistics.median(float(one.stdout) for one in took)
