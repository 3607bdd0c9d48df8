"""The training that keeps the best model by validation."""

from __future__ import annotations

import pytest
import torch

from gatewright.progress import SILENT
from gatewright.reproduce.best_model import Schedule, fit_best


@pytest.mark.parametrize(
    ("patience", "epochs"),
    [(0, [1, 2, 3, 4, 5, 6, 7]), (2, [1, 2, 3, 4, 5]), (3, [1, 2, 3, 4, 5, 6]), (1, [1, 2])],
)
def test_the_best_weights_stay_and_patience_ends_the_training(patience, epochs):
    network = torch.nn.Linear(1, 1)
    scores = [5.0, 6.0, 2.0, 3.0, 2.0, 4.0, 9.0]
    seen = []

    def validate():
        assert not network.training
        seen.append(network.weight.detach().clone())
        return scores[len(seen) - 1]

    def losses():
        assert network.training
        for _ in range(3):
            yield network(torch.ones(1, 1)).square().sum()

    curve = fit_best(network, losses, validate, Schedule(7, 0.1, patience=patience), SILENT, "")
    assert curve.x == epochs
    assert curve.y == scores[: len(epochs)]
    best = min(range(len(epochs)), key=scores.__getitem__)
    assert torch.equal(network.weight, seen[best])
    assert not network.training
    assert len({float(weight) for weight in seen}) == len(seen)
