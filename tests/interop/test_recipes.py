"""The examples of `docs/recipes.md` run, and do what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import gatewright

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
EXAMPLES = dict(
    re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
)


def run(name: str, **needed: str) -> dict[str, Any]:
    """Run an example, in a namespace of its own."""
    for package in needed.values():
        pytest.importorskip(package)
    torch.manual_seed(0)
    namespace: dict[str, Any] = {"__name__": "__recipe__"}
    exec(compile(EXAMPLES[name], f"{PAGE.name}: {name}", "exec"), namespace)
    return namespace


def test_every_package_of_the_table_has_an_example() -> None:
    table = re.findall(r"^\| \[(.+?)\]", PAGE.read_text("utf-8"), re.MULTILINE)
    assert table == list(EXAMPLES)


def test_captum() -> None:
    found = run("Captum", package="captum")
    model, x, attributions = found["model"], found["x"], found["attributions"]
    with torch.no_grad():
        change = (model(x) - model(torch.zeros_like(x)))[:, 1]
    torch.testing.assert_close(attributions.sum((1, 2)), change, rtol=1e-3, atol=1e-3)


def test_lightning() -> None:
    found = run("Lightning", package="lightning")
    metrics, waves, model = found["trainer"].callback_metrics, found["waves"], found["model"]
    assert metrics["loss"] < waves.square().mean() / 4
    with torch.no_grad():
        record = model.lstm(waves[-16:, :-1], record=True)[2]
    assert abs(metrics["forget gate"] - record.layers[0].forget_gate.mean()) < 0.1


def test_opacus() -> None:
    found = run("Opacus", package="opacus")
    assert 0 < found["epsilon"] < 50


def test_skorch() -> None:
    found = run("skorch", package="skorch")
    assert found["search"].best_score_ > 0.7
    assert isinstance(found["search"].best_estimator_.module_.lstm, gatewright.LSTM)


def test_sb3_contrib() -> None:
    found = run("sb3-contrib", package="sb3_contrib")
    policy, parent = found["model"].policy, found["RecurrentActorCriticPolicy"]
    assert isinstance(policy.lstm_actor, gatewright.LSTM)
    assert policy.optimizer.param_groups[0]["params"][0] is next(policy.parameters())
    rows, T, D = 3, 9, policy.lstm_actor.input_size
    features, starts = torch.randn(rows * T, D), (torch.rand(rows * T) < 0.3).float()
    states = (torch.randn(1, rows, 32), torch.randn(1, rows, 32))
    theirs, _ = gatewright.convert(policy.lstm_actor, back=True)
    expected, expected_states = parent._process_sequence(features, states, starts, theirs)
    y, found_states = policy._process_sequence(features, states, starts, policy.lstm_actor)
    for a, b in ((y, expected), *zip(found_states, expected_states, strict=True)):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_torchrl() -> None:
    found = run("TorchRL", package="torchrl")
    observation, starts = found["batch"]["observation"], found["starts"][..., 0]
    expected, _ = found["lstm"](observation, reset=starts)
    torch.testing.assert_close(found["features"], expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():  # a single step, out of recurrent mode
        step = found["module"](found["batch"][:, 0].clone())
    torch.testing.assert_close(step["features"], expected[:, 0], rtol=1e-5, atol=1e-6)
