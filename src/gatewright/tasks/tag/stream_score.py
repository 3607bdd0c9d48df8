"""The score of a stream of a tagger on sequences with labels of steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gatewright.data.labels import UNLABELLED
from gatewright.data.sequence_categories import as_known
from gatewright.errors import DataError, shorten
from gatewright.files.model_file import ModelFile
from gatewright.runtime.stream import Stream
from gatewright.tasks.base import StreamScore
from gatewright.tasks.classify.dataset import read_sequences
from gatewright.tasks.classify.encoding import as_read_by
from gatewright.tasks.classify.metrics import log_loss
from gatewright.tasks.options import DataOptions

#: Maximum number of sequences, and of steps of each, that are scored.
MOST_SEQUENCES, MOST_STEPS = 200, 2_000


def stream_score(file: ModelFile, source: Path, options: DataOptions) -> StreamScore:
    """Read the first steps of the first `MOST_SEQUENCES` sequences.

    Raises:
        GatewrightError: if they cannot be read, have no label, or one that the model does not know.
    """
    assert file.spec.tagger is not None
    encoder, head = file.spec.tagger
    sequences, _ = read_sequences(source, as_read_by(encoder, options))
    sequences = sequences.take(range(min(len(sequences), MOST_SEQUENCES))).select(encoder.columns)
    sequences = as_known(sequences, encoder.categories)
    assert sequences.steps is not None
    counts = sequences.steps.counts()
    unknown = [
        name for name, n in zip(sequences.steps.names, counts, strict=True) if n and name not in head.classes
    ]
    if unknown:
        expected = f"classes of the model, out of {', '.join(map(shorten, head.classes[:20]))}"
        raise DataError("labels", expected, shorten(unknown[0]))
    truth = np.concatenate([own[:MOST_STEPS] for own in sequences.steps.as_numbers_of(head.classes)])
    labelled = truth != UNLABELLED
    if not labelled.any():
        raise DataError("labels", "a step with a label", "none")

    def metrics(stream: Stream) -> dict[str, float]:
        probabilities = []
        for value in sequences.values:
            stream.reset(0)
            probabilities.append(stream.run(value[:MOST_STEPS], sessions=0, indexed=True))
        probability = np.concatenate(probabilities)[labelled]
        accuracy = float((probability.argmax(axis=1) == truth[labelled]).mean())
        return {"accuracy": accuracy, "nats/step": log_loss(truth[labelled], probability)}

    return StreamScore(sequences.values[0], None, metrics)
