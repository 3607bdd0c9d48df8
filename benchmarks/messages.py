"""Messages between the process that measures and those that are measured: a line of JSON, then arrays as bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Message(NamedTuple):
    """A message.

    Attributes:
        fields: what JSON can hold.
        arrays: of float32.
    """

    fields: dict[str, Any]
    arrays: Sequence[NDArray[np.float32]] = ()


def send(stream: IO[bytes], message: Message) -> None:
    """Write a message."""
    shapes = [array.shape for array in message.arrays]
    stream.write(json.dumps({**message.fields, "shapes": shapes}).encode() + b"\n")
    for array in message.arrays:
        stream.write(np.ascontiguousarray(array, np.float32).data.cast("B") if array.size else b"")
    stream.flush()


def receive(stream: IO[bytes]) -> Message | None:
    """Return the next message, or None where the other end was closed."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    fields = json.loads(line)
    arrays = []
    for shape in fields.pop("shapes"):
        array = np.empty(shape, np.float32)
        content = array.data.cast("B") if array.size else memoryview(b"")
        filled = 0
        while filled < len(content):
            count = stream.readinto(content[filled:])  # type: ignore[attr-defined]
            if not count:
                return None
            filled += count
        arrays.append(array)
    return Message(fields, arrays)
