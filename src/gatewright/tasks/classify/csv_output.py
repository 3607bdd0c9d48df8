"""Predicted classes and their probabilities as CSV."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from gatewright.data.frame import Frame
from gatewright.data.sequence_categories import notes_on_unknown
from gatewright.data.sequences import Sequences
from gatewright.nn.model import Model
from gatewright.progress import SILENT, Waits
from gatewright.tasks.classify.answer import joined, sequence_keys
from gatewright.tasks.classify.dataset import SequenceSource, is_ts, read_sequences, rows_of
from gatewright.tasks.classify.encoding import as_read_by
from gatewright.tasks.classify.predict import predict_proba, require_classifier
from gatewright.tasks.options import DataOptions
from gatewright.tasks.spreadsheet import with_harmless_names


def predict_table(
    model: Model, source: SequenceSource, options: DataOptions, waits: Waits = SILENT
) -> tuple[str, list[str]]:
    """Predict the class of each sequence of a source.

    Args:
        model: the classifier.
        source: sequences; labels are not read.
        options: how they are read.
        waits: reports progress.

    Returns:
        CSV text with the id columns of the table (``id`` without a table), label (the likeliest class) and
        p_<class> for each class; and notes for a person: names that are written otherwise than they are.

    Raises:
        GatewrightError: if the model is no classifier, or the sequences do not fit it.
    """
    encoder, head = require_classifier(model)
    with waits.during(f"reading {source.name if isinstance(source, Path) else 'the data'}"):
        if not (isinstance(source, Sequences) or is_ts(source)):
            source, options = rows_of(source, options)
        sequences, _ = read_sequences(source, as_read_by(encoder, options), labelled=False)
    with waits.during(f"predicting {len(sequences):,} sequences"):
        probability = predict_proba(model, sequences, options.fill or "")
        keys = sequence_keys(source if isinstance(source, Frame) else None, sequences, options.id)
        columns = {"label": pl.Series([head.classes[n] for n in probability.argmax(axis=1)], dtype=pl.String)}
        for number, name in enumerate(head.classes):
            # The model computes in float32; more digits would only look like more.
            columns[f"p_{name}"] = pl.Series(probability[:, number]).cast(pl.Float32)
        frame, notes = with_harmless_names(joined(keys, columns))
        return frame.write_csv(), [*notes_on_unknown(sequences, encoder.categories), *notes]
