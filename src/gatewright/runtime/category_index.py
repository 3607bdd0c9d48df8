"""Values of categories as a caller has them - text, true and false, codes - as indices."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from gatewright.errors import GatewrightError
from gatewright.spec import Category

#: No column of a table has a greater whole number; Python would not even write some of them.
_MOST = 2**64

_WHOLE = re.compile(r"[+-]?[0-9]+")


class CategoryIndex:
    """The indices of the values of a category.

    Attributes:
        name: name of the column.
        values: the values, in order; the first has index 1.

    >>> kind = CategoryIndex(Category("kind", ("rain", "sun"), size=3))
    >>> kind.index("sun"), kind.index(" rain "), kind.index("hail"), kind.index(None)
    (2, 1, 0, 0)
    >>> CategoryIndex(Category("store", ("7", "12"), size=3)).index(12)
    2
    """

    def __init__(self, category: Category) -> None:
        self.name, self.values = category.column, category.values
        self._places = {value: place for place, value in enumerate(category.values, start=1)}
        #: Whether the values are true and false, or the digits of whole numbers.
        self._truth = set(category.values) <= {"true", "false"}
        self._codes = all(_WHOLE.fullmatch(value) and str(int(value)) == value for value in category.values)

    def index(self, value: Any) -> int:
        """Return the index of a value; 0 for an unknown or missing one.

        Raises:
            GatewrightError: if it is of a type that no value of the column has.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return 0
        if isinstance(value, str):
            text = value.strip()
            if self._codes and not _WHOLE.fullmatch(text) and _is_number(text):
                raise self._refused(value)
            return self._places.get(text.lower() if self._truth else text, 0)
        if isinstance(value, bool):
            if self._codes:
                raise self._refused(value)
            return self._places.get(str(value).lower(), 0)
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(whole, int) and self._codes:
            return self._places.get(str(whole), 0) if abs(whole) < _MOST else 0
        if isinstance(whole, int) and self._truth and whole in (0, 1):
            return self._places.get("true" if whole else "false", 0)
        raise self._refused(value)

    def _refused(self, value: Any) -> GatewrightError:
        kind = "true or false" if self._truth else "a whole number" if self._codes else "a text"
        example = next(iter(self._places))
        return GatewrightError(
            "x", f"{kind} such as {example!r} for category {self.name!r}, None for none", repr(value)[:80]
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
