"""Answers as they go out: long ones are written in parts, so that others are answered meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import numpy as np
from pydantic_core import to_json

#: Numbers that are written at once.
_AT_ONCE = 16_384


async def rendered(answer: dict[str, Any], *, packed: bool = False) -> bytes:
    """Return an answer in JSON, or in msgpack.

    Args:
        answer: what it has; ``y`` may be an array, of which there is a list for each step.
        packed: whether it is msgpack.

    >>> asyncio.run(rendered({"y": np.array([[1.0], [np.nan]]), "steps": 2}))
    b'{"y":[[1.0],[null]],"steps":2}'
    """
    parts = []
    for place, (name, value) in enumerate(answer.items()):
        parts.append(msgpack.packb(name) if packed else (b"," if place else b"") + to_json(name) + b":")
        if isinstance(value, np.ndarray):
            parts += await _rows(value, packed)
        else:
            parts.append(msgpack.packb(value) if packed else to_json(value, inf_nan_mode="null"))
    if packed:
        return msgpack.Packer().pack_map_header(len(answer)) + b"".join(parts)
    return b"{" + b"".join(parts) + b"}"


async def _rows(y: np.ndarray[Any, Any], packed: bool) -> list[bytes]:
    """Return an array in parts, to be put together."""
    width = max(1, int(np.prod(y.shape[1:])))
    steps = max(1, _AT_ONCE // width)
    parts = [msgpack.Packer().pack_array_header(len(y)) if packed else b"["]
    for first in range(0, len(y), steps):
        if first:
            await asyncio.sleep(0)
        rows = y[first : first + steps].tolist()
        if packed:
            parts.append(b"".join(map(msgpack.packb, rows)))
        else:
            parts.append((b"," if first else b"") + to_json(rows, inf_nan_mode="null")[1:-1])
    return parts if packed else [*parts, b"]"]
