"""Learning from labelled sequences in random order; and to classify them, by the cross-entropy of the class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gatewright.data.roles import NO_TIME
from gatewright.data.sequences import Sequences
from gatewright.data.window_checks import listed
from gatewright.files.model_file import ModelFile
from gatewright.nn.model import Model, State
from gatewright.spec import ClassHead
from gatewright.tasks.base import Loss, Share
from gatewright.tasks.classify.batches import padded
from gatewright.tasks.classify.dataset import ClassData, LabelledData
from gatewright.tasks.classify.encoding import encode
from gatewright.tasks.classify.noise import Noise
from gatewright.tasks.classify.predict import scores
from gatewright.tasks.processes import computed
from gatewright.tasks.settings import NoiseSettings, TrainingSettings
from gatewright.tasks.unknown_categories import UnknownCategories


class SequenceBatches:
    """Sequences of a training part in random order, a batch for each step.

    Args:
        model: the model, on its device.
        train: what the batches are drawn from, encoded (T, D).
        titles: of each of them, as an error names it.
        settings: batch: sequences a step, over all processes; and seed, of their order and of the noise.
        noise: on what the model reads.
        share: which part of each batch is this process's.
        device: where the batches are made.
    """

    carries = False
    starts_ready = False

    def __init__(
        self,
        model: Model,
        train: Sequence[NDArray[np.float32]],
        titles: Sequence[str],
        settings: TrainingSettings,
        noise: Noise,
        share: Share,
        device: torch.device,
    ) -> None:
        self.model, self.batch = model, settings.batch
        self._train, self._titles, self._noise = train, titles, noise
        self._seed, self._share, self._device = settings.seed, share, device
        self._unknown = UnknownCategories(noise.encoder, 1, settings.seed, share)
        self.steps_per_epoch = -(-len(train) // self.batch)
        self._epoch, self._order = -1, np.arange(len(train))

    def _numbers(self, step: int) -> NDArray[np.int64]:
        """Return the numbers of the sequences of a step, of all processes."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._train))
            self._epoch = epoch
        return self._order[place * self.batch : (place + 1) * self.batch]

    def _own(self, step: int) -> NDArray[np.int64]:
        """Return the numbers of this process's sequences of a step."""
        numbers = self._numbers(step)
        return numbers[self._share.of(len(numbers))]

    def _batch(self, step: int) -> tuple[NDArray[np.int64], Tensor, Tensor | None]:
        """Return the numbers of this process's sequences at a step, their rows (T, B, D), and their lengths."""
        every = self._numbers(step)
        rows = self._share.of(len(every))
        numbers = every[rows]
        x, lengths = padded(self._train, numbers, self._device)
        longest = max(len(self._train[number]) for number in every)
        x = self._noise.on(x, (self._seed, step, 0), (longest, len(every)), rows)
        self._unknown.hide(x, step, len(every))
        return numbers, x, lengths

    def file(self) -> ModelFile:
        """Return the file of the model as it is."""
        return self.model.file()

    def refitted(self, best: ModelFile) -> ModelFile:  # noqa: ARG002
        """Return the file of the model as it is."""
        return self.model.file()

    def inputs(self, step: int) -> tuple[Tensor, State | None]:
        """Return what the model read at a step."""
        return self._batch(step)[1], None

    def rows(self, step: int, rows: NDArray[np.int64]) -> str:
        """Name the sequences in rows of the batch of a step."""
        numbers = self._own(step)
        return ", ".join(self._titles[int(numbers[row])] for row in rows[:5])

    def measures(self, score: float) -> dict[str, float | None]:  # noqa: ARG002
        """Return no other measures."""
        return {}

    @property
    def carried(self) -> State | None:
        """No state goes on: every sequence starts from zeros."""
        return None

    def carry(self, state: State | None) -> None:
        """Do nothing: see `carried`."""

    def start(self, *, forecasting: bool) -> None:
        """Start from random weights."""

    def start_peer(self, peer: torch.nn.Module, states: Callable[[Tensor], Tensor]) -> None:
        """Start from random weights."""


