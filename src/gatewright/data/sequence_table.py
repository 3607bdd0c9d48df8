"""Labelled sequences from a long table: a row a step, a column that names the sequence, and one of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.categories import Inputs, categories_among, codes
from gatewright.data.cell_text import is_text, text
from gatewright.data.columns import Column, Columns, columns_of
from gatewright.data.datetimes.inference import is_named
from gatewright.data.datetimes.timestamps import timestamps
from gatewright.data.frame import Frame
from gatewright.data.labels import StepLabels, label_text
from gatewright.data.number_format import PLAIN, Notation
from gatewright.data.numeric_columns import numbers
from gatewright.data.roles import NO_TIME, is_index, listed_names, longest_series, missing_column
from gatewright.data.sequences import Sequences
from gatewright.data.sources import TableSource, frame_of
from gatewright.data.table import groups_of
from gatewright.errors import DataError, nearest, shorten
from gatewright.spec import NO_CATEGORY

#: Text that is no label, next to that of ``--missing``: fewer words than in columns of numbers, as a class may be
#: called "none" or "-".
NO_LABEL = ("na", "n/a", "#n/a", "<na>", "nan", "null", "?")

#: Name, ids and rows of each sequence.
Groups = Sequence[tuple[str, tuple[str, ...], NDArray[np.int64]]]

#: Steps of the longest sequence from which on 0, 1, 2, ... is taken for a count.
_SHORTEST_COUNT = 4

#: Name of the only sequence of a table without a column that names them.
ALL_ROWS = "all rows"


@dataclass(frozen=True)
class SequenceRoles:
    """Roles of the columns of a table of sequences.

    Attributes:
        id: columns that name the sequence of a row.
        label: column of the label; "" for sequences without labels.
        category: columns that hold codes, next to those of names and of true and false; "none" first says that
            there are no others.
        label_per: "sequence" where all rows of a sequence have one label, "step" where each row has its own.
        features: columns to read; if empty all others that are numeric, and those of ``category``.
        time: column that orders the rows of a sequence; "" to detect it, "none" for rows in order.
        time_format: format of timestamps as in strftime; "" to detect it.
        notation: how numbers are written, and which words and numbers stand for a missing value.
        fixed: whether the columns are those that a model reads.
    """

    id: tuple[str, ...]
    label: str = ""
    features: tuple[str, ...] = ()
    time: str = ""
    time_format: str = ""
    notation: Notation = PLAIN
    fixed: bool = False
    label_per: str = "sequence"
    category: tuple[str, ...] = ()


def sequences_of_table(source: TableSource, roles: SequenceRoles) -> tuple[Sequences, SequenceRoles]:
    """Read a long table; return its sequences in order of appearance, and the roles with what was detected.

    Args:
        source: the path of a table, a data frame, or an Arrow table.
        roles: what the columns are for.

    Raises:
        DataError: names the column and the row at fault.

    >>> frame = pl.DataFrame({"who": ["a", "a", "b"], "x": [1.0, 2.0, 3.0], "move": ["walk", "walk", "run"]})
    >>> sequences, roles = sequences_of_table(frame, SequenceRoles(("who",), "move"))
    >>> roles.features, sequences.labels, sequences.lengths.tolist()
    (('x',), ('walk', 'run'), [2, 1])
    """
    frame = frame_of(source, roles.notation)
    columns = columns_of(frame.cells, roles.notation, roles.time_format)
    _require_named(columns, roles)
    groups = groups_of(frame, roles.id)
    time = _time(columns, roles, frame, groups)
    features = roles.features or _readable(columns, roles, time)
    roles = replace(roles, features=features, time=time)
    values, categories = _values(columns, roles, frame)
    order = None if time == NO_TIME else _moments(columns[time], frame)
    found, names, places = [], [], []
    ordered_rows = []
    for name, _, rows in groups:
        ordered = rows if order is None else _ordered(order, rows, frame, time, name)
        ordered_rows.append(ordered)
        found.append(values[ordered])
        names.append(name if roles.id else ALL_ROWS)
        places.append(frame.place(int(rows[0])))
    labels, steps = None, None
    if roles.label and roles.label_per == "step":
        steps = _labels_of_steps(columns[roles.label], ordered_rows)
    elif roles.label:
        labels = _labels(columns[roles.label], groups, frame)
    texts = (labels, tuple(names), tuple(places))
    unread = _names(columns, roles)
    return Sequences(tuple(found), features, *texts, steps, tuple(ordered_rows), categories, unread), roles


def _require_named(columns: Columns, roles: SequenceRoles) -> None:
    """Require the named columns, each in one role."""
    if not roles.id and roles.label_per != "step":
        raise DataError("--id", f"the column that names a row's sequence, out of {listed_names(columns)}", "none")
    time = () if roles.time in ("", NO_TIME) else (roles.time,)
    label = (roles.label,) if roles.label else ()
    seen: dict[str, str] = {}
    for role, names in (("id", roles.id), ("label", label), ("features", roles.features), ("time", time)):
        for name in names:
            if name not in columns:
                used = {*roles.id, *label, *roles.features, *time} if roles.fixed else set()
                raise missing_column(role, name, columns, roles.fixed, used)
            if name in seen:
                both = f"--{seen[name]} and --{role}" if seen[name] != role else f"--{role}"
                raise DataError(both, "each column once", f"{shorten(name)} twice")
            seen[name] = role


def _time(columns: Columns, roles: SequenceRoles, frame: Frame, groups: Groups) -> str:
    """Return the column that orders the rows: the named one, or one that is the time by its name or its cells.

    Without one it is a column that counts the steps of each sequence.
    """
    if roles.time or frame.time:
        return roles.time or frame.time
    taken = {*roles.id, roles.label, *roles.features}
    free = [name for name in columns if name not in taken]
    longest = longest_series(columns, roles.id)
    for name in sorted(free, key=lambda each: not is_named(each)):
        if is_named(name) and (longest[name].is_numeric or longest[name].is_time):
            return name
        if not longest[name].is_numeric and longest[name].is_time:
            return name
    counters = (name for name in free if columns[name].is_numeric and not is_index(columns[name].cells))
    return next((name for name in counters if _counts(numbers(columns[name], frame.place), groups)), NO_TIME)


def _counts(values: NDArray[np.float64], groups: Groups) -> bool:
    """Whether a column counts the steps of each sequence, in whatever order: 0, 1, 2, ... or 1, 2, 3, ...

    >>> _counts(np.array([1.0, 0.0, 2.0, 3.0, 0.0]), [("a", (), np.arange(4)), ("b", (), np.array([4]))])
    True
    """
    first = float(np.nanmin(values)) if np.isfinite(values).any() else -1.0
    if first not in (0.0, 1.0) or max(len(rows) for _, _, rows in groups) < _SHORTEST_COUNT:
        return False
    return all(np.array_equal(np.sort(values[rows]), first + np.arange(len(rows))) for _, _, rows in groups)


def _values(
    columns: Columns, roles: SequenceRoles, frame: Frame
) -> tuple[NDArray[np.float64], dict[str, tuple[str, ...]]]:
    """Return the rows of a table as numbers, (rows, features), and the values of its categories."""
    inputs = Inputs(columns, roles.features, (), "columns that --features names")
    chosen = categories_among(inputs, roles.category, frame.place)
    categories, cells = {}, []
    for name in roles.features:
        if name in chosen:
            categories[name], own = codes(columns[name], frame.place)
        else:
            own = numbers(columns[name], frame.place)
        cells.append(own)
    return np.stack(cells, axis=1), categories


def _readable(columns: Columns, roles: SequenceRoles, time: str) -> tuple[str, ...]:
    """Return the columns without a role that are numeric, or that ``category`` names.

    One of row numbers does not count.
    """
    taken = {*roles.id, roles.label, time}
    for name in roles.category:
        if name != NO_CATEGORY and (name not in columns or name in taken):
            others = [each for each in columns if each not in taken]
            expected = f"columns without another role, out of {listed_names(others)}"
            hint = f", the {_role(name, roles)} column" if name in columns else nearest(name, others)
            raise DataError("--category", expected, f"{shorten(name)}{hint}")
    free = [column for name, column in columns.items() if name not in taken]
    names = tuple(
        column.name
        for column in free
        if column.name in roles.category or (column.is_numeric and not is_index(column.cells))
    )
    if not names:
        raise DataError("--features", f"columns to read, out of {listed_names(columns)}", "none that is numeric")
    return names


def _role(name: str, roles: SequenceRoles) -> str:
    """Name the role of a column that is not read."""
    return "id" if name in roles.id else "label" if name == roles.label else "time"


def _names(columns: Columns, roles: SequenceRoles) -> tuple[str, ...]:
    """Return the columns without a role that hold names, or true and false: they are not read unless named."""
    taken = {*roles.id, roles.label, roles.time, *roles.features}
    free = [column for name, column in columns.items() if name not in taken]
    kinds = (pl.Boolean, pl.Categorical, pl.Enum)
    return tuple(
        column.name
        for column in free
        if isinstance(column.cells.dtype, kinds)
        or (is_text(column.cells) and not column.is_numeric and not column.is_time)
    )


def _moments(column: Column, frame: Frame) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return numbers that order the rows: a numeric column as it is, or timestamps."""
    if column.is_numeric and not column.time_format:
        moments = numbers(column, frame.place)
        if np.isnan(moments).any():
            place = frame.place(int(np.isnan(moments).argmax()))
            raise DataError(
                f"time column {shorten(column.name)}, {place}", "a number that orders the rows", "nothing"
            )
        return moments
    stamps = timestamps(column, frame.place)
    return (stamps.local if stamps.early is None else stamps.early).astype(np.int64)


