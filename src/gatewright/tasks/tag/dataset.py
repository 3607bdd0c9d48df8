"""Sequences with a label for each step, split, as a tagger learns from them; and the model that fits them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.data.labels import UNLABELLED
from gatewright.data.sequence_split import classes_of, in_order_of_time, shuffled
from gatewright.data.sequences import Sequences
from gatewright.errors import DataError
from gatewright.spec import ModelSpec, StepClassHead
from gatewright.tasks.classify.dataset import (
    LabelledData,
    Labelling,
    Parts,
    SequenceSettings,
    SequenceSource,
    read_parts,
)
from gatewright.tasks.classify.encoding import sized
from gatewright.tasks.options import DataOptions, Options
from gatewright.tasks.settings import ModelSettings, NoiseSettings, Settings


class PieceSettings(NamedTuple):
    """Pieces of sequences, as the training reads them.

    Attributes:
        context: longest piece that is learned from at once.
        noise: of the inputs.
    """

    context: int
    noise: NoiseSettings


@dataclass(frozen=True)
class ContextSettings(Settings):
    """The longest piece of a sequence that is learned from at once."""

    context: int


@dataclass(frozen=True)
class DirectionSettings(Settings):
    """How a tagger reads a sequence."""

    directions: str


@dataclass(frozen=True)
class TagData(LabelledData):
    """Sequences with a label for each step, split."""

    def numbers(self, part: Sequences) -> tuple[NDArray[np.int64], ...]:
        """Return the number of each step's class for each sequence (T,); `UNLABELLED` for a step without one."""
        assert part.steps is not None
        return part.steps.as_numbers_of(self.classes)

    def counts(self, part: Sequences) -> NDArray[np.int64]:
        """Return the number of steps of each class."""
        every = np.concatenate(self.numbers(part))
        return np.bincount(every[every != UNLABELLED], minlength=len(self.classes))


def read(source: SequenceSource, options: DataOptions, spec: ModelSpec | None = None) -> TagData:
    """Read and split sequences with labels of steps, and settle the options that depend on them.

    Several sequences are split as wholes, at random; the steps of a single one in the order of time.  Sequences
    without any label are left out.

    Raises:
        GatewrightError: see `gatewright.tasks.classify.dataset.read_parts`; or if a part has no label.
    """
    notes: list[str] = []

    def split(sequences: Sequences, settings: SequenceSettings, test: str) -> Parts:
        labelled = _with_labels(sequences)
        if len(labelled) < len(sequences):
            count = len(sequences) - len(labelled)
            notes.append(f"left out, without any label: {count:,} of {len(sequences):,} sequences")
        return _split(labelled, settings, test)

    data = read_parts(TagData, Labelling(split, _classes, _placed), source, options, spec)
    data = replace(data, notes=(*notes, *data.notes))
    for name, part in zip(("training", "validation", "test"), data.parts(), strict=False):
        if not data.counts(part).any():
            raise DataError(f"{name} part", "a step with a label", f"none in {int(part.lengths.sum()):,} steps")
    return data


def build(data: TagData, options: Options) -> ModelSpec:
    """Return the specification of the model for the sequences."""
    size, reads = ModelSettings.of(options.model), DirectionSettings.of(options.model)
    return ModelSpec(sized(data.encoder, options), size.stack(reads.directions), StepClassHead(data.classes))


def _with_labels(sequences: Sequences) -> Sequences:
    """Return the sequences that have a label; all of them if none has."""
    assert sequences.steps is not None
    chosen = [number for number, own in enumerate(sequences.steps.numbers) if (own != UNLABELLED).any()]
    return sequences.take(chosen) if 0 < len(chosen) < len(sequences) else sequences


def _split(sequences: Sequences, settings: SequenceSettings, test: str) -> Parts:
    """Split whole sequences at random; a single one in the order of its steps."""
    if len(sequences) == 1:
        spans = in_order_of_time(int(sequences.lengths[0]), settings.valid, test)
        train, valid, held = (sequences.piece(0, span) if span.stop > span.start else None for span in spans)
    else:
        numbers = shuffled(len(sequences), settings.valid, test, settings.split_seed)
        train, valid, held = (sequences.take(each) if len(each) else None for each in numbers)
    assert train is not None
    return Parts(train, valid, held)


def _classes(parts: Parts) -> tuple[str, ...]:
    """Return the labels of all parts: one that the training part lacks can be scored, if not learned."""
    return classes_of(label for part in parts if part is not None for label, _ in _placed(part))


def _placed(sequences: Sequences) -> Iterable[tuple[str, str]]:
    """Yield each label that occurs, and the place of its first step."""
    assert sequences.steps is not None
    left = {number for number, count in enumerate(sequences.steps.counts()) if count}
    for number, own in enumerate(sequences.steps.numbers):
        for label in sorted(left & set(np.unique(own).tolist())):
            step = int((own == label).argmax())
            yield sequences.steps.names[label], f"step {step} of {sequences.title(number)}"
            left.remove(label)
