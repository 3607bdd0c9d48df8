"""A refit of a classifier and of a tagger learns the validation part too, as a plain loop over both parts does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gatewright.data.sequences import Sequences
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.options import ModelOptions, Options, TrainingOptions
from gatewright.tasks.settings import TrainingSettings
from gatewright.train.launch import train
from gatewright.train.optimizer import learning_rate, new_optimizer, set_rate
from tests.support.classified import digits
from tests.support.tagged import walks
from tests.support.training_runs import quiet

pytestmark = pytest.mark.slow

OPTIONS = Options(
    model=ModelOptions(hidden=4, dropout=0.0, directions="forward", noise=0.2),
    training=TrainingOptions(steps=12, batch=16, lr=2e-2, warmup=2, validate_every=4, refit=True, device="cpu"),
)


def together(train: Sequences, valid: Sequences, source: Sequences) -> Sequences:
    """Return the sequences of both parts, out of the whole source."""
    return source.take([source.names.index(name) for name in (*train.names, *valid.names)])


@pytest.mark.parametrize("name", ["classify", "tag"])
def test_a_refit_learns_both_parts(name: str, tmp_path: Any) -> None:
    source = digits(60, 3) if name == "classify" else walks(20)
    kind = registry.kind(name)
    run, progress = train(source, OPTIONS, run=tmp_path / "run", kind=name, console=quiet())
    plain = replace(OPTIONS, training=replace(OPTIONS.training, refit=False))
    before, _ = train(source, plain, run=tmp_path / "plain", kind=name, console=quiet())
    data, options = before.data(), run.options()
    torch.manual_seed(0)
    model = kind.build(data, options)
    whole = replace(data, train=together(data.train, data.valid, source))
    task = kind.task(model, whole, options, Share(0, 1), torch.device("cpu"))
    settings = TrainingSettings.of(options.training)
    optimizer = new_optimizer(model, settings)
    model.train()
    for step in range(progress.step):
        set_rate(optimizer, learning_rate(step, progress.step, settings))
        total, count = task.loss(model, step)
        optimizer.zero_grad()
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
    refitted, first = run.best_model(), before.best_model()
    assert (refitted.scaler, refitted.spec) == (first.scaler, first.spec)
    assert refitted.fingerprint != first.fingerprint
    for name, value in refitted.state_dict().items():
        np.testing.assert_array_equal(value, model.state_dict()[name])
