"""Serialization of answers; long ones yield to the event loop between chunks."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import numpy as np
from pydantic_core import to_json

#: Numbers per chunk.
_CHUNK_NUMBERS = 16_384


async def render(answer: dict[str, Any], *, packed: bool = False) -> bytes:
    """Return an answer as JSON or msgpack.

    Args:
        answer: members of the answer; arrays become nested lists, one for each step.
        packed: whether to write msgpack.

    >>> asyncio.run(render({"y": np.array([[1.0], [np.nan]]), "steps": 2}))
    b'{"y":[[1.0],[null]],"steps":2}'
    """
    parts = []
    for index, (name, value) in enumerate(answer.items()):
        parts.append(msgpack.packb(name) if packed else (b"," if index else b"") + to_json(name) + b":")
        if isinstance(value, np.ndarray):
            parts += await _rows(value, packed)
        else:
            parts.append(msgpack.packb(value) if packed else to_json(value, inf_nan_mode="null"))
    if packed:
        return msgpack.Packer().pack_map_header(len(answer)) + b"".join(parts)
    return b"{" + b"".join(parts) + b"}"


async def _rows(y: np.ndarray[Any, Any], packed: bool) -> list[bytes]:
    """Return an array as serialized chunks."""
    width = max(1, int(np.prod(y.shape[1:])))
    steps = max(1, _CHUNK_NUMBERS // width)
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
