"""Predicted classes of each step and their probabilities as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.frame import Frame
from gatewright.data.roles import NO_TIME
from gatewright.data.sequence_categories import notes_on_unknown
from gatewright.data.sequences import Sequences
from gatewright.nn.model import Model
from gatewright.progress import SILENT, Waits
from gatewright.tasks.classify.answer import ID, joined, key_cells
from gatewright.tasks.classify.dataset import SequenceSource, read_sequences, rows_of
from gatewright.tasks.classify.encoding import as_read_by
from gatewright.tasks.options import DataOptions
from gatewright.tasks.spreadsheet import with_harmless_names
from gatewright.tasks.tag.predict import predict_proba, require_tagger

#: Column of the number of a step, of sequences that are no rows of a table.
STEP = "step"


def predict_table(
    model: Model, source: SequenceSource, options: DataOptions, waits: Waits = SILENT
) -> tuple[str, list[str]]:
    """Predict the class of each step of the sequences of a source.

    Args:
        model: the tagger.
        source: sequences; labels are not read.
        options: how they are read.
        waits: reports progress.

    Returns:
        CSV text; and notes for a person: names that are written otherwise than they are.  Each row of a table
        gives a row of the answer, in the same order, with its columns of id and time; each step of other sequences
        one with ``id`` and ``step``.  Then follow label (the likeliest class) and p_<class> for each class.

    Raises:
        GatewrightError: if the model is no tagger, or the sequences do not fit it.
    """
    encoder, head = require_tagger(model)
    with waits.during(f"reading {source.name if isinstance(source, Path) else 'the data'}"):
        if not isinstance(source, Sequences):
            source, options = rows_of(source, options)
        reading = as_read_by(encoder, options)
        sequences, reading = read_sequences(source, reading, labelled=False)
    with waits.during(f"predicting {len(sequences):,} sequences"):
        probability = predict_proba(model, sequences, options.fill or "")
        keys = key_columns(source, sequences, reading)
        answer = joined(keys, label_columns(sequences, probability, head.classes))
        frame, notes = with_harmless_names(answer)
        return frame.write_csv(), [*notes_on_unknown(sequences, encoder.categories), *notes]


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