class ClassifyTask(SequenceBatches):
    """A classifier and its sequences.

    Args:
        model: the model, on its device.
        data: the sequences.
        settings: batch and seed.
        noise: of the inputs while training.
        share: which part of each batch is this process's.
        device: where the batches are made.
    """

    unit = "nats/sequence"

    def __init__(
        self,
        model: Model,
        data: ClassData,
        settings: TrainingSettings,
        noise: NoiseSettings,
        share: Share,
        device: torch.device,
    ) -> None:
        train, self._valid = (encoded(model, data, part) for part in (data.train, data.valid))
        titles = [data.train.title(number) for number in range(len(data.train))]
        self._labels, self._valid_labels = data.numbers(data.train), data.numbers(data.valid)
        drawn = Noise.of(noise, data.encoder, train, self._labels)
        super().__init__(model, train, titles, settings, drawn, share, device)
        weights = class_weights(self._labels, len(data.classes), data.settings.class_weights)
        self._weights = None if weights is None else weights.to(device)
        self.summary = _summary(data, model)

    def loss(self, model: torch.nn.Module, step: int) -> Loss:
        """Cross-entropy of the classes of this process's sequences."""
        numbers, x, lengths = self._batch(step)
        labels = torch.from_numpy(self._labels[numbers]).to(self._device)
        y = model(x, lengths=lengths).y[0]
        return Loss(F.cross_entropy(y, labels, self._weights, reduction="sum"), len(numbers))

    def validate(self) -> float:
        """Return the mean cross-entropy of the validation part, in nats a sequence, without weights."""
        found = computed(self._share, np.arange(len(self._valid)), self._valid_scores)
        return float(F.cross_entropy(found, torch.from_numpy(self._valid_labels)))

    def _valid_scores(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return the scores of some sequences of the validation part, (numbers, classes)."""
        return torch.from_numpy(scores(self.model, [self._valid[number] for number in numbers]))


def encoded(model: Model, data: LabelledData, part: Sequences) -> list[NDArray[np.float32]]:
    """Return the sequences of a part as a model reads them: scaled by its own numbers."""
    assert model.scaler is not None
    return encode(part, data.encoder, model.scaler, data.settings.fill)


def class_weights(labels: NDArray[np.int64], classes: int, how: str) -> Tensor | None:
    """Return the weight of each class in the loss, whose mean over the labels is 1; None for equal weights.

    Args:
        labels: numbers of the classes of the training part.
        classes: number of classes.
        how: "none" for equal weights, "balanced" for weights that make all classes count alike.

    >>> class_weights(np.array([0, 0, 0, 1]), 2, "balanced")
    tensor([0.6667, 2.0000])
    """
    if how == "none":
        return None
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return torch.tensor(len(labels) / (classes * counts), dtype=torch.float32, device="cpu")


def _summary(data: ClassData, model: Model) -> str:
    assert isinstance(model.spec.head, ClassHead)
    common, count = Counter(data.train.labels or ()).most_common(1)[0]
    absent = [name for name in data.classes if name not in (data.train.labels or ())]
    lines = [
        summary_of_parts(data),
        f"{len(data.classes)} classes; the most common, {common}, is {count / len(data.train):.0%} of training",
        *([f"no training sequence of the classes: {', '.join(absent)}"] if absent else []),
        *summary_of_columns(data),
        f"goes through a sequence {directions(model)}, decides by {model.spec.head.pooling}",
    ]
    return "\n".join(lines)


def summary_of_parts(data: LabelledData) -> str:
    """Return the line that says how many sequences each part has."""
    parts = data.parts()
    sizes = " + ".join(f"{len(part):,}" for part in parts)
    named = "training + validation" + (" + test" if data.test is not None else "")
    lengths = np.concatenate([part.lengths for part in parts])
    steps = f"{lengths.min():,}" + (f" to {lengths.max():,}" if lengths.min() < lengths.max() else "")
    return f"{sizes} sequences ({named}) of {steps} steps, {len(data.encoder.columns)} columns"


def summary_of_columns(data: LabelledData) -> list[str]:
    """Return the lines on the columns that are read, order the steps, are left out, or missing in places."""
    lines = [f"reads {listed(data.encoder.columns)}", *data.notes]
    if data.options.time not in (None, "", NO_TIME):
        lines.append(f"the steps of a sequence are in the order of {data.options.time}")
    categories = [f"{each.column} ({len(each.values):,})" for each in data.encoder.categories]
    if categories:
        lines.append(f"categories, with the number of their values: {', '.join(categories)}")
    if data.encoder.missing:
        lines.append(f"missing in places, with a column that says where: {listed(data.encoder.missing)}")
    return lines


def directions(model: Model) -> str:
    """Return how a model goes through a sequence, for a person."""
    return "in both directions" if model.spec.lstm.bidirectional else "forward"
