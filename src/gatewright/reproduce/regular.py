"""Regular languages: learned from short strings, tested on long ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from gatewright.progress import Waits
from gatewright.reproduce.curriculum import Curriculum
from gatewright.reproduce.experiment import Curve, Experiment, Measure, Outcome, Paper
from gatewright.reproduce.recurrent import Recurrent
from gatewright.reproduce.until_correct import seeded

PAPER = Paper(
    "Delétang et al.", 2023, "Neural Networks and the Chomsky Hierarchy, ICLR 2023",
    "https://arxiv.org/abs/2207.02098",
)  # fmt: skip

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Language:
    """A language of strings with a class for each prefix.

    Attributes:
        text: description.
        symbols: size of the alphabet.
        classes: number of classes.
        draw: function of a random generator, T and B that returns symbols (T, B).
        label: function of symbols (T, B) that returns the class of each prefix (T, B); -1 where it is no string.
    """

    text: str
    symbols: int
    classes: int
    draw: Callable[[np.random.Generator, int, int], Codes]
    label: Callable[[Codes], Codes]


def _uniform(symbols: int) -> Callable[[np.random.Generator, int, int], Codes]:
    return lambda rng, steps, number: rng.integers(0, symbols, (steps, number))


def parity(codes: Codes) -> Codes:
    """Return whether the number of ones is odd."""
    return np.cumsum(codes, axis=0) % 2


def even_pairs(codes: Codes) -> Codes:
    """Return whether the first and the last symbol differ: the number of changes is odd."""
    return codes ^ codes[0]


def cycle(codes: Codes) -> Codes:
    """Return the place on a circle of five after steps of -1, 0 and 1."""
    return np.cumsum(codes - 1, axis=0) % 5


def draw_arithmetic(rng: np.random.Generator, steps: int, number: int) -> Codes:
    """Draw digits 0 to 4 at even places and the operators +, - and * (5, 6, 7) at odd ones."""
    codes = rng.integers(0, 5, (steps, number))
    codes[1::2] = rng.integers(5, 8, (steps // 2, number))
    return codes


def arithmetic(codes: Codes) -> Codes:
    """Return the value modulo 5, multiplications first; -1 after an operator."""
    total, term = np.zeros_like(codes[0]), codes[0].copy()
    labels = np.full_like(codes, -1)
    labels[0] = codes[0]
    for place in range(2, len(codes), 2):
        operator, digit = codes[place - 1], codes[place]
        product = operator == 7
        total = np.where(product, total, total + term)
        term = np.where(product, term * digit, np.where(operator == 6, -digit, digit)) % 5
        labels[place] = (total + term) % 5
    return labels


LANGUAGES = {
    "parity": Language("parity", 2, 2, _uniform(2), parity),
    "even_pairs": Language("even pairs", 2, 2, _uniform(2), even_pairs),
    "cycle": Language("cycle navigation", 3, 5, _uniform(3), cycle),
    "arithmetic": Language("modular arithmetic (simple)", 8, 5, draw_arithmetic, arithmetic),
}


@dataclass(frozen=True)
class Settings:
    """Sizes and budget.

    Attributes:
        languages: names of the languages.
        steps: for each language, updates with strings of the greatest length, while the learning rate falls to 0.
        growing: maximum number of updates before, while the strings grow.
        train_length: greatest length of the training strings.
        shortest: length of the first training strings.
        grow: share of prefixes whose class has to be right before the strings grow.
        test_length: greatest length of the paper's test.
        far_length: greatest length of ours.
        hidden: H, units.
        batch: strings in an update.
        lr: maximum learning rate.
        test: number of test strings.
    """

    languages: tuple[str, ...]
    steps: tuple[int, ...]
    growing: int = 6000
    train_length: int = 40
    shortest: int = 3
    grow: float = 0.98
    test_length: int = 500
    far_length: int = 2048
    hidden: int = 64
    batch: int = 64
    lr: float = 0.005
    test: int = 256


def fit(language: Language, steps: int, settings: Settings, rng: np.random.Generator, waits: Waits) -> Recurrent:
    """Train a network on the class of every prefix, for some steps after the strings have grown."""
    network = Recurrent("lstm", language.symbols, settings.hidden, language.classes)
    optimizer = torch.optim.Adam(network.parameters(), settings.lr)
    curriculum = Curriculum(settings.shortest, settings.train_length, settings.grow)

    def update() -> float:
        """Learn from new strings; return the share of prefixes whose class was right."""
        codes = language.draw(rng, curriculum.length, settings.batch)
        output = network(one_hot(codes, language.symbols)).flatten(0, 1)
        target = torch.from_numpy(language.label(codes)).flatten()
        loss = F.cross_entropy(output, target, ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return float((output.argmax(-1) == target)[target >= 0].float().mean())

    with waits.counting(f"LSTM, {language.text}", settings.growing + steps, "updates") as advance:
        for _ in range(settings.growing):
            curriculum.add(update())
            advance(1)
            if curriculum.finished:
                break
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            update()
            advance(1)
    return network


def one_hot(codes: Codes, symbols: int) -> torch.Tensor:
    """Return symbols (T, B) as inputs (T, B, D)."""
    return F.one_hot(torch.from_numpy(codes), symbols).float()


@torch.no_grad()
def accuracy(network: Recurrent, language: Language, rng: np.random.Generator, length: int, number: int) -> Codes:
    """Return the accuracy in % for prefixes of each length (length,); NaN where no prefix is a string."""
    codes = language.draw(rng, length, number)
    label = language.label(codes)
    right = network(one_hot(codes, language.symbols)).argmax(-1).numpy() == label
    shares = 100 * right.mean(axis=1)
    return np.where((label >= 0).all(axis=1), shares, np.nan)


def train(settings: Settings, seed: int, waits: Waits) -> Outcome:
    """Learn each language, and test it on longer strings."""
    figures: dict[str, float | None] = {}
    curves = {}
    for number, (name, steps) in enumerate(zip(settings.languages, settings.steps, strict=True)):
        language = LANGUAGES[name]
        rng = seeded(seed, number)
        network = fit(language, steps, settings, rng, waits)
        shares = accuracy(network, language, rng, settings.far_length, settings.test)
        figures[f"{name}_paper"] = float(np.nanmean(shares[settings.train_length : settings.test_length]))
        figures[f"{name}_far"] = float(shares[~np.isnan(shares)][-1])
        at = np.flatnonzero(~np.isnan(shares))[:: max(1, len(shares) // 64)]
        curves[language.text] = Curve([float(length) for length in at + 1], shares[at].tolist())
    return Outcome(figures, curves)


def _experiment(settings: Settings) -> Experiment:
    measures = {}
    for name in settings.languages:
        text = LANGUAGES[name].text
        lengths = f"{settings.train_length + 1} to {settings.test_length}"
        of = "LSTM, table 2, best of 10 seeds"
        measures[f"{name}_paper"] = Measure(
            f"{text}: accuracy in %, lengths {lengths}", "higher", 100, of, digits=2
        )
        measures[f"{name}_far"] = Measure(
            f"{text}: accuracy in %, length {settings.far_length:,}", "higher", required=100, digits=2
        )
    return Experiment(
        name="regular-languages",
        title="Parity and other regular languages",
        paper=PAPER,
        task=f"Strings of up to {settings.train_length} symbols to learn from, longer ones to test: the parity of "
        "the ones; whether the first and the last symbol differ; the place on a circle of five after steps of "
        "-1, 0 and 1; the value of digits joined by +, - and * modulo 5.",
        training=f"An LSTM of {settings.hidden} units for each language; Adam at {settings.lr}, clipping at 1, "
        f"{settings.batch} new strings in an update. Every prefix has a class to learn and to be tested on. The "
        f"strings have {settings.shortest} symbols at first, and 2 to 4 more each time {settings.grow:.0%} of the "
        "latest classes were right. The paper: 256 units, 1,000,000 updates with 128 strings, lengths drawn from "
        "1 to 40, one class a string, asked for by a symbol of its own after the end.",
        stopping=f"{settings.steps[0]:,} updates ({settings.steps[-1]:,} for arithmetic) with cosine decay after "
        f"{settings.grow:.0%} were right at length {settings.train_length}, or after {settings.growing:,} updates "
        "of growing; the last weights. Sizes, rates and the growing length were chosen in trials of other seeds, "
        "which looked at longer strings too.",
        measures=measures,
        settings=settings,
        short=Settings(
            ("even_pairs",),
            steps=(50,),
            growing=250,
            train_length=12,
            test_length=30,
            far_length=40,
            hidden=8,
            lr=0.03,
        ),
        train=train,
        trainings=lambda settings: len(settings.languages),
        axes=("length of the test strings", "accuracy in %"),
    )


EXPERIMENTS = (_experiment(Settings(("parity", "even_pairs", "cycle", "arithmetic"), (1500, 1500, 1500, 4000))),)
