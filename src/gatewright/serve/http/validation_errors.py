"""Pydantic validation errors in the API's error format."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

#: Pydantic's names of the parts of an HTTP request.
_LOCATIONS = ("body", "path", "query")
#: Pydantic's names of union members.
_MEMBERS = ("str", "constrained-str", "int", "float")


class _Preview(reprlib.Repr):
    def repr_dict(self, x: dict[Any, Any], level: int) -> str:  # noqa: ARG002
        return f"an object of {len(x)} members"  # repr would sort their names first


#: Formats only the displayed beginning of a value, however large or deep it is.
_PREVIEW = _Preview()
_PREVIEW.maxstring = _PREVIEW.maxother = _PREVIEW.maxlong = 80


def error_detail(errors: Sequence[Any]) -> tuple[str, str, str]:
    """Return argument, expected and got of the deepest error.

    >>> error = {"type": "int_type", "loc": ("body", "first"), "msg": "Input should be a number", "input": "a"}
    >>> error_detail([error])
    ('first', 'input should be a number', "'a'")
    """
    deepest = max(errors, key=lambda error: len(error["loc"]))
    if deepest["type"] == "json_invalid":
        return "body", "JSON", "invalid JSON"
    names = [str(part) for part in deepest["loc"] if part not in _LOCATIONS and not _is_member(part)]
    message = deepest["msg"][:200]
    if names[:1] == ["x"] and len(names) < 3 and deepest["type"] != "missing":
        message = (
            "a text, indices of symbols, or a row of numbers for each step"  # not the message of one union member
        )
    return ".".join(names) or "body", message[:1].lower() + message[1:], preview(deepest["input"])


def preview(value: object) -> str:
    """Return the beginning of a value's representation; never raises."""
    try:
        return _PREVIEW.repr(value)[:80]
    except Exception:  # an integer with too many digits
        return f"a {type(value).__name__}"


def _is_member(part: object) -> bool:
    return isinstance(part, str) and ("[" in part or part in _MEMBERS)
