"""What a client is told of input that pydantic refuses."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

#: Where pydantic says that it found the input: a part of an HTTP request.
_WHERE = ("body", "path", "query")
#: What it calls the members of a union.
_MEMBERS = ("str", "constrained-str", "int", "float")


class _Beginning(reprlib.Repr):
    def repr_dict(self, x: dict[Any, Any], level: int) -> str:  # noqa: ARG002
        return f"an object of {len(x)} members"  # whose names would be put in order first


#: Writes no more of a value than is shown, however large or deep it is.
_BEGINNING = _Beginning()
_BEGINNING.maxstring = _BEGINNING.maxother = _BEGINNING.maxlong = 80


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
    if names[:1] == ["x"] and len(names) < 3 and first["type"] != "missing":
        message = (
            "a text, numbers of symbols, or a row of numbers for each step"  # not what one of these says of it
        )
    return ".".join(names) or "body", message[:1].lower() + message[1:], shown(first["input"])


def shown(value: object) -> str:
    """Return the beginning of what came; whatever came has one."""
    try:
        return _BEGINNING.repr(value)[:80]
    except Exception:  # a number of too many digits
        return f"a {type(value).__name__}"


def _is_member(part: object) -> bool:
    return isinstance(part, str) and ("[" in part or part in _MEMBERS)
