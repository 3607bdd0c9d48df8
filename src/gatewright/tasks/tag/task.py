"""Learning to tag: sequences, or pieces of them, in random order; the cross-entropy of each step with a label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data.labels import UNLABELLED
from gatewright.errors import GatewrightError
from gatewright.nn.model import Model
from gatewright.tasks.base import Loss, Share
from gatewright.tasks.classify.noise import Noise
from gatewright.tasks.classify.task import (
    SequenceBatches,
    class_weights,
    directions,
    encoded,
    summary_of_columns,
    summary_of_parts,
)
from gatewright.tasks.processes import divides, gathered
from gatewright.tasks.settings import TrainingSettings
from gatewright.tasks.tag.dataset import PieceSettings, TagData
from gatewright.tasks.tag.predict import step_scores

Numbers = NDArray[np.int64]


class Piece(NamedTuple):
    """Steps of a sequence that are learned from at once.

    Attributes:
        sequence: number of the sequence.
        span: its steps.
    """

    sequence: int
    span: slice


class TagTask(SequenceBatches):
    """A tagger and its sequences.

    Args:
        model: the model, on its device.
        data: the sequences.
        settings: batch and seed.
        pieces_of: the longest piece, and the noise on it; longer sequences are cut, and each piece starts from the
            zero state.
        share: which part of each batch is this process's.
        device: where the batches are made.
    """

    unit = "nats/step"

    def __init__(
        self,
        model: Model,
        data: TagData,
        settings: TrainingSettings,
        pieces_of: PieceSettings,
        share: Share,
        device: torch.device,
    ) -> None:
        train, self._valid = (encoded(model, data, part) for part in (data.train, data.valid))
        labels = data.numbers(data.train)
        chosen = pieces(labels, pieces_of.context)
        titles = [_title(data.train.title(number), span, len(labels[number])) for number, span in chosen]
        rows = [train[number][span] for number, span in chosen]
        if pieces_of.noise.shift and len(train) == 1:
            raise GatewrightError("--shift", "several training sequences with it", "one")
        noise = Noise.of(pieces_of.noise, data.encoder, train)
        super().__init__(model, rows, titles, settings, noise, share, device)
        self._labels = [labels[number][span] for number, span in chosen]
        self._valid_labels = np.concatenate(data.numbers(data.valid))
        own = np.concatenate(labels)
        weights = class_weights(own[own != UNLABELLED], len(data.classes), data.settings.class_weights)
        self._weights = None if weights is None else weights.to(device)
        self.summary = _summary(data, model, len(chosen), pieces_of.context)

    def loss(self, model: torch.nn.Module, step: int) -> Loss:
        """Cross-entropy of the classes of the labelled steps of this process's sequences."""
        numbers, x, lengths = self._batch(step)
        labels = np.full(x.shape[:2], UNLABELLED, np.int64)
        for place, number in enumerate(numbers):
            labels[: len(self._labels[number]), place] = self._labels[number]
        y = model(x, lengths=lengths).y
        flat = torch.from_numpy(labels.reshape(-1)).to(self._device)
        loss = F.cross_entropy(y.flatten(0, 1), flat, self._weights, ignore_index=UNLABELLED, reduction="sum")
        return Loss(loss, int((labels != UNLABELLED).sum()))

    def validate(self) -> float:
        """Return the mean cross-entropy of the validation part, in nats a step with a label, without weights."""
        found = self._valid_scores()
        return float(F.cross_entropy(found, torch.from_numpy(self._valid_labels), ignore_index=UNLABELLED))

    def _valid_scores(self) -> Tensor:
        """Return the scores of all steps of the validation part (steps, classes), in turn from the processes."""
        valid, (rank, world) = self._valid, self._share
        if not divides(self._share, len(valid)):
            return torch.from_numpy(np.concatenate(step_scores(self.model, valid)))
        own = torch.from_numpy(np.concatenate(step_scores(self.model, valid[rank::world])))
        scores = [own] * len(valid)
        for other, part in enumerate(gathered(own)):
            scores[other::world] = part.split([len(each) for each in valid[other::world]])
        return torch.cat(scores)


def pieces(labels: tuple[Numbers, ...], context: int) -> list[Piece]:
    """Return sequences in pieces of at most ``context`` steps, those without any label left out.

    >>> [piece.span for piece in pieces((np.array([0, 1, 1, -1, -1, 0, 1]),), context=3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 7, None)]
    >>> pieces((np.array([-1, -1]),), context=3)
    []
    """
    return [
        Piece(number, slice(first, min(first + context, len(own))))
        for number, own in enumerate(labels)
        for first in range(0, len(own), context)
        if (own[first : first + context] != UNLABELLED).any()
    ]


def _title(title: str, span: slice, steps: int) -> str:
    whole = span.start == 0 and span.stop == steps
    return title if whole else f"{title}, steps {span.start} to {span.stop - 1}"


def _summary(data: TagData, model: Model, count: int, context: int) -> str:
    counts, steps = data.counts(data.train), int(data.train.lengths.sum())
    labelled = int(counts.sum())
    common, share = data.classes[int(counts.argmax())], counts.max() / labelled
    lines = [
        f"a label for each step; {summary_of_parts(data)}",
        f"{len(data.classes)} classes; the most common, {common}, is {share:.0%} of training",
    ]
    if len(data.train) == 1:
        lines.append("one sequence: its first steps are the training part, then validation and test follow")
    if labelled < steps:
        lines.append(
            f"{steps - labelled:,} of {steps:,} training steps have no label: read, but neither learned nor scored"
        )
    absent = [name for name, number in zip(data.classes, counts, strict=True) if not number]
    if absent:
        lines.append(f"no training step of the classes: {', '.join(absent)}")
    lines += summary_of_columns(data)
    if data.train.lengths.max() > context:
        lines.append(f"learns from {count:,} pieces of at most {context:,} steps (--context)")
    return "\n".join([*lines, f"goes through a sequence {directions(model)}, decides at each step"])
