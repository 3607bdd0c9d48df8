"""Recordings for tests: made by hand from known gates, and the loops that judge what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatewright.equations import Record
from gatewright.insight.layers import Layer
from gatewright.insight.recording import Recording
from gatewright.spec.recording import Edit, LayersMetadata, RecordingMetadata

Array = NDArray[Any]


def about(rows: int, inputs: int, **changes: Any) -> RecordingMetadata:
    names = {"title": "by hand", "note": "", "fingerprint": "", "readouts": (), "peer": "", "edits": ()}
    columns = tuple(f"x{n}" for n in range(inputs))
    return RecordingMetadata(
        **{**names, "rows": ("",) * rows, "inputs": columns, "data": LayersMetadata(), **changes}
    )


def cells(f: Array, written: Array, c_0: Array, added: Array | None = None) -> Array:
    """Run c' = f (c + added) + written, in float64."""
    c, states = c_0.astype(np.float64), []
    for t in range(len(f)):
        c = f[t] * (c + (0 if added is None else added[t])) + written[t]
        states.append(c)
    return np.array(states)


def record(
    f: ArrayLike,
    i: ArrayLike = 1.0,
    g: ArrayLike = 1.0,
    o: ArrayLike = 1.0,
    *,
    c_0: ArrayLike = 0.0,
    lengths: Sequence[int] | None = None,
    added: Array | None = None,
    dtype: Any = np.float64,
    reverse: bool = False,
) -> Record:
    """A record with these gates (T, B, H); f has the full shape, the others what broadcasts to it.

    In reverse, index t is the time too.
    """
    f = np.asarray(f, dtype)
    T, B, H = f.shape
    gates = [np.broadcast_to(np.asarray(one, dtype), f.shape).copy() for one in (i, f, g, o)]
    c_0 = np.broadcast_to(np.asarray(c_0, dtype), (B, H)).copy()
    cell = np.zeros(f.shape, dtype)
    for row, n in enumerate([T] * B if lengths is None else lengths):
        for gate in gates:
            gate[n:, row] = 0
        order = slice(None, None, -1 if reverse else 1)
        i_, f_, g_ = (gate[:n, row][order].astype(np.float64) for gate in gates[:3])
        extra = None if added is None else added[:n, row][order]
        cell[:n, row] = cells(f_, i_ * g_, c_0[row], extra)[order]
    hidden = (gates[3] * np.tanh(cell)).astype(dtype)
    return Record(*gates, cell, hidden, cell_initial=c_0, hidden_initial=np.zeros((B, H), dtype))


def recording(
    forward: Record,
    reverse: Record | None = None,
    lengths: Sequence[int] | None = None,
    edits: Sequence[Edit] = (),
) -> Recording:
    """A recording of one bare layer."""
    T, B, _ = forward.cell.shape
    hidden = forward.hidden if reverse is None else np.concatenate([forward.hidden, reverse.hidden], -1)
    steps = np.array([T] * B if lengths is None else lengths)
    inputs = np.zeros((T, B, 1), forward.cell.dtype)
    return Recording(about(B, 1, edits=tuple(edits)), (Layer(forward, reverse),), steps, inputs, hidden)


def shares(f: Array, written: Array, t: int) -> Array:
    """What each step k <= t wrote and the gates let through until t, by a double loop over the equation."""
    left = np.zeros((t + 1, *f.shape[1:]))
    for k in range(t + 1):
        left[k] = written[k]
        for j in range(k + 1, t + 1):
            left[k] = left[k] * f[j]
    return left
