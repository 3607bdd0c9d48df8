"""Columns of categories: which inputs hold names or codes, and their cells as indices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.cell_text import is_text, known
from gatewright.data.columns import Column, Columns
from gatewright.data.numeric_columns import Place
from gatewright.data.roles import Roles
from gatewright.errors import DataError, nearest, shorten
from gatewright.spec import LONGEST_VALUE, MOST_VALUES, NO_CATEGORY

#: A whole number as it is written without any other sign.
_WHOLE = r"[+-]?[0-9]+"


def category_columns(columns: Columns, roles: Roles, place: Place) -> tuple[str, ...]:
    """Return the inputs that hold categories: past, static, known.

    They are those that ``roles.category`` names, and unless it begins with "none" those of text, of truth values,
    or of a type that says so, and static ones that are also an id.

    Args:
        columns: the columns of the table.
        roles: what they are for.
        place: names the place of a row.

    Raises:
        DataError: if a named column is no input, or text and numbers mix in a column that is not named.
    """
    inputs, expected = roles.past + roles.static + roles.known, "inputs that --past, --known or --static names"
    for name in roles.category:
        if name in roles.targets:
            raise DataError("--category", expected, f"the target {shorten(name)}")
    return categories_among(Inputs(columns, inputs, roles.ids, expected), roles.category, place)


class Inputs(NamedTuple):
    """Columns that a model reads.

    Attributes:
        columns: the columns of the table.
        names: those that are read.
        ids: ids of the series, which hold categories where they are read, too.
        expected: which columns they are, for an error.
    """

    columns: Columns
    names: tuple[str, ...]
    ids: tuple[str, ...]
    expected: str


def categories_among(inputs: Inputs, category: tuple[str, ...], place: Place) -> tuple[str, ...]:
    """Return the inputs that hold categories, in their order.

    Args:
        inputs: the columns.
        category: columns that hold codes; "none" first says that there are no others.
        place: names the place of a row.

    Raises:
        DataError: if a named column is no input, or text and numbers mix in a column that is not named.
    """
    detected = category[:1] != (NO_CATEGORY,)
    named = category if detected else category[1:]
    for name in named:
        if name not in inputs.names:
            raise DataError("--category", inputs.expected, f"{shorten(name)}{nearest(name, inputs.names)}")
    return tuple(
        name
        for name in inputs.names
        if name in named or (detected and (name in inputs.ids or _is_category(inputs.columns[name], place)))
    )


def _is_category(column: Column, place: Place) -> bool:
    """Say whether a column is one of categories, though nobody says so.

    Raises:
        DataError: if it has names and numbers.
    """
    cells = column.cells
    if isinstance(cells.dtype, (pl.Boolean, pl.Categorical, pl.Enum)):
        return True
    if not is_text(cells) or column.is_numeric or column.other_notation:
        return False
    names = known(cells, column.notation.missing)
    is_number = (column.notation.cast(names).is_not_null() & names.is_not_null()).fill_null(False)
    is_name = names.is_not_null() & ~is_number
    if is_number.any() and is_name.any():
        row, other = int(is_number.arg_max() or 0), int(is_name.arg_max() or 0)
        hint = f"--category {column.name} takes all cells as names, --missing WORD a word as nothing"
        got = f"{shorten(cells[row])}, and {shorten(cells[other])} in {place(other)}; {hint}"
        raise DataError(f"column {shorten(column.name)}, {place(row)}", "numbers or names in all rows", got)
    return bool(is_name.any())


def codes(column: Column, place: Place) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the values of a column of categories in order, and the index of each cell from 1 on.

    A missing cell has NaN.  Whole numbers are in the order of numbers, anything else in that of text.

    Args:
        column: the column.
        place: names the place of a row.

    Raises:
        DataError: at a column of other numbers or of another type, at a value that is too long, or at too many.

    >>> codes(Column(pl.Series("kind", ["sun", None, "rain", "sun"])), str)
    (('rain', 'sun'), array([ 2., nan,  1.,  2.]))
    """
    names = _names(column)
    values = names.drop_nulls().unique()
    if len(values) > MOST_VALUES:
        expected = f"at most {MOST_VALUES:,} different values"
        raise DataError(f"category {shorten(column.name)}", expected, f"{len(values):,}")
    if (values.str.len_chars() > LONGEST_VALUE).any():
        row = int((names.str.len_chars() > LONGEST_VALUE).fill_null(False).arg_max() or 0)
        expected = f"a value of at most {LONGEST_VALUE} characters"
        raise DataError(f"category {shorten(column.name)}, {place(row)}", expected, shorten(names[row]))
    whole = values.str.contains(f"^{_WHOLE}$").all()
    ordered = sorted(values.to_list(), key=lambda value: (int(value) if whole else 0, value))
    if not ordered:
        return (), np.full(len(names), np.nan)
    indices = names.cast(pl.Enum(ordered)).to_physical().cast(pl.Float64) + 1
    return tuple(ordered), indices.fill_null(float("nan")).to_numpy()


def _names(column: Column) -> pl.Series:
    """Return the cells of a column of categories as text, null where they are missing.

    Raises:
        DataError: if they are no names.
    """
    cells, dtype, missing = column.cells, column.cells.dtype, column.notation.missing
    if isinstance(dtype, (pl.Boolean, pl.Null)) or dtype.is_integer():
        return known(cells.cast(pl.String), missing)
    argument, expected = f"category {shorten(column.name)}", "text, true and false, or whole numbers"
    if not is_text(cells):
        remedy = "; codes that came as floats become whole numbers by a cast to an integer type"
        got = f"cells of type {shorten(str(dtype))}{remedy if dtype.is_float() else ''}"
        raise DataError(argument, expected, got)
    names = known(cells, missing)
    numbers = column.notation.cast(names)
    fractional = names.filter(numbers.is_not_null() & ~names.str.contains(f"^{_WHOLE}$"))
    if len(fractional) and numbers.null_count() == names.null_count():
        remedy = "codes are written without a decimal point"
        raise DataError(argument, expected, f"numbers such as {shorten(fractional[0])}; {remedy}")
    truth = names.str.to_lowercase()
    return truth if truth.drop_nulls().is_in(["true", "false"]).all() else names
