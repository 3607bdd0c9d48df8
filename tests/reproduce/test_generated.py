"""Generated data next to plain Python, and short trainings on them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from gatewright.progress import SILENT
from gatewright.reproduce import copy_memory, regular, temporal_order
from gatewright.reproduce.curriculum import Curriculum
from gatewright.reproduce.names import NAMES
from gatewright.reproduce.registry import EXPERIMENTS
from gatewright.reproduce.until_correct import seeded


@pytest.mark.parametrize("symbols", [2, 3])
def test_the_class_is_the_order_of_x_and_y(symbols):
    batch = temporal_order.draw(symbols, 1.0, np.random.default_rng(symbols), 300)
    assert set(batch.lengths) == set(range(100, 111))
    for row, length in enumerate(batch.lengths):
        sequence = batch.x[:length, row]
        assert (sequence.sum(1) == 1).all()
        assert not batch.x[length:, row].any()
        text = "".join(temporal_order.SYMBOLS[code] for code in sequence.argmax(1))
        assert text[0] == "E"
        assert text[-1] == "B"
        places = [place for place, symbol in enumerate(text) if symbol in "XY"]
        for place, (first, last) in zip(places, temporal_order.PLACES[symbols], strict=True):
            assert first <= place <= last
        order = "".join(text[place] for place in places).replace("X", "0").replace("Y", "1")
        assert batch.y[row].tolist() == [float(label == int(order, 2)) for label in range(2**symbols)]
    assert set(batch.y.argmax(1)) == set(range(2**symbols))


def test_a_sequence_is_as_wrong_as_its_worst_output():
    output = torch.tensor([[0.1, 0.9], [0.5, 0.0]])
    target = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert temporal_order.errors(output, target).tolist() == pytest.approx([0.1, 1.0])


def test_the_symbols_are_to_be_repeated_after_the_mark():
    x, y = copy_memory.draw(7, 3, np.random.default_rng(0), 50)
    assert x.shape == y.shape == (13, 50)
    assert (y[10:] == x[:3]).all()
    assert (y[:10] == copy_memory.BLANK).all()
    assert ((x == copy_memory.MARK).argmax(0) == 9).all()
    assert (x[3:9] == copy_memory.BLANK).all()
    assert (x[10:] == copy_memory.BLANK).all()
    assert x[:3].max() == copy_memory.SYMBOLS - 1


def test_the_baseline_is_the_loss_of_an_answer_without_memory():
    class Memoryless(torch.nn.Module):
        def forward(self, x):
            output = torch.full((*x.shape[:2], copy_memory.SYMBOLS + 1), -50.0)
            output[:-3, :, copy_memory.BLANK] = 0
            output[-3:, :, : copy_memory.SYMBOLS] = 0
            return output

    x, y = copy_memory.draw(7, 3, np.random.default_rng(1), 20)
    loss, _ = copy_memory._loss(Memoryless(), x, y)
    assert float(loss) == pytest.approx(copy_memory.baseline(7, 3))


def test_a_short_training_remembers_more_than_the_baseline():
    experiment = EXPERIMENTS["copy-memory-100"]
    found = experiment.train(experiment.short, 0, SILENT)
    assert found.figures["loss"] < 0.8 * copy_memory.baseline(experiment.short.pause, experiment.short.length)
    assert found.figures["right"] > 30
    assert found.figures["plain_pause"] == 1  # too few updates to grow
    assert set(found.figures) == set(experiment.measures)


def test_lengths_grow_when_the_weighted_mean_of_the_latest_answers_is_good_enough():
    rng = np.random.default_rng(3)
    shares = rng.uniform(0.3, 1.0, 300).tolist()
    curriculum = Curriculum(length=4, longest=33, enough=0.66)
    length, since = 4, [0.0]  # the mean at the last growth, then the shares after it
    for share in shares:
        curriculum.add(share)
        since.append(share)
        mean = sum(0.1 * late * 0.9**age for age, late in enumerate(since[:0:-1])) + since[0] * 0.9 ** (
            len(since) - 1
        )
        if mean >= 0.66 and length < 33:
            length, since = min(33, length + max(2, length // 10)), [0.64]
        assert curriculum.length == length
    assert length == 33


PLAIN = {
    "parity": lambda word: word.count(1) % 2,
    "even_pairs": lambda word: sum(a != b for a, b in itertools.pairwise(word)) % 2,
    "cycle": lambda word: sum(symbol - 1 for symbol in word) % 5,
    "arithmetic": lambda word: eval("".join("01234+-*"[symbol] for symbol in word)) % 5,
}


@pytest.mark.parametrize("name", regular.LANGUAGES)
def test_every_prefix_has_the_class_that_plain_python_gives_it(name):
    language = regular.LANGUAGES[name]
    codes = language.draw(np.random.default_rng(4), 21, 40)
    label = language.label(codes)
    assert codes.min() == 0
    assert codes.max() == language.symbols - 1
    for row in range(codes.shape[1]):
        for end in range(1, 22):
            if name == "arithmetic" and end % 2 == 0:
                assert label[end - 1, row] == -1
            else:
                assert label[end - 1, row] == PLAIN[name](codes[:end, row].tolist())


def test_accuracy_is_by_length_and_leaves_out_what_is_no_string():
    language = regular.LANGUAGES["arithmetic"]

    class Zero(torch.nn.Module):
        def forward(self, x):
            return torch.eye(5)[torch.zeros(x.shape[:2], dtype=torch.long)]

    shares = regular.accuracy(Zero(), language, np.random.default_rng(2), 9, 500)
    judge = language.label(language.draw(np.random.default_rng(2), 9, 500))
    for length in range(1, 10):
        if length % 2:
            assert shares[length - 1] == pytest.approx(100 * (judge[length - 1] == 0).mean())
        else:
            assert math.isnan(shares[length - 1])


def test_a_language_is_learned_from_short_strings():
    experiment = EXPERIMENTS["regular-languages"]
    found = experiment.train(experiment.short, 0, SILENT)
    assert set(found.figures) == {"even_pairs_paper", "even_pairs_far"}
    assert found.figures["even_pairs_paper"] > 95
    assert set(found.figures) <= set(experiment.measures)


def test_one_seed_is_one_stream_of_numbers():
    first, again = seeded(3, 1), seeded(3, 1)
    weights = torch.rand(3)
    assert first.integers(1 << 60) == again.integers(1 << 60)
    other = seeded(3, 2)
    assert not torch.equal(weights, torch.rand(3))
    assert other.integers(1 << 60) != seeded(3, 1).integers(1 << 60)


def test_the_names_are_those_of_all_experiments() -> None:
    assert tuple(EXPERIMENTS) == NAMES
