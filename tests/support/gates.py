"""Gates made by hand for tests of the diagnosis: what they are, and the figures of a layer that has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.insight import diagnose
from gatewright.insight.unit_stats import LayerDiagnosis
from tests.support.recordings import record, recording

T = 100


def noise(*shape: int) -> np.ndarray:
    """Numbers with a spread."""
    return np.random.default_rng(0).uniform(-1, 1, size=shape)


def of(f: Any, i: Any = 1.0, g: Any = None, o: Any = 1.0, **more: Any) -> LayerDiagnosis:
    f = np.asarray(f, dtype=np.float64)
    lengths = more.get("lengths")
    made = record(f, i, noise(*f.shape) if g is None else g, o, **more)
    return diagnose(recording(made, lengths=lengths)).layers[0]


def units(*values: float, steps: int = T) -> np.ndarray:
    """One value for each unit, (T, 1, H)."""
    return np.broadcast_to(np.array(values), (steps, 1, len(values)))
