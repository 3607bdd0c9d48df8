"""What a client is told of input that pydantic refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Where pydantic says that it found the input.
_WHERE = ("body", "path", "query")
#: What it calls the members of a union.
_MEMBERS = ("str", "constrained-str", "int", "float")


def unfit(errors: Sequence[Any]) -> tuple[str, str, str]:
    """Return argument, expected and got: of the part of the input that it got farthest in.

    >>> unfit([{"type": "int_type", "loc": ("body", "first"), "msg": "Input should be a number", "input": "a"}])
    ('first', 'input should be a number', "'a'")
    """
    first = max(errors, key=lambda error: len(error["loc"]))
    if first["type"] == "json_invalid":
        return "body", "JSON", "something else"
    names = [str(part) for part in first["loc"] if part not in _WHERE and not _is_member(part)]
    message = first["msg"][:200]
    return ".".join(names) or "body", message[:1].lower() + message[1:], f"{first['input']!r}"[:80]


def _is_member(part: object) -> bool:
    return isinstance(part, str) and ("[" in part or part in _MEMBERS)
