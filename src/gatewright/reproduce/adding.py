"""The adding problem: two marked numbers, far apart, are to be added."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from gatewright.progress import Waits
from gatewright.reproduce.experiment import Curve, Experiment, Measure, Outcome, Paper
from gatewright.reproduce.recurrent import Recurrent, plain_size
from gatewright.reproduce.until_correct import Batch, Criterion, Online, seeded

#: The source of the adding and temporal order problems.
PAPER = Paper(
    "Hochreiter & Schmidhuber", 1997, "Long Short-Term Memory, Neural Computation 9(8)",
    "https://doi.org/10.1162/neco.1997.9.8.1735",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Sizes and budget.

    Attributes:
        steps: T, the minimal length of a sequence.
        budget: maximum number of training sequences.
        plain: lengths T at which a plain RNN is trained too, until it fails, with the same budget.
        hidden: H, units of the LSTM.
        batch: sequences in an update.
        lr: learning rate of the LSTM.
        plain_batch: sequences in an update of the plain RNN.
        plain_lrs: learning rates of the plain RNN: it fails where it fails with each of them.
        window: latest sequences that all have to be correct.
        test: number of test sequences.
    """

    steps: int
    budget: int
    plain: tuple[int, ...] = ()
    hidden: int = 8
    batch: int = 8
    lr: float = 0.01
    plain_batch: int = 32
    plain_lrs: tuple[float, ...] = (0.003, 0.001)
    window: int = 2000
    test: int = 2560


def draw(steps: int, rng: np.random.Generator, number: int) -> Batch:
    """Draw sequences of the paper's section 5.4.

    An element is a value in [-1, 1] and a mark.  One of the first ten elements and another one of the first
    ``steps / 2 - 1`` that are not marked yet have the mark 1, the first and the last one -1, all others 0.  Where
    the first element is marked 1, its value is 0.  The target is 0.5 plus a quarter of the sum of the marked
    values.

    Args:
        steps: T; lengths are uniform between T and T + T / 10.
        rng: random generator.
        number: B, sequences.
    """
    rows = np.arange(number)
    lengths = rng.integers(steps, steps + steps // 10 + 1, number)
    values = rng.uniform(-1, 1, (lengths.max(), number))
    first = rng.integers(0, 10, number)
    second = rng.integers(0, steps // 2 - 1, number)
    second += second >= first  # uniform among those that are not marked yet
    marks = np.zeros_like(values)
    marks[0] = marks[lengths - 1, rows] = -1
    marks[first, rows] = marks[second, rows] = 1
    values[0, marks[0] == 1] = 0
    target = 0.5 + (values[first, rows] + values[second, rows]) / 4
    inside = np.arange(len(values))[:, None] < lengths
    x = np.stack([values * inside, marks], axis=-1)
    return Batch(x.astype(np.float32), target[:, None].astype(np.float32), lengths)


def errors(output: Tensor, target: Tensor) -> Tensor:
    """Return the absolute errors (B,)."""
    return (output - target).abs()[:, 0]


def _online(settings: Settings, steps: int, batch: int, lr: float) -> Online:
    criterion = Criterion(tolerance=0.04, mean=0.01, window=settings.window)
    return Online(partial(draw, steps), errors, criterion, batch, lr, settings.budget)


def _plain(settings: Settings, steps: int, seed: int, waits: Waits) -> tuple[int, Curve]:
    """Train plain RNNs, one for each learning rate until one succeeds; return the wrong tests of the best."""
    outcomes = []
    for lr in settings.plain_lrs:
        rng = seeded(seed, steps)
        network = Recurrent("rnn", 2, plain_size(2, settings.hidden, 1), 1)
        online = _online(settings, steps, settings.plain_batch, lr)
        _, curve = online.train(network, rng, waits, f"plain RNN, T = {steps}, learning rate {lr}")
        outcomes.append((online.wrong(network, rng, settings.test), curve))
        if outcomes[-1][0] <= settings.test / 2:
            break
    return min(outcomes, key=lambda outcome: outcome[0])


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Train the LSTM, then plain RNNs of more and more steps until one fails."""
    rng = seeded(seed, settings.steps)
    network = Recurrent("lstm", 2, settings.hidden, 1)
    network.remember(settings.steps)
    online = _online(settings, settings.steps, settings.batch, settings.lr)
    count, curve = online.train(network, rng, waits, f"LSTM, T = {settings.steps}")
    figures: dict[str, float | None] = {"sequences": count, "wrong": online.wrong(network, rng, settings.test)}
    curves = {f"LSTM, T = {settings.steps}": curve}
    for steps in settings.plain:
        wrong, curves[f"plain RNN, T = {steps}"] = _plain(settings, steps, seed, waits)
        if wrong > settings.test / 2:
            figures |= {"plain_fails": steps, "plain_wrong": wrong}
            break
    return Outcome(figures, curves)


def _experiment(settings: Settings, published: int) -> Experiment:
    T, of = settings.steps, f"LSTM, T = {settings.steps}: table 7, mean of 10 trials"
    measures = {
        "sequences": Measure("training sequences until the criterion", "lower", published, of),
        "wrong": Measure(
            f"wrong of {settings.test:,} test sequences", "lower", 0 if T == 500 else 1, of, digits=1
        ),
    }
    training = (
        f"An LSTM of {settings.hidden} units with a linear head, biases of Tallec & Ollivier (2018), Adam "
        f"at {settings.lr}, {settings.batch} new sequences in an update. The paper: 2 blocks of 2 cells, one "
        "sequence in an update."
    )
    if settings.plain:
        measures["plain_fails"] = Measure(
            "shortest T at which the plain RNN fails, of " + ", ".join(map(str, settings.plain)), "higher"
        )
        measures["plain_wrong"] = Measure(f"its wrong of {settings.test:,} test sequences there", "lower")
        training += (
            f" The plain RNN (tanh) has {plain_size(2, settings.hidden, 1)} units, and so at least as many "
            f"weights; Adam at {' or '.join(map(str, settings.plain_lrs))}, {settings.plain_batch} sequences in "
            f"an update, {settings.budget:,} in all, T from short to long. It fails where more than half of its "
            "test sequences are wrong with each learning rate; a constant answer is wrong for 85%."
        )
    return Experiment(
        name=f"adding-{T}",
        title=f"Adding problem, T = {T}",
        paper=PAPER,
        task=f"Sequences of {T} to {T + T // 10} pairs of a value and a mark; at the end the sum of the two "
        f"marked values, one of the first ten and another one of the first {T // 2}, scaled to [0, 1].",
        training=training,
        stopping=f"The paper's: the {settings.window:,} latest training sequences all have an absolute error "
        "below 0.04, and their mean error (here of absolute errors) is below 0.01. At most "
        f"{settings.budget:,} sequences.",
        measures=measures,
        settings=settings,
        short=Settings(steps=20, budget=3200, plain=settings.plain[:1], lr=0.02, window=200, test=256),
        train=train,
        trainings=lambda settings: 1 + len(settings.plain) * len(settings.plain_lrs),
        axes=("training sequences", "mean absolute error"),
        log_y=True,
    )


EXPERIMENTS = (
    _experiment(Settings(100, 74_000, plain=(10, 20, 40, 60, 80, 100)), 74_000),
    _experiment(Settings(500, 209_000), 209_000),
    _experiment(Settings(1000, 853_000), 853_000),
)
