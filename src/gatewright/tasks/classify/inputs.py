"""Inputs of a classifier or a tagger: sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data.labels import UNLABELLED
from gatewright.data.sequences import Sequences, sequences_of
from gatewright.errors import DataError, GatewrightError
from gatewright.nn.model import Model
from gatewright.spec import ClassHead, FeatureEncoder, StepClassHead
from gatewright.spec.recording import ClassesMetadata, RecordingMetadata
from gatewright.tasks.classify.batches import padded
from gatewright.tasks.classify.dataset import LabelledData, is_ts, read_sequences
from gatewright.tasks.classify.encoding import as_read_by, encode
from gatewright.tasks.inputs import InputBatch, device_of, start_error
from gatewright.tasks.options import DataOptions

#: Maximum number of sequences of a part that are looked at.
MOST_SEQUENCES = 256


def of_source(
    model: Model, data: Any, span: slice, title: str, fill: str, options: DataOptions | None
) -> InputBatch:
    """Return the inputs of a classifier or a tagger from sequences or the `Path` of a file.

    Args:
        model: the model.
        data: the path of a table or a ``.ts`` file, `Sequences`, or arrays as for `sequences_of`.
        span: steps that are read of each sequence.
        title: of the recording; the name of the file if empty.
        fill: how missing values are filled.
        options: of the model's run, if it has one.

    Raises:
        GatewrightError: if the data cannot be read, or does not fit the model.
    """
    encoder, _ = _parts(model)
    if isinstance(data, (str, Path)):
        path = Path(data)
        if options is None and not is_ts(path):
            expected = "a run, whose options say which column names the sequences, or a .ts file"
            raise GatewrightError("data", expected, f"a model without a run, and {path}")
        options = as_read_by(encoder, options or DataOptions())
        try:
            sequences, _ = read_sequences(path, options)
        except DataError as error:
            if error.argument not in ("--label", "labels"):
                raise
            sequences, _ = read_sequences(path, options, labelled=False)
        title = title or path.name
    else:
        sequences = data if isinstance(data, Sequences) else sequences_of(data, columns=encoder.columns)
    return _of_sequences(model, sequences, span, title, fill)


def of_part(model: Model, data: LabelledData, part: str, span: slice, title: str) -> InputBatch:
    """Return the first `MOST_SEQUENCES` sequences of a part, "valid" or "test"."""
    sequences = data.valid if part == "valid" else data.require_test()
    if len(sequences) > MOST_SEQUENCES:
        title += f", the first {MOST_SEQUENCES} of {len(sequences):,} sequences"
        sequences = sequences.take(range(MOST_SEQUENCES))
    return _of_sequences(model, sequences, span, title, data.settings.fill)


def _of_sequences(model: Model, sequences: Sequences, span: slice, title: str, fill: str) -> InputBatch:
    encoder, head = _parts(model)
    assert model.scaler is not None
    long = [number for number, value in enumerate(sequences.values) if len(value) > span.start]
    if not long:
        raise start_error(span.start, int(sequences.lengths.max()), "the longest sequence")
    sequences = sequences.take(long)
    encoded = [rows[span] for rows in encode(sequences, encoder, model.scaler, fill)]
    x, _ = padded(encoded, range(len(encoded)), device_of(model))
    about = RecordingMetadata(
        title=title,
        note="",
        fingerprint=model.fingerprint,
        rows=_names(sequences),
        inputs=_input_names(encoder),
        readouts=head.classes if _reads_each_step(model) else (),
        peer="",
        edits=(),
        data=ClassesMetadata(head.classes),
    )
    lengths = np.array([len(rows) for rows in encoded], np.int64)
    if isinstance(head, StepClassHead):
        targets = _targets_of_steps(sequences, head.classes, span, len(x))
    else:
        targets = _targets(sequences, head.classes, len(x))
    return InputBatch(about, x, lengths, targets=targets)


def _input_names(encoder: FeatureEncoder) -> tuple[str, ...]:
    """Name what the first layer reads, in the order of `FeatureEncoder`."""
    sizes = {each.column: each.size for each in encoder.categories}
    names = []
    for column in encoder.columns:
        size = sizes.get(column)
        names += [column] if size is None else [f"{column} [{n}]" for n in range(1, size + 1)]
    return (*names, *(f"{name} observed" for name in encoder.missing))


def _parts(model: Model) -> tuple[FeatureEncoder, ClassHead | StepClassHead]:
    """Return encoder and head of a classifier or a tagger."""
    assert model.spec.labeller is not None
    return model.spec.labeller


def _reads_each_step(model: Model) -> bool:
    """Whether the head applies to the hidden state of each step: it is linear, so it does to their mean."""
    _, head = _parts(model)
    return (not head.pools or head.pooling == "mean") and not model.spec.lstm.bidirectional


def _names(sequences: Sequences) -> tuple[str, ...]:
    """Return the names of the sequences, with their labels."""
    if sequences.labels is None:
        return sequences.names
    return tuple(f"{name} ({label})" for name, label in zip(sequences.names, sequences.labels, strict=True))


def _targets(sequences: Sequences, classes: tuple[str, ...], steps: int) -> NDArray[np.int64]:
    """Return the number of the true class at each step, (T, B); -1 where it is unknown."""
    labels = sequences.labels or ("",) * len(sequences)
    numbers = [classes.index(label) if label in classes else -1 for label in labels]
    return np.tile(np.array(numbers, np.int64), (steps, 1))


def _targets_of_steps(
    sequences: Sequences, classes: tuple[str, ...], span: slice, steps: int
) -> NDArray[np.int64]:
    """Return the number of the true class of each step, (T, B); -1 where it is unknown."""
    targets = np.full((steps, len(sequences)), UNLABELLED, np.int64)
    if sequences.steps is None:
        return targets
    names = sequences.steps.names
    table = np.array([*(classes.index(n) if n in classes else UNLABELLED for n in names), UNLABELLED], np.int64)
    for row, own in enumerate(sequences.steps.numbers):
        numbers = table[own[span]]
        targets[: len(numbers), row] = numbers
    return targets
