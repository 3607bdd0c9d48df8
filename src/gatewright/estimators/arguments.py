"""Arguments of the estimators' methods, checked: columns by role, whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from gatewright.errors import DataError, GatewrightError, nearest, shorten
from gatewright.estimators.table_input import TableInput


class Columns(TypedDict, total=False):
    """Columns of a table by their role; each a name, or a sequence of names."""

    target: str | Sequence[str]
    time: str
    id: str | Sequence[str]
    known: str | Sequence[str]
    past: str | Sequence[str]
    static: str | Sequence[str]


def whole(argument: str, value: Any) -> int | None:
    """Return a whole number of at least 1, or None.

    Raises:
        GatewrightError: if it is neither.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise GatewrightError(argument, "a whole number of at least 1", shorten(value))
    return int(value)


def by_role(given: TableInput, columns: Columns) -> dict[str, Any]:
    """Return the columns by role, from the form of the input and from the caller.

    Raises:
        GatewrightError: if a role is unknown, is no name, or is one that the form of the input fixes.
    """
    roles_: dict[str, Any] = dict(given.columns)
    known = Columns.__annotations__
    for role, value in columns.items():
        if role not in known:
            got = f"{shorten(role)}{nearest(role, known)}"
            raise GatewrightError("fit", f"a role out of {', '.join(known)}", got)
        if value is None:
            continue
        if role in given.columns:
            raise GatewrightError(role, "a name only for columns of a table", f"{shorten(value)} for arrays")
        labels = names(value, role)
        if role == "time" and labels is not None and len(labels) != 1:
            raise GatewrightError("time", "the name of one column", shorten(value))
        roles_[role] = labels if role != "time" or labels is None else labels[0]
    return roles_


def names(value: Any, argument: str) -> tuple[str, ...] | None:
    """Return names of columns from a single name or a sequence of them.

    Raises:
        DataError: if they are no text.
    """
    if value is None:
        return None
    if isinstance(value, (set, frozenset)):
        raise DataError(argument, "names in an order, such as a list", "a set")
    labels: Sequence[Any] = (
        [value] if isinstance(value, (str, int)) or not hasattr(value, "__iter__") else list(value)
    )
    for label in labels:
        if not isinstance(label, (str, int, np.integer)) or isinstance(label, bool):
            raise DataError(argument, "names of columns", shorten(label))
    return tuple(map(str, labels))
