"""The temporal order problem: which of two symbols came first, far from the end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from gatewright.progress import Waits
from gatewright.reproduce.adding import PAPER
from gatewright.reproduce.experiment import Curve, Experiment, Measure, Outcome
from gatewright.reproduce.recurrent import Cell, Recurrent, plain_size
from gatewright.reproduce.until_correct import Batch, Criterion, Online, seeded

#: Symbols of the input: beginning, end, distractors, and the two that matter.
SYMBOLS = "EBabcdXY"
#: First and last positions of the symbols that matter, of the paper's tasks 6a and 6b.
PLACES = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}


@dataclass(frozen=True)
class Settings:
    """Sizes and budget.

    Attributes:
        symbols: number of symbols whose order matters: 2 (task 6a) or 3 (task 6b).
        budget: maximum number of training sequences of the LSTM.
        plain_budget: maximum number of the plain RNN.
        scale: length of the sequences as a share of the paper's 100 to 110 steps.
        hidden: H, units of the LSTM.
        batch: sequences in an update of the LSTM.
        lr: its learning rate.
        plain_batch: sequences in an update of the plain RNN.
        plain_lr: its learning rate.
        window: latest sequences that all have to be correct.
        test: number of test sequences.
    """

    symbols: int
    budget: int
    plain_budget: int
    scale: float = 1.0
    hidden: int = 8
    batch: int = 8
    lr: float = 0.01
    plain_batch: int = 32
    plain_lr: float = 0.003
    window: int = 2000
    test: int = 2560


def draw(symbols: int, scale: float, rng: np.random.Generator, number: int) -> Batch:
    """Draw sequences of the paper's section 5.6.

    A sequence begins with E and ends with B; ``symbols`` of its elements are X or Y, the others a, b, c or d.  The
    class is the number in binary that X (0) and Y (1) write, as one of ``2 ** symbols`` outputs.

    Args:
        symbols: 2 or 3.
        scale: share of the paper's lengths and positions.
        rng: random generator.
        number: B, sequences.
    """
    rows = np.arange(number)
    lengths = rng.integers(round(100 * scale), round(110 * scale) + 1, number)
    codes = rng.integers(2, 6, (lengths.max(), number))
    codes[0] = 0
    label = np.zeros(number, np.int64)
    for first, last in PLACES[symbols]:
        bits = rng.integers(0, 2, number)
        codes[rng.integers(round(first * scale), round(last * scale) + 1, number), rows] = 6 + bits
        label = 2 * label + bits
    codes[lengths - 1, rows] = 1
    inside = np.arange(len(codes))[:, None] < lengths
    x = np.eye(len(SYMBOLS), dtype=np.float32)[codes] * inside[..., None]
    return Batch(x.astype(np.float32), np.eye(2**symbols, dtype=np.float32)[label], lengths)


def errors(output: Tensor, target: Tensor) -> Tensor:
    """Return the largest absolute error of the outputs of each sequence (B,)."""
    return (output - target).abs().amax(-1)


def _learn(cell: Cell, settings: Settings, seed: int, waits: Waits) -> tuple[int | None, Curve, int]:
    """Return the sequences until the criterion, the curve, and the number of wrong test sequences."""
    lstm, classes = cell == "lstm", 2**settings.symbols
    rng = seeded(seed, settings.symbols)
    size = settings.hidden if lstm else plain_size(len(SYMBOLS), settings.hidden, classes)
    network = Recurrent(cell, len(SYMBOLS), size, classes)
    if lstm:
        network.remember(round(100 * settings.scale))
    online = Online(
        partial(draw, settings.symbols, settings.scale),
        errors,
        Criterion(tolerance=0.3, mean=0.1, window=settings.window),
        batch=settings.batch if lstm else settings.plain_batch,
        lr=settings.lr if lstm else settings.plain_lr,
        budget=settings.budget if lstm else settings.plain_budget,
    )
    count, curve = online.train(network, rng, waits, "LSTM" if lstm else "plain RNN")
    return count, curve, online.wrong(network, rng, settings.test)


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Train the LSTM, and the plain RNN on sequences of the same kind."""
    count, curve, wrong = _learn("lstm", settings, seed, waits)
    _, plain_curve, plain_wrong = _learn("rnn", settings, seed, waits)
    return Outcome(
        {"sequences": count, "wrong": wrong, "plain_wrong": plain_wrong},
        {"LSTM": curve, "plain RNN": plain_curve},
    )


def _experiment(name: str, title: str, settings: Settings, published: int, trials: int) -> Experiment:
    number, classes = settings.symbols, 2**settings.symbols
    places = ", ".join(f"{first} to {last}" for first, last in PLACES[number])
    of = f"LSTM, table 9, mean of {trials} trials"
    size = plain_size(len(SYMBOLS), settings.hidden, classes)
    return Experiment(
        name=name,
        title=title,
        paper=PAPER,
        task=f"Sequences of 100 to 110 symbols, a to d but for {number}, X or Y, at the positions {places}; at "
        f"the end the class, one of {classes}: the order of the X and Y.",
        training=f"An LSTM of {settings.hidden} units with a linear head, biases of Tallec & Ollivier (2018), "
        f"Adam at {settings.lr} on the squared error, {settings.batch} new sequences in an update. The plain RNN "
        f"(tanh) has {size} units, and so at least as many weights; Adam at {settings.plain_lr}, "
        f"{settings.plain_batch} sequences in an update, {settings.plain_budget:,} in all.",
        stopping=f"The paper's: all outputs of the {settings.window:,} latest training sequences have an absolute "
        "error below 0.3, and the mean error (here of the largest absolute error of a sequence) is below 0.1. At "
        f"most {settings.budget:,} sequences.",
        measures={
            "sequences": Measure("training sequences until the criterion", "lower", published, of),
            "wrong": Measure(f"wrong of {settings.test:,} test sequences", "lower", number - 1, of, digits=1),
            "plain_wrong": Measure(f"wrong of {settings.test:,} for the plain RNN", "lower"),
        },
        settings=settings,
        short=Settings(number, budget=3200, plain_budget=640, scale=0.2, lr=0.02, window=200, test=256),
        train=train,
        trainings=lambda _: 2,
        axes=("training sequences", "mean of the largest absolute error"),
        log_y=True,
    )


EXPERIMENTS = (
    _experiment("temporal-order", "Temporal order, two symbols", Settings(2, 31_390, 31_390), 31_390, 20),
    _experiment("temporal-order-3", "Temporal order, three symbols", Settings(3, 571_100, 32_000), 571_100, 10),
)