def _ordered(
    order: NDArray[np.generic], rows: NDArray[np.int64], frame: Frame, time: str, name: str
) -> NDArray[np.int64]:
    """Return the rows of a sequence in order of time.

    Raises:
        DataError: at a time that comes twice.
    """
    own = order[rows]
    by_time = np.argsort(own, kind="stable")
    same = np.flatnonzero(own[by_time][1:] == own[by_time][:-1])
    if len(same):
        row = int(rows[by_time[same[0] + 1]])
        before = frame.place(int(rows[by_time[same[0]]]))
        expected = f"another time than {before} of sequence {shorten(name)} (--time none takes the rows in order)"
        got = shorten(str(frame.cells[time][row]))
        raise DataError(f"time column {shorten(time)}, {frame.place(row)}", expected, got)
    return rows[by_time]


def _labels(column: Column, groups: Groups, frame: Frame) -> tuple[str, ...]:
    """Return the label of each sequence, which all of its rows have.

    Raises:
        DataError: at a row without a label, or with another one.
    """
    cells = _label_cells(column)
    if cells.has_nulls():
        place = frame.place(int(cells.is_null().arg_max() or 0))
        expected = "a label in every row (a tagger, --label-per step, learns from rows with one)"
        raise DataError(f"label column {shorten(column.name)}, {place}", expected, "nothing")
    values = cells.to_list()
    labels = []
    for name, _, rows in groups:
        first = values[rows[0]]
        for row in rows:
            if values[row] != first:
                before = frame.place(int(rows[0]))
                expected = f"{shorten(label_text(first))}, the label of sequence {shorten(name)} in {before}"
                expected += " (a tagger, --label-per step, learns a label for each step)"
                place = f"label column {shorten(column.name)}, {frame.place(int(row))}"
                raise DataError(place, expected, shorten(label_text(values[row])))
        labels.append(label_text(first))
    return tuple(labels)


