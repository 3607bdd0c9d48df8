"""Bach's chorales: the notes of the next frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gatewright.errors import DataError
from gatewright.progress import Waits
from gatewright.reproduce.best_model import Schedule, fit_best
from gatewright.reproduce.data import JSB_CHORALES
from gatewright.reproduce.experiment import Experiment, Measure, Outcome, Paper
from gatewright.reproduce.recurrent import Recurrent
from gatewright.reproduce.until_correct import seeded

PAPER = Paper(
    "Bai, Kolter & Koltun", 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for "
    "Sequence Modeling", "https://arxiv.org/abs/1803.01271",
)  # fmt: skip

#: The keys of a piano, and the number of the lowest in MIDI.
KEYS, LOWEST = 88, 21

Roll = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """Sizes and training.

    Attributes:
        epochs: number of epochs.
        hidden: H, units.
        batch: chorales in an update.
        lr: maximum learning rate.
        weight_decay: decoupled weight decay.
        dropout: dropout rate before the head.
        dropout_in: dropout rate of the input.
        chorales: number of chorales of each part; 0 for all.
    """

    epochs: int
    hidden: int = 128
    batch: int = 4
    lr: float = 0.01
    weight_decay: float = 0.01
    dropout: float = 0.3
    dropout_in: float = 0.1
    chorales: int = 0


def read(part: str, number: int = 0) -> list[Roll]:
    """Return the piano rolls (T, 88) of a part: "train", "valid" or "test"."""
    path = JSB_CHORALES.path()
    rolls = []
    for chorale in json.loads(path.read_bytes())[part][: number or None]:
        roll = np.zeros((len(chorale), KEYS), np.float32)
        for frame, notes in enumerate(chorale):
            roll[frame, np.asarray(notes, np.int64) - LOWEST] = 1
        rolls.append(roll)
    if not rolls:
        raise DataError(str(path), f"chorales in {part}", "none")
    return rolls


def frame_nll(network: torch.nn.Module, rolls: list[Roll], dropout_in: float = 0.0) -> tuple[Tensor, int]:
    """Return the summed negative log-likelihood, in nats, of each frame but the first, and their number."""
    lengths = [len(roll) for roll in rolls]
    frames = np.zeros((max(lengths), len(rolls), KEYS), np.float32)
    for row, roll in enumerate(rolls):
        frames[: len(roll), row] = roll
    x = torch.from_numpy(frames)
    inside = torch.arange(1, len(x))[:, None] < torch.tensor(lengths)
    output = network(F.dropout(x[:-1], dropout_in, training=dropout_in > 0))
    loss = F.binary_cross_entropy_with_logits(output, x[1:], reduction="none").sum(-1)
    return (loss * inside).sum(), int(inside.sum())


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Train on the training part, choose by the validation part, test once."""
    rng = seeded(seed, 0)
    parts = {part: read(part, settings.chorales) for part in ("train", "valid", "test")}
    network = Recurrent("lstm", KEYS, settings.hidden, KEYS, dropout=settings.dropout)

    def losses() -> Iterator[Tensor]:
        order = rng.permutation(len(parts["train"]))
        for start in range(0, len(order), settings.batch):
            rolls = [parts["train"][n] for n in order[start : start + settings.batch]]
            total, count = frame_nll(network, rolls, settings.dropout_in)
            yield total / count

    @torch.no_grad()
    def score(part: str) -> float:
        total, count = frame_nll(network, parts[part])
        return float(total) / count

    schedule = Schedule(settings.epochs, settings.lr, settings.weight_decay)
    curve = fit_best(network, losses, lambda: score("valid"), schedule, waits, "LSTM")
    return Outcome({"nll": score("test"), "valid": score("valid")}, {"LSTM": curve})


def _experiment(settings: Settings) -> Experiment:
    return Experiment(
        name="jsb-chorales",
        title="JSB chorales",
        paper=PAPER,
        task="382 chorales in quarter notes as 88 keys, 229, 76 and 77 to learn from, to choose by and to test, "
        "the split of Boulanger-Lewandowski et al. (2012); the keys of the next frame from those before.",
        training=f"An LSTM of {settings.hidden} units, dropout {settings.dropout_in} on the input and "
        f"{settings.dropout} before the head, AdamW at {settings.lr} with cosine decay and weight decay "
        f"{settings.weight_decay}, {settings.batch} chorales in an update.",
        stopping=f"{settings.epochs} epochs; the weights of the best validation.",
        measures={
            "nll": Measure(
                "test negative log-likelihood, nats a frame", "lower", 8.45, "LSTM, table 1; TCN 8.10", digits=3
            ),
            "valid": Measure("the same of the validation part", "lower", digits=3),
        },
        settings=settings,
        short=Settings(2, hidden=16, chorales=16),
        train=train,
        axes=("epochs", "validation nats a frame"),
    )


EXPERIMENTS = (_experiment(Settings(30)),)
