"""What an installed wheel has to do, with NumPy alone: a stream, its kernels, and no lock where Python has none.

python wheels/smoke.py
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import gatewright
from gatewright.equations.sequence import forward
from gatewright.kernels import info
from gatewright.spec.cell import LayerWeights

UNITS, STEPS, THREADS = 24, 50, 8


def main() -> None:
    """Compare streams of several threads with the equations; exit with what is wrong."""
    random = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (4 * UNITS, 3), "weight_hh_l0": (4 * UNITS, UNITS)}
    shapes |= {"bias_ih_l0": (4 * UNITS,), "bias_hh_l0": (4 * UNITS,)}
    weights = {name: random.standard_normal(shape).astype(np.float32) / 5 for name, shape in shapes.items()}
    x = random.standard_normal((STEPS, 3)).astype(np.float32)
    expected, _ = forward(x, LayerWeights(*weights.values()))

    def steps(_: int) -> np.ndarray:
        stream = gatewright.Stream.from_weights(weights)
        return np.stack([stream.step(row) for row in x])

    with ThreadPoolExecutor(THREADS) as pool:
        for got in pool.map(steps, range(4 * THREADS)):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    if hasattr(sys, "_is_gil_enabled") and "free-threading" in sys.version and sys._is_gil_enabled():
        raise SystemExit("expected Python without its lock, got one that the import has enabled")
    print(f"gatewright {gatewright.__version__}, Python {sys.version.split()[0]}, {info().target}: streams agree")


if __name__ == "__main__":
    main()
