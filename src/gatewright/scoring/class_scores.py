"""Classes of the sequences of a long table, or of their steps, as `gatewright predict` writes them."""

from __future__ import annotations

import numpy as np
import polars as pl

from gatewright.data.frame import Frame
from gatewright.data.sequence_categories import notes_on_unknown
from gatewright.files.model_file import ModelFile
from gatewright.runtime.whole_sequences import WholeSequences
from gatewright.tasks.classify.answer import joined, sequence_keys
from gatewright.tasks.classify.dataset import read_sequences
from gatewright.tasks.classify.encoding import as_read_by, encode
from gatewright.tasks.options import DataOptions
from gatewright.tasks.tag.answer import key_columns, label_columns


def classes_of(
    model: WholeSequences, file: ModelFile, frame: Frame, options: DataOptions
) -> tuple[pl.DataFrame, dict[str, list[str]]]:
    """Return the likeliest class and the probability of each, a row a sequence, or a row a step by a tagger.

    Args:
        model: the classifier or tagger.
        file: its file.
        frame: a long table; labels are not read.
        options: how it is read.

    Returns:
        The frame, and notes.

    Raises:
        DataError: if the sequences do not fit the model.
    """
    assert file.spec.labeller is not None
    assert file.scaler is not None
    encoder, head = file.spec.labeller
    sequences, reading = read_sequences(frame, as_read_by(encoder, options), labelled=False)
    shares = model.probabilities(encode(sequences, encoder, file.scaler, options.fill or ""))
    notes: dict[str, list[str]] = {note: [] for note in notes_on_unknown(sequences, encoder.categories)}
    if file.spec.tagger is not None:
        keys = key_columns(frame, sequences, reading)
        return joined(keys, label_columns(sequences, shares, head.classes)), notes
    probability = np.stack(shares)
    columns = {"label": pl.Series([head.classes[n] for n in probability.argmax(axis=1)], dtype=pl.String)}
    for number, name in enumerate(head.classes):
        columns[f"p_{name}"] = pl.Series(probability[:, number]).cast(pl.Float32)
    return joined(sequence_keys(frame, sequences, options.id), columns), notes
