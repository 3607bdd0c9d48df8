"""Arguments of the estimators' methods, checked: columns by role, whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypedDict

import numpy as np

from gatewright.errors import DataError, GatewrightError, nearest, shorten
from gatewright.estimators.table_input import TableInput
from gatewright.tasks.options import DataOptions, ModelOptions, TrainingOptions

#: Parameters of estimators, which are easily taken for arguments of ``fit``.
_PARAMETERS = {field.name for table in (DataOptions, ModelOptions, TrainingOptions) for field in fields(table)}


class Columns(TypedDict, total=False):
    """Columns of a table by their role; each a name, or a sequence of names."""

    target: str | Sequence[str]
    time: str
    id: str | Sequence[str]
    known: str | Sequence[str]
    past: str | Sequence[str]
    static: str | Sequence[str]
    category: str | Sequence[str]


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


def by_role(given: TableInput, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns by role, from the form of the input and from the caller.

    Raises:
        GatewrightError: if a role is unknown, is no name, or is one that the form of the input fixes.
    """
    named = roles_of(columns, Columns, single=("time",))
    for role, labels in named.items():
        if role in given.columns:
            raise GatewrightError(role, "a name only for columns of a table", f"{shorten(labels)} for arrays")
    return {**given.columns, **named}


def roles_of(columns: Mapping[str, Any], roles: type[Any], single: Sequence[str]) -> dict[str, Any]:
    """Return the columns that a caller named by their role: a name for a single column, else a tuple of names.

    Args:
        columns: as the caller gave them; None leaves a role to the default.
        roles: a `TypedDict` of all roles.
        single: roles of one column.

    Raises:
        GatewrightError: if a role is unknown, or is no name.
    """
    known, named = roles.__annotations__, dict[str, Any]()
    for role, value in columns.items():
        if role not in known:
            if role in _PARAMETERS:
                expected = f"a parameter of the estimator, as in Forecaster({role}=...)"
                raise GatewrightError(role, expected, "an argument next to the table")
            got = f"{shorten(role)}{nearest(role, known)}"
            raise GatewrightError("columns", f"a role out of {', '.join(known)}", got)
        labels = names(value, role)
        if labels is None:
            continue
        if role in single and len(labels) != 1:
            raise GatewrightError(role, "the name of one column", shorten(value))
        named[role] = labels[0] if role in single else labels
    return named


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
