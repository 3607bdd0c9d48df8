"""Predicted classes of each step and their probabilities as CSV."""

from __future__ import annotations

from pathlib import Path

from gatewright.data.sequence_categories import notes_on_unknown
from gatewright.data.sequences import Sequences
from gatewright.nn.model import Model
from gatewright.progress import SILENT, Waits
from gatewright.tasks.classify.answer import joined
from gatewright.tasks.classify.dataset import SequenceSource, read_sequences, rows_of
from gatewright.tasks.classify.encoding import as_read_by
from gatewright.tasks.options import DataOptions
from gatewright.tasks.spreadsheet import with_harmless_names
from gatewright.tasks.tag.answer import key_columns, label_columns
from gatewright.tasks.tag.predict import predict_proba, require_tagger


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
