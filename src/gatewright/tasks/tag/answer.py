"""The columns of an answer about the steps of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.frame import Frame
from gatewright.data.roles import NO_TIME
from gatewright.data.sequences import Sequences
from gatewright.tasks.classify.answer import ID, key_cells
from gatewright.tasks.classify.dataset import SequenceSource
from gatewright.tasks.options import DataOptions

#: Column of the number of a step, of sequences that are no rows of a table.
STEP = "step"


def key_columns(source: SequenceSource, sequences: Sequences, options: DataOptions) -> dict[str, pl.Series]:
    """Return the columns that name the rows of an answer: id and time of a table, else id and step."""
    if isinstance(source, Frame):
        named = [*(options.id or ()), *([options.time] if options.time not in (None, "", NO_TIME) else [])]
        return key_cells(source, named)
    lengths = sequences.lengths
    steps = np.concatenate([np.arange(length) for length in lengths])
    names = np.repeat(np.array(sequences.names, object), lengths)
    return {ID: pl.Series(names.tolist(), dtype=pl.String), STEP: pl.Series(steps)}


def label_columns(
    sequences: Sequences, probability: list[NDArray[np.float64]], classes: tuple[str, ...]
) -> dict[str, pl.Series]:
    """Return the columns label and p_<class>, a row for each row of the table, or for each step."""
    laid_out = in_rows(sequences, probability)
    label = pl.Series("label", list(classes), dtype=pl.String).gather(laid_out.argmax(axis=1))
    # The model computes in float32; more digits would only look like more.
    shares = {f"p_{name}": pl.Series(laid_out[:, n]).cast(pl.Float32) for n, name in enumerate(classes)}
    return {"label": label, **shares}


def in_rows(sequences: Sequences, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return values of the steps of sequences in the order of the rows of their table, (rows, ...)."""
    stacked = np.concatenate(values)
    if sequences.rows is None:
        return stacked
    laid = np.empty_like(stacked)
    laid[np.concatenate(sequences.rows)] = stacked
    return laid
