"""Answers for each step in the form of the question: arrays for arrays, rows of a frame for those of a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.frame import Frame
from gatewright.data.sequences import Sequences
from gatewright.estimators.array_input import is_pandas
from gatewright.tasks.classify.answer import joined, sequence_keys
from gatewright.tasks.options import ALL_DEFAULTS, DataOptions
from gatewright.tasks.tag.answer import in_rows, key_columns


@dataclass(frozen=True)
class Asked:
    """Sequences that a model is asked about.

    Attributes:
        X: as the caller gave them.
        sequences: the sequences.
        source: the rows of a long table; None for arrays.
        options: how the table was read.
    """

    X: Any
    sequences: Sequences
    source: Frame | None = None
    options: DataOptions = ALL_DEFAULTS.data

    @property
    def keys(self) -> dict[str, pl.Series]:
        """The columns that name the sequences, a row each."""
        return sequence_keys(self.source, self.sequences, self.options.id)


def as_arrays(X: Any, values: Sequence[NDArray[Any]]) -> Any:
    """Return values of steps as one array if the sequences came as one, else as a list of arrays."""
    return np.stack(values) if getattr(X, "ndim", 0) in (2, 3) else list(values)


def answer_of(asked: Asked, names: Sequence[str], values: Sequence[NDArray[Any]]) -> Any:
    """Return a frame of the library of the table: a row for each of its rows, with id, time and the answer.

    Args:
        asked: the table.
        names: names of the columns of the answer.
        values: for each sequence a value (T,) or (T, columns).

    Raises:
        DataError: if a column of id or time has the name of one of the answer.
    """
    assert asked.source is not None
    laid = in_rows(asked.sequences, values)
    columns = {name: pl.Series(laid if laid.ndim == 1 else laid[:, n]) for n, name in enumerate(names)}
    keys = key_columns(asked.source, asked.sequences, asked.options)
    frame = joined(keys, columns)
    if is_pandas(asked.X):
        return _of_pandas(asked.X, keys, columns)
    arrow = sys.modules.get("pyarrow")
    is_arrow = arrow is not None and isinstance(asked.X, (arrow.Table, arrow.RecordBatch))
    return frame.to_arrow() if is_arrow else frame


def _of_pandas(X: Any, keys: dict[str, pl.Series], columns: dict[str, pl.Series]) -> Any:
    """Return the columns of a pandas frame that are keys, and the answer, with the index of the frame."""
    import pandas as pd  # the caller has it

    named = [number for number, label in enumerate(X.columns) if str(label) in keys]
    kept = X.iloc[:, named].copy()
    return pd.concat([kept, pd.DataFrame({n: c.to_numpy() for n, c in columns.items()}, index=X.index)], axis=1)
