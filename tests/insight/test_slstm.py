"""The sLSTM looked into: its average, the weights of its ledger, figures, files and changes, judged by a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import LSTM, CellSpec, look
from gatewright.equations import GATES, QUANTITIES
from gatewright.errors import GatewrightError
from gatewright.insight import Recording, diagnose, intervene
from gatewright.insight.memory_horizon import memory_horizon
from gatewright.insight.slstm_state import cell_states_before
from gatewright.inspector.payload import Payload
from tests.support.cell_loop import run_slstm

T, D, H, LENGTHS = 12, 3, 6, [12, 7]
CELLS = [
    CellSpec(kind="slstm"),
    CellSpec(kind="slstm", heads=3, forget_gate_activation="exponential"),
    CellSpec(kind="slstm", heads=2, bias=False),
]


def layer_of(cell: CellSpec, **options: Any) -> tuple[LSTM, torch.Tensor]:
    torch.manual_seed(3)
    lstm = LSTM(D, H, cell=cell, dtype=torch.float64, **options).eval()
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.normal_(std=0.7)
    return lstm, torch.randn(T, len(LENGTHS), D, dtype=torch.float64)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"heads {cell.heads}")
def test_an_output_is_an_exact_weighted_average(cell: CellSpec, tmp_path: Path) -> None:
    lstm, x = layer_of(cell, bidirectional=True)
    recording = look(lstm, pack_padded_sequence(x, LENGTHS))
    recording.save(tmp_path / "r.safetensors")
    loaded = Recording.load(tmp_path / "r.safetensors")
    assert loaded.about.cell == recording.about.cell == cell
    for reverse, direction in enumerate(("forward", "reverse")):
        order = slice(None, None, -1 if reverse else 1)
        for row, length in enumerate(LENGTHS):
            read = x[:length, row].numpy()[order]
            judge = run_slstm(lstm, read, suffix="_l0_reverse" if reverse else "_l0")
            judge = {name: array[order] for name, array in judge.items()}
            for name in QUANTITIES:
                actual = getattr(recording.record(0, direction), name)[:length, row]
                np.testing.assert_allclose(actual, judge[name], rtol=0, atol=1e-13, err_msg=name)
            for t in (0, 4, length - 1):
                ledger = loaded.ledger(0, t, row, direction=direction)
                assert ledger.weights is not None
                assert (ledger.weights >= 0).all()
                np.testing.assert_allclose(ledger.weights.sum(axis=0), 1, atol=1e-12)
                assert not ledger.initial_survival.any()  # nothing was read before
                span = slice(t, None) if reverse else slice(0, t + 1)
                average = (ledger.weights * judge["candidate"][span]).sum(axis=0)
                np.testing.assert_allclose(judge["output_gate"][t] * average, judge["hidden"][t], atol=1e-13)
                np.testing.assert_allclose(ledger.total, judge["cell"][t], rtol=0, atol=1e-12)
                w = np.arange(1.0, H + 1)
                parts, rest = ledger.readout(w)
                expected = (ledger.weights * judge["candidate"][span] * judge["output_gate"][t]) @ w
                np.testing.assert_allclose(parts, expected, rtol=0, atol=1e-12)
                assert rest == 0


def test_figures_and_the_page_are_those_of_an_average() -> None:
    lstm, x = layer_of(CELLS[1])
    recording = look(lstm, x)
    layer = diagnose(recording).layers[0]
    record = recording.layers[0].forward
    np.testing.assert_allclose(layer.activity, record.hidden.reshape(-1, H).std(axis=0), atol=1e-13)
    assert layer.saturated is None
    assert not {"counter", "saturated"} & {label for labels in layer.labels for label in labels}
    page = Payload(recording, "a").meta()
    assert page["weighted"]
    assert (page["cell"]["kind"], page["cell"]["heads"]) == ("slstm", 3)
    assert "0/forward/hidden" not in page["blocks"][0]
    assert not any("never forget" in item.finding for item in diagnose(recording).advice)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"heads {cell.heads}")
def test_windows_of_the_horizon_go_on_from_the_states_of_the_pass(cell: CellSpec) -> None:
    lstm, x = layer_of(cell, num_layers=2)
    recording = look(lstm, x)
    for t in (0, 1, 5):
        windows = [(row, t) for row in range(2)]
        states = [cell_states_before(recording, lstm, k, windows) for k in range(2)]
        h = [torch.from_numpy(layer.hidden[t - 1] if t else layer.hidden_initial) for layer in recording.layers]
        y, _ = lstm(x[t:], (torch.stack(h), torch.stack(states)))
        np.testing.assert_allclose(y.detach(), recording.layers[1].hidden[t:], rtol=0, atol=1e-12)
        if t == 5:
            judge = run_slstm(lstm, x[:, 0].numpy())
            np.testing.assert_allclose(states[0][0, 2 * H :], np.log(judge["total"][t - 1]), atol=1e-10)
    part = recording.select(steps=slice(2, None))
    horizon = memory_horizon(part, lags=10)
    x_part = x[2:].clone().requires_grad_()
    h = torch.stack([torch.from_numpy(layer.hidden[1]) for layer in recording.layers])
    c = torch.stack([cell_states_before(recording, lstm, k, [(0, 2), (1, 2)]) for k in range(2)])
    last = lstm(x_part, (h, c))[1][0][-1]
    signs = torch.randint(0, 2, last.shape, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    (gradient,) = torch.autograd.grad((last * signs).sum(), x_part)
    norms = gradient.square().sum(dim=-1).mean(dim=-1).sqrt().flip(0)
    np.testing.assert_allclose(horizon.lstm, norms, rtol=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(CELLS), st.data())
def test_changes_are_those_of_the_loop(cell: CellSpec, data: st.DataObject) -> None:
    lstm, x = layer_of(cell)
    held, clamp = [], {}
    free = data.draw(st.lists(st.sampled_from(["candidate", "output_gate"]), max_size=1))
    for gate in (*free, data.draw(st.sampled_from(["input_gate", "forget_gate"]))):
        value, unit = data.draw(st.sampled_from([0.0, 0.25, 1.0])), data.draw(st.integers(0, H - 1))
        first = data.draw(st.integers(0, T - 1))
        end = data.draw(st.integers(first + 1, T))
        held.append((gate, unit, value, first, end))
        clamp[gate] = (unit, value, slice(first, end))
    t, unit = data.draw(st.integers(1, min(LENGTHS) - 1)), data.draw(st.integers(0, H - 1))
    changed = intervene(lstm, pack_padded_sequence(x, LENGTHS), clamp={0: clamp}, edit_cell=(t, unit, 0.5))
    for row, length in enumerate(LENGTHS):
        judge = run_slstm(lstm, x[:length, row].numpy(), held, [(t, unit, 0.5)])
        for name in QUANTITIES:
            actual = getattr(changed.record(0), name)[:length, row]
            np.testing.assert_allclose(actual, judge[name], rtol=0, atol=1e-12, err_msg=name)
        for step in (0, t, length - 1):
            ledger = changed.ledger(0, step, row)
            np.testing.assert_allclose(ledger.total, judge["cell"][step], rtol=0, atol=1e-12)
            assert ledger.weights is not None
            np.testing.assert_allclose(ledger.weights.sum(axis=0) + ledger.initial_survival, 1, atol=1e-12)


def test_what_nothing_has_changed_yet_keeps_its_bits_and_what_fits_not_is_named() -> None:
    lstm, x = layer_of(CELLS[0])
    lstm, x = lstm.float(), x.float()
    before = look(lstm, x)
    assert np.array_equal(intervene(lstm, x).predictions, before.predictions)
    changed = intervene(lstm, x, clamp={0: {"forget_gate": (None, 0.0, slice(5, 6))}}, ablate={0: [2]})
    assert (changed.record(0).input_gate[5] == 1).all()
    assert not changed.record(0).hidden[:, :, 2].any()
    later = intervene(lstm, x, clamp={0: {"forget_gate": (None, 0.0, slice(5, 6))}})
    for gate in GATES:
        np.testing.assert_array_equal(getattr(later.record(0), gate)[:5], getattr(before.record(0), gate)[:5])
    fits = {0: {"input_gate": (1, 0.25), "forget_gate": (1, 0.75, slice(3, 5))}}
    assert (intervene(lstm, x, clamp=fits).record(0).forget_gate[:, :, 1] == 0.75).all()
    wrong = {0: {"input_gate": ([0, 1], 0.25), "forget_gate": (1, 0.5, slice(3, 5))}}
    with pytest.raises(
        GatewrightError, match=r"^clamp: .* sum to 1, or one of them, got 0.25 and 0.5 for unit 1 at step 3"
    ):
        intervene(lstm, x, clamp=wrong)
    with pytest.raises(
        GatewrightError, match=r"^edit_cell: expected a step before which an sLSTM has read something"
    ):
        intervene(lstm, x, edit_cell=(0, 1, 0.5))


@pytest.mark.parametrize("way", ["weights", "compute"])
def test_in_bf16_the_states_stay_wide(way: str) -> None:
    lstm, x = layer_of(CELLS[0])
    lstm = lstm.bfloat16() if way == "weights" else lstm.float()
    lstm.compute = "full" if way == "weights" else "bf16"
    before = look(lstm, x)
    assert np.abs(before.ledger(0, 9).total - before.ledger(0, 9).cell).max() < 1e-5
    same = intervene(lstm, x, edit_cell=(9, 0, 0.5))
    np.testing.assert_array_equal(same.record(0).cell[:9], before.record(0).cell[:9])


def test_a_small_effect_in_float16_is_no_rounding() -> None:
    lstm, x = layer_of(CELLS[0])
    lstm, x = lstm.half(), x.half()
    before = look(lstm, x)
    held = float(before.record(0).output_gate[4, 0, 2]) + 0.02
    changed = intervene(lstm, x, clamp={0: {"output_gate": (2, held, slice(4, 5))}})
    assert changed.record(0).output_gate[4, 0, 2] == pytest.approx(held, abs=1e-3)
    assert changed.difference(before).first.tolist() == [4, 4]