def _labels_of_steps(column: Column, rows: Sequence[NDArray[np.int64]]) -> StepLabels:
    """Return the label of each step of sequences, from their rows."""
    cells = _label_cells(column)
    distinct = cells.drop_nulls().unique(maintain_order=True)
    codes = pl.DataFrame({"label": distinct, "code": np.arange(1, len(distinct) + 1)})
    own = cells.to_frame("label").join(codes, on="label", how="left", maintain_order="left")["code"]
    numbers = own.fill_null(0).to_numpy().astype(np.int64)
    words = {word.strip().lower() for word in column.notation.missing}
    labels = map(label_text, distinct.to_list())
    texts = ("", *("" if label.lower() in words else label for label in labels))
    return StepLabels.of_codes(texts, [numbers[own_rows] for own_rows in rows])


def _label_cells(column: Column) -> pl.Series:
    """Return the cells of a column of labels, null in place of no label.

    Raises:
        DataError: if they cannot be labels.
    """
    cells = column.cells
    if cells.dtype.is_nested() or cells.dtype in (pl.Binary, pl.Object):
        got = f"cells of type {shorten(str(cells.dtype))}"
        raise DataError(f"label column {shorten(column.name)}", "labels", got)
    if is_text(cells):
        cells = text(cells)
        words = {*NO_LABEL, *(word.strip().lower() for word in column.notation.missing)}
        no_label = cells.str.to_lowercase().is_in(sorted(words)).fill_null(False)
        return cells.set(no_label, None) if no_label.any() else cells
    return cells.fill_nan(None) if cells.dtype.is_float() else cells
