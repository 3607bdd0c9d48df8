"""The score of a stream of a classifier on labelled sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gatewright.data.sequence_categories import as_known
from gatewright.data.sequences import Sequences
from gatewright.errors import DataError, shorten
from gatewright.files.model_file import ModelFile
from gatewright.runtime.stream import Stream
from gatewright.tasks.base import StreamScore
from gatewright.tasks.classify.dataset import read_sequences
from gatewright.tasks.classify.encoding import as_read_by
from gatewright.tasks.classify.metrics import log_loss
from gatewright.tasks.options import DataOptions

#: Maximum number of sequences that are scored.
MOST_SEQUENCES = 500


def stream_score(file: ModelFile, source: Path, options: DataOptions) -> StreamScore:
    """Read the first `MOST_SEQUENCES` labelled sequences.

    Raises:
        GatewrightError: if they cannot be read, or one has a class that the model does not know.
    """
    assert file.spec.classifier is not None
    encoder, head = file.spec.classifier
    sequences, _ = read_sequences(source, as_read_by(encoder, options))
    sequences = sequences.take(range(min(len(sequences), MOST_SEQUENCES))).select(encoder.columns)
    sequences = as_known(sequences, encoder.categories)
    truth = np.array([_number(sequences, number, head.classes) for number in range(len(sequences))])

    def metrics(stream: Stream) -> dict[str, float]:
        probabilities = []
        for value in sequences.values:
            stream.reset(0)
            probabilities.append(stream.run(value, sessions=0, indexed=True)[-1])
        probability = np.stack(probabilities)
        accuracy = float((probability.argmax(axis=1) == truth).mean())
        return {"accuracy": accuracy, "nats/sequence": log_loss(truth, probability)}

    return StreamScore(sequences.values[0], None, metrics)


def _number(sequences: Sequences, number: int, classes: tuple[str, ...]) -> int:
    assert sequences.labels is not None
    label = sequences.labels[number]
    if label not in classes:
        expected = f"a class of the model, out of {', '.join(map(shorten, classes[:20]))}"
        raise DataError(sequences.title(number), expected, shorten(label))
    return classes.index(label)
