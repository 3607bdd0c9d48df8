"""The optimizer takes torch's own steps, and nothing of torch is loaded that only `torch.compile` needs."""

from __future__ import annotations

import pytest
import torch

from gatewright.train.optimizer import AdamW
from tests.support.forks import TRAINING, fork_server
from tests.support.training_runs import write_table, write_text

#: What torch and Accelerate load for compiled and for distributed models, in seconds.
HEAVY = ("torch._dynamo", "torch.distributed.tensor", "sympy")


def steps(kind: type[torch.optim.AdamW], number: int, state: dict | None = None, **options) -> tuple[list, dict]:
    """Return parameters and state after some steps."""
    draw = torch.Generator().manual_seed(number)
    parameters = [torch.nn.Parameter(torch.linspace(-1, 1, size)) for size in (7, 20)]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "weight_decay": 0.0}]
    optimizer = kind(groups, lr=0.01, weight_decay=0.1, **options)
    if state is not None:
        optimizer.load_state_dict(state)
    for _ in range(number):
        for parameter in parameters:
            parameter.grad = torch.randn(len(parameter), generator=draw)
        optimizer.step()
        optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in parameters)
    return parameters, optimizer.state_dict()


@pytest.mark.parametrize("fused", [False, True])
def test_steps_and_state_are_those_of_torch(fused):
    (ours, state), (theirs, expected) = (steps(kind, 5, fused=fused) for kind in (AdamW, torch.optim.AdamW))
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
    assert state["param_groups"] == expected["param_groups"]
    for number, values in expected["state"].items():
        assert state["state"][number].keys() == values.keys()
        assert all(torch.equal(state["state"][number][name], value) for name, value in values.items())
    # Each goes on from the state of the other.
    again = [steps(kind, 3, left)[0] for kind, left in ((AdamW, expected), (torch.optim.AdamW, state))]
    assert all(torch.equal(*pair) for pair in zip(*again, strict=True))


def test_a_step_keeps_no_graph_and_sees_hooks():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer, seen = AdamW([parameter], lr=0.5), []
    optimizer.register_step_post_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    parameter.grad = torch.ones(3)
    optimizer.step()
    assert len(seen) == 1
    assert parameter.is_leaf
    assert torch.is_grad_enabled()


def test_a_training_and_its_model_load_no_compiler(tmp_path):
    code = f"""
import sys
from pathlib import Path
import torch
import gatewright.nn.model
from gatewright.nn.category_encoder import CategoryEncoder
from gatewright.spec import Category
from tests.support import training_runs as small

before = set({HEAVY!r}) & set(sys.modules)
small.train(Path("load.csv"), small.FORECAST, run=Path("run"), console=small.quiet())
gatewright.nn.model.load("run")
small.train(Path("plays.txt"), small.LANGUAGE, run=Path("texts"), console=small.quiet())
gatewright.nn.model.load("texts")
with torch.device("meta"):
    CategoryEncoder([(Category("kind", ("rain", "sun"), size=2), slice(1, 2))])
print(sorted(before), sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    write_table(tmp_path / "load.csv")
    write_text(tmp_path / "plays.txt")
    done = fork_server(*TRAINING).run(["-c", code], cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("[] []\n", 0), done.stderr
