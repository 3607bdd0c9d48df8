"""The copy memory problem: ten symbols are to be repeated after a long pause."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewright.progress import Waits
from gatewright.reproduce.curriculum import Curriculum
from gatewright.reproduce.experiment import Curve, Experiment, Measure, Outcome, Paper
from gatewright.reproduce.recurrent import Cell, Recurrent, plain_size
from gatewright.reproduce.until_correct import seeded

PAPER = Paper(
    "Arjovsky, Shah & Bengio", 2016, "Unitary Evolution Recurrent Neural Networks, ICML 2016",
    "https://arxiv.org/abs/1511.06464",
)  # fmt: skip

#: Symbols to remember, and all: the symbols, the blank and the mark that asks for them.
SYMBOLS, ALL = 8, 10
BLANK, MARK = 8, 9
#: Number of symbols in a sequence.
LENGTH = 10


@dataclass(frozen=True)
class Settings:
    """Sizes and budget.

    Attributes:
        pause: T, steps between the symbols and their repetition.
        steps: number of updates of the LSTM.
        plain_steps: number of updates of the plain RNN.
        length: number of symbols to remember.
        hidden: H, units of the LSTM.
        batch: sequences in an update.
        lr: learning rate of the LSTM.
        plain_lr: learning rate of the plain RNN.
        shortest: pause of the first training sequences.
        grow: share of symbols that have to be right before the pause grows.
        test: number of test sequences.
    """

    pause: int
    steps: int
    plain_steps: int
    length: int = LENGTH
    hidden: int = 128
    batch: int = 16
    lr: float = 0.003
    plain_lr: float = 0.001
    shortest: int = 1
    grow: float = 0.5
    test: int = 1000


def baseline(pause: int, length: int = LENGTH) -> float:
    """Return the cross-entropy per step of the best answer without a memory: blanks, then random symbols.

    >>> round(baseline(100), 4)
    0.1733
    """
    return length * math.log(SYMBOLS) / (pause + 2 * length)


def draw(
    pause: int, length: int, rng: np.random.Generator, number: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw sequences of the paper's section 4.1.

    The symbols, ``pause - 1`` blanks, the mark, and as many blanks as symbols; the target is blank until the mark
    has been read, and then repeats the symbols.

    Returns:
        Inputs and targets, (pause + 2 length, B).
    """
    symbols = rng.integers(0, SYMBOLS, (length, number))
    x = np.full((pause + 2 * length, number), BLANK)
    x[:length] = symbols
    x[length + pause - 1] = MARK
    y = np.full_like(x, BLANK)
    y[-length:] = symbols
    return x, y


def _loss(network: Recurrent, x: NDArray[np.int64], y: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy and the outputs (T, B, symbols)."""
    output = network(F.one_hot(torch.from_numpy(x), ALL).float())
    return F.cross_entropy(output.flatten(0, 1), torch.from_numpy(y).flatten()), output


@dataclass(frozen=True)
class Learned:
    """What a network learned.

    Attributes:
        loss: test cross-entropy.
        right: share of symbols that are right, in %.
        pause: pause that its training sequences reached.
        curve: training loss over that of the answer without memory, by update.
    """

    loss: float
    right: float
    pause: int
    curve: Curve


def _right(output: Tensor, y: NDArray[np.int64], length: int) -> float:
    """Return the share of symbols that are right."""
    return float((output[-length:].argmax(-1).numpy() == y[-length:]).mean())


def _learn(cell: Cell, settings: Settings, seed: int, waits: Waits) -> Learned:
    """Train a network, and test it at the whole pause."""
    rng, lstm = seeded(seed, settings.pause), cell == "lstm"
    hidden = settings.hidden if lstm else plain_size(ALL, settings.hidden, SYMBOLS + 1)
    network = Recurrent(cell, ALL, hidden, SYMBOLS + 1)
    if lstm:
        network.remember(settings.pause + 2 * settings.length)
    steps, rate = (settings.steps, settings.lr) if lstm else (settings.plain_steps, settings.plain_lr)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    pause = Curriculum(settings.shortest, settings.pause, settings.grow)
    curve, part = Curve([], []), []
    with waits.counting("LSTM" if lstm else "plain RNN", steps, "updates") as advance:
        for step in range(1, steps + 1):
            x, y = draw(pause.length, settings.length, rng, settings.batch)
            loss, output = _loss(network, x, y)
            part.append(float(loss.detach()) / baseline(pause.length, settings.length))
            pause.add(_right(output, y, settings.length))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, 2 * (1 - step / steps))
            optimizer.step()
            advance(1)
            if step % 50 == 0:
                curve.x.append(step)
                curve.y.append(sum(part) / len(part))
                part = []
    with torch.no_grad():
        x, y = draw(settings.pause, settings.length, rng, settings.test)
        loss, output = _loss(network, x, y)
    return Learned(float(loss), 100 * _right(output, y, settings.length), pause.length, curve)


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Train the LSTM, and the plain RNN in the same way."""
    lstm, plain = (_learn(cell, settings, seed, waits) for cell in ("lstm", "rnn"))
    figures = {
        "loss": lstm.loss, "right": lstm.right,
        "plain_loss": plain.loss, "plain_right": plain.right, "plain_pause": plain.pause,
    }  # fmt: skip
    return Outcome(dict(figures), {"LSTM": lstm.curve, "plain RNN": plain.curve})


def _experiment(settings: Settings) -> Experiment:
    T, floor = settings.pause, baseline(settings.pause)
    return Experiment(
        name=f"copy-memory-{T}",
        title=f"Copy memory, T = {T}",
        paper=PAPER,
        task=f"Ten of eight symbols, {T - 1} blanks, a mark, ten blanks: after the mark the ten symbols are to be "
        f"repeated. An answer without memory has a cross-entropy of 10 ln 8 / (T + 20) = {floor:.4f}.",
        training=f"An LSTM of {settings.hidden} units, biases of Tallec & Ollivier (2018), Adam at {settings.lr}, "
        f"falling to 0 in the second half, {settings.batch} new sequences in an update, clipping at 1. The pause "
        f"is {settings.shortest} at first, and grows by a tenth (at least by 2) each time {settings.grow:.0%} of "
        "the latest symbols were right; the test has the whole pause. Without this 3,000 updates learned nothing. "
        f"The plain RNN (tanh) has {plain_size(ALL, settings.hidden, SYMBOLS + 1)} units, and so at least as many "
        f"weights, and learns in the same way; Adam at {settings.plain_lr}, {settings.plain_steps:,} updates. "
        "Where its pause did not grow, its test is of a pause that it never saw: its loss compares with nothing.",
        stopping=f"After {settings.steps:,} updates; the last weights.",
        measures={
            "loss": Measure(
                f"test cross-entropy per step, {settings.test:,} sequences", "lower", round(floor, 4),
                "the answer without memory, section 4.1", digits=4,
            ),
            "right": Measure("symbols repeated rightly in % (chance: 12.5)", "higher", digits=1),
            "plain_loss": Measure("test cross-entropy per step of the plain RNN", "lower", digits=4),
            "plain_right": Measure("symbols repeated rightly in % by the plain RNN", "higher", digits=1),
            "plain_pause": Measure("pause that the training of the plain RNN reached", "higher"),
        },
        settings=settings,
        short=Settings(3, steps=250, plain_steps=20, length=2, hidden=16, lr=0.05, test=200),
        train=train,
        trainings=lambda _: 2,
        axes=("updates", "training cross-entropy over that without memory"),
        log_y=True,
    )  # fmt: skip


EXPERIMENTS = (_experiment(Settings(100, steps=4000, plain_steps=1500)),)
