"""Categories: columns whose cells are names or codes, each with a learned vector."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatewright.spec.json import Spec, require, require_size, require_text

#: Stands in place of the name of a column where no column holds categories, or none but those that follow.
NO_CATEGORY = "none"

#: Limits of a column of categories: number of values, characters of one.
MOST_VALUES, LONGEST_VALUE = 100_000, 200


@dataclass(frozen=True)
class Category(Spec):
    """A column of categories.  Index 0 is the unknown value, and value *k* of the list has index *k* + 1.

    Attributes:
        column: name of the column.
        values: the values that the training part had, as text: "true" and "false" for Boolean cells, digits for
            whole numbers.
        size: width of the vector of a value.

    >>> Category("kind", ("rain", "sun"), size=3).count
    3
    """

    column: str
    values: tuple[str, ...]
    size: int

    def __post_init__(self) -> None:
        require_text("categories.column", (self.column,))
        require_text("categories.values", self.values)
        most = f"from 1 to {MOST_VALUES} values"
        require(1 <= len(self.values) <= MOST_VALUES, "categories.values", most, len(self.values))
        for value in self.values:
            length = f"texts of 1 to {LONGEST_VALUE} characters"
            require(1 <= len(value) <= LONGEST_VALUE, "categories.values", length, value)
        require(len(set(self.values)) == len(self.values), "categories.values", "no value twice", "a repetition")
        require_size("categories.size", self.size)

    @property
    def count(self) -> int:
        """Number of indices: the values and the unknown one."""
        return len(self.values) + 1


def default_size(values: int) -> int:
    """Return the width of the vectors of a column with this number of values: a rule of fastai, up to 50.

    ``ceil(1.6 n^0.56)`` for *n* indices, the unknown value included (Howard & Gugger 2020).

    >>> default_size(2), default_size(11), default_size(10_000)
    (3, 7, 50)
    """
    return min(50, math.ceil(1.6 * (values + 1) ** 0.56))
