"""The adding problem, its criterion and its training."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from gatewright.progress import SILENT
from gatewright.reproduce.adding import draw, errors
from gatewright.reproduce.recurrent import Recurrent, plain_size
from gatewright.reproduce.until_correct import Criterion, Online, Recent, seeded


@pytest.mark.parametrize("steps", [20, 100, 500])
def test_the_target_is_the_sum_of_the_marked_values(steps):
    batch = draw(steps, np.random.default_rng(steps), 400)
    values, marks = batch.x[..., 0].astype(np.float64), batch.x[..., 1]
    marked = marks == 1
    np.testing.assert_allclose((values * marked).sum(0) / 4 + 0.5, batch.y[:, 0], atol=1e-6)
    assert (marked.sum(0) == 2).all()
    assert steps == batch.lengths.min()
    assert batch.lengths.max() == steps + steps // 10
    for row, length in enumerate(batch.lengths):
        places = np.flatnonzero(marked[:, row])
        assert places[0] < 10
        assert places[1] < max(10, steps // 2)
        assert marks[length - 1, row] == -1
        assert marks[0, row] == -1 or values[0, row] == 0
        assert not batch.x[length:, row].any()
    both = np.sort(np.nonzero(marked.T)[1].reshape(-1, 2), axis=1)
    assert both[:, 1].max() == max(10, steps // 2) - 1  # the lag is as long as the paper allows
    assert np.abs(values).max() <= 1
    assert np.abs(values).max() > 0.99


def test_the_criterion_counts_the_latest_sequences_only():
    rng = np.random.default_rng(0)
    found = rng.uniform(0, 0.05, 3000)
    found[2000:] = rng.uniform(0, 0.019, 1000)
    found[2500] = 0.04  # not below 0.04
    criterion = Criterion(tolerance=0.04, mean=0.01, window=200)
    recent = Recent(criterion)
    met = [recent.add([error]) for error in found]
    judge = [
        end >= 200 and bool((found[end - 200 : end] < 0.04).all()) and found[end - 200 : end].mean() < 0.01
        for end in range(1, 3001)
    ]
    assert met == judge
    assert any(judge[2190:2500])
    assert not any(judge[2500:2700])
    assert any(judge[2700:])
    assert recent.seen == 3000


def test_a_nan_is_no_correct_sequence():
    recent = Recent(Criterion(tolerance=1.0, mean=1.0, window=2))
    assert not recent.add([float("nan"), 0.0])
    assert not recent.add([float("nan")])


def test_a_training_counts_its_sequences_and_beats_a_constant():
    rng = seeded(0, 12)
    network = Recurrent("lstm", 2, 8, 1)
    network.remember(12)
    online = Online(partial(draw, 12), errors, Criterion(0.2, 0.06, window=400), batch=16, lr=0.02, budget=8000)
    count, curve = online.train(network, rng, SILENT, "")
    assert count is not None
    assert count % 16 == 0
    assert count < 8000
    assert curve.x[-1] == count
    constant = np.abs(draw(12, rng, 4000).y - 0.5).mean()
    assert curve.y[0] > 0.5 * constant
    assert curve.y[-1] < 0.06 < constant / 2
    assert online.wrong(network, rng, 500) < 5


def test_a_budget_that_ends_is_not_a_success():
    rng = seeded(1, 20)
    online = Online(partial(draw, 20), errors, Criterion(1e-4, 1e-4, window=8), batch=8, lr=1e-3, budget=24)
    count, curve = online.train(Recurrent("rnn", 2, 4, 1), rng, SILENT, "")
    assert count is None
    assert curve.x == []


@pytest.mark.parametrize(("inputs", "hidden", "outputs"), [(2, 8, 1), (8, 4, 4), (10, 64, 9)])
def test_the_plain_rnn_has_at_least_the_weights_of_the_lstm(inputs, hidden, outputs):
    size = plain_size(inputs, hidden, outputs)
    lstm = Recurrent("lstm", inputs, hidden, outputs).weights
    assert Recurrent("rnn", inputs, size, outputs).weights >= lstm
    assert Recurrent("rnn", inputs, size - 1, outputs).weights < lstm


def test_the_last_step_of_each_row_is_read():
    network = Recurrent("lstm", 2, 3, 2, layers=2)
    x = torch.randn(6, 4, 2)
    lengths = torch.tensor([6, 1, 3, 4])
    last = network(x, lengths)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(last[row], network(x[:length, row : row + 1])[-1, 0])


def test_gates_start_with_memories_up_to_the_length_of_the_sequences():
    network = Recurrent("lstm", 2, 200, 1)
    network.remember(50)
    bias = network.layers.bias_ih_l0.detach()
    kept = torch.exp(bias[200:400])  # log u, u uniform in 1 .. T - 1
    assert 1 <= kept.min() < 4 < 45 < kept.max() <= 49
    assert torch.equal(bias[:200], -bias[200:400])
    assert not network.layers.bias_hh_l0.any()
    assert not bias[400:].any()
