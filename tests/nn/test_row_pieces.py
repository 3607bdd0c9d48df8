"""Lengths, masks and resets as other devices have them, by torch's own operator; forced on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gatewright.nn import fallback, recompute
from gatewright.nn.extras import Extras
from tests.support.other_device import run_as_elsewhere

from .test_sequences import CASES, Case, assert_close

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

FIELDS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden", "kept", "written")


@pytest.fixture(params=[True, False], ids=["packed", "padded"])
def _packs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to give pieces of unequal length to torch."""
    monkeypatch.setattr(recompute, "_packs", lambda _: request.param)


@pytest.mark.usefixtures("_packs")
@pytest.mark.parametrize("options", CASES)
def test_rows_are_those_of_the_plainest_loop(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(**options)
    expected = case.judged()
    run_as_elsewhere(monkeypatch)
    monkeypatch.setattr(fallback, "sequence", None)  # no loop of cells
    for more in ({}, {"record": True}):
        assert_close(case.results(**more), expected, 1e-12)


@pytest.mark.usefixtures("_packs")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kinds", ["l", "m", "r", "lmrt", "Rt"])
def test_records_and_their_gradients_are_those_of_the_loop_of_cells(kinds: str, reverse: bool) -> None:
    case = Case(kinds=kinds, T=9, B=6)
    reset_to = [state[0].expand(6, -1) for state in case.reset_to] if "t" in kinds else (None, None)
    extras = Extras(*(case.steps.get(name) for name in ("lengths", "mask", "reset")), *reset_to)
    state, weights = [each[0] for each in case.hx], case.layer.layer_weights(0)
    results = []
    for sequence in (recompute.sequence, fallback.sequence):
        y, h_n, c_n, record = sequence(case.given(), *state, weights, reverse=reverse, extras=extras)
        recorded = [getattr(record, name) for name in FIELDS]
        recorded = [each for each in recorded if each is not None]
        loss = sum((each.sin() * (n + 1)).sum() for n, each in enumerate([y, h_n, c_n, *recorded]))
        gradients = torch.autograd.grad(loss, case.wrt(), allow_unused=True)
        results.append([y, h_n, c_n, *recorded, *(g for g in gradients if g is not None)])
    assert_close(results[0], results[1], 1e-12)
