"""The memory horizon against exact Jacobians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import LSTM, look
from gatewright.errors import GatewrightError
from gatewright.insight import memory_horizon as horizons
from gatewright.insight.memory_horizon import MemoryHorizon, memory_horizon
from gatewright.insight.recording import Recording
from tests.support.small_models import language_model

T = 12


def made(hidden: int = 1, rows: int = 1, seed: int = 0, **options: Any) -> tuple[LSTM, Tensor, Recording]:
    torch.manual_seed(seed)
    lstm = LSTM(3, hidden, dtype=torch.float64, **options)
    x = torch.randn(T, rows, 3, dtype=torch.float64)
    return lstm, x, look(lstm, x.transpose(0, 1) if lstm.batch_first else x)


def exact(last: Any, x: Tensor) -> np.ndarray:
    """‖∂h_T/∂x_t‖ of one row (T, D), the last step first."""
    jacobian = torch.autograd.functional.jacobian(last, x)  # (H, T, D)
    return jacobian.square().sum(dim=(0, 2)).sqrt().flip(0).numpy()  # type: ignore[union-attr]


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "dropout": 0.5}, {"batch_first": True}])
def test_of_one_unit_the_norm_is_exact(options: dict[str, Any]) -> None:
    """With H = 1 the random sign is squared away."""
    lstm, x, found = made(**options)
    ours = memory_horizon(found, lags=T)
    assert lstm.training
    assert all(value.grad is None for value in lstm.parameters())
    judge = exact(lambda x: lstm.eval()(x)[1][0][-1], x[:, 0])
    np.testing.assert_allclose(ours.lstm, judge, rtol=1e-12)
    np.testing.assert_array_equal(ours.lags, range(T))
    assert ours.peer is None


@pytest.mark.parametrize("num_layers", [1, 2])
def test_windows_go_on_from_the_recorded_states(num_layers: int) -> None:
    """All windows of 5 lags in rows of unequal length; the root of the mean of their squares."""
    torch.manual_seed(0)
    lstm = LSTM(3, 1, num_layers, dtype=torch.float64)
    x = torch.randn(T, 2, 3, dtype=torch.float64)
    state = (
        torch.randn(num_layers, 2, 1, dtype=torch.float64),
        torch.randn(num_layers, 2, 1, dtype=torch.float64),
    )
    found = look(lstm, pack_padded_sequence(x, [9, 12], enforce_sorted=False), state=state)
    squares = []
    for row, n in ((0, 9), (1, 12)):
        for t in range(n - 5 + 1):
            h, c = (one[:, row] for one in state)
            if t:
                _, (h, c) = lstm(x[:t, row], (h, c))
            h, c = h.detach(), c.detach()
            squares.append(exact(lambda x, h=h, c=c: lstm(x, (h, c))[1][0][-1], x[t : t + 5, row]) ** 2)
    ours = memory_horizon(found, lags=5)
    np.testing.assert_allclose(ours.lstm, np.sqrt(np.mean(squares, axis=0)), rtol=1e-10)


def test_windows_are_spread_over_a_long_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    found = look(LSTM(3, 1), torch.randn(500, 2, 3))
    seen = []
    norms = horizons._norms
    monkeypatch.setattr(horizons, "_norms", lambda last, x: (seen.append(x), norms(last, x))[1])
    memory_horizon(found, lags=10)
    (windows,) = seen
    assert 2 < windows.shape[1] <= horizons.MOST_WINDOWS
    np.testing.assert_array_equal(windows[:, 0], found.inputs[:10, 0])
    np.testing.assert_array_equal(windows[:, -1], found.inputs[490:, 1])
    assert len(memory_horizon(found).lags) == 250
    assert len(memory_horizon(look(LSTM(3, 1), torch.randn(1200, 1, 3))).lags) == horizons.MOST_LAGS


@pytest.mark.parametrize("options", [{}, {"proj_size": 3}])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_of_many_units_the_estimate_is_right_in_the_mean(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over many draws of signs its square has the mean of the Frobenius norm's."""
    lstm, x, found = made(6, **options)
    judge = exact(lambda x: lstm(x)[1][0][-1], x[:, 0])
    seeds = iter(range(10_000))
    generator = torch.Generator
    monkeypatch.setattr(
        torch,
        "Generator",
        lambda: type("G", (), {"manual_seed": lambda *_: generator().manual_seed(next(seeds))})(),
    )
    squares = np.array([memory_horizon(found, lags=T).lstm ** 2 for _ in range(400)])
    error = squares.std(axis=0) / np.sqrt(len(squares))
    assert (np.abs(squares.mean(axis=0) - judge**2) <= 5 * error + 1e-12).all()
    np.testing.assert_allclose(squares.mean(axis=0)[:6], judge[:6] ** 2, rtol=0.3)


def test_it_is_the_same_each_time_and_draws_nothing() -> None:
    _, _, found = made(6)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    one, other = memory_horizon(found), memory_horizon(found)
    assert torch.equal(torch.rand(2), expected)
    np.testing.assert_array_equal(one.lstm, other.lstm)


def test_a_plain_rnn_beside_it_is_measured_exactly() -> None:
    _, x, found = made()
    torch.manual_seed(5)
    plain = torch.nn.RNN(3, 1, dtype=torch.float64)
    ours = memory_horizon(found, lags=T, peer=plain)
    np.testing.assert_allclose(ours.peer, exact(lambda x: plain(x)[0][-1], x[:, 0]), rtol=1e-12)
    # By hand: dh_T/dx_t = ∏ (1 - h²) u · (1 - h_t²) w
    h = plain(x[:, 0])[0][:, 0].detach().numpy()
    u, w = plain.weight_hh_l0.item(), plain.weight_ih_l0.detach().numpy()[0]
    slope = 1 - h**2
    by_hand = [abs(np.prod(slope[t:]) * u ** (T - 1 - t)) * np.linalg.norm(w) for t in reversed(range(T))]
    np.testing.assert_allclose(ours.peer, by_hand, rtol=1e-10)
    assert all(value.grad is None for value in plain.parameters())
    np.testing.assert_array_equal(memory_horizon(found, lags=T).lstm, ours.lstm)


def test_a_language_models_inputs_are_its_embeddings() -> None:
    model = language_model().train()
    found = look(model, "abcdefabcdef")
    ours = memory_horizon(found, lags=12)
    assert model.lstm.training
    x = model.encoder(torch.from_numpy(found.symbols[:, 0])).detach()  # type: ignore[index]
    judge = exact(lambda x: model.lstm(x)[1][0][-1], x)
    assert ours.lstm.shape == judge.shape
    np.testing.assert_allclose(ours.lstm[:4], judge[:4], rtol=1)  # one draw of signs: the order of magnitude


def test_how_far_it_reaches() -> None:
    norms = np.array([1.0, 0.5, 0.005, 0.02, 0.001])
    found = MemoryHorizon(np.arange(5), norms)
    assert found.reach() == 4
    assert found.reach(0.5) == 2
    assert found.reach(1.0) == 1
    assert MemoryHorizon(np.arange(5), np.ones(5)).reach() == 5


def test_what_cannot_be_measured(tmp_path: Any) -> None:
    _, _, found = made(2, 1)
    for lags in (0, T + 1, 2.5, True):
        with pytest.raises(GatewrightError, match=f"lags: expected a whole number from 1 to the {T} steps"):
            memory_horizon(found, lags=lags)  # type: ignore[arg-type]
    found.save(tmp_path / "a")
    for without in (Recording.load(tmp_path / "a"), found.select(units=[1])):
        with pytest.raises(
            GatewrightError, match="recording: expected a recording that `look` made, with its model"
        ):
            memory_horizon(without)
    _, _, both = made(2, bidirectional=True)
    with pytest.raises(GatewrightError, match="recording: expected unidirectional layers, got bidirectional"):
        memory_horizon(both)


def test_a_part_of_a_recording_has_the_horizon_of_its_steps() -> None:
    lstm, x, found = made()
    part = found.select(steps=slice(4, None))
    _, (h, c) = lstm(x[:4])
    h, c = h[:, 0].detach(), c[:, 0].detach()
    judge = exact(lambda x: lstm(x, (h, c))[1][0][-1], x[4:, 0])
    np.testing.assert_allclose(memory_horizon(part, lags=8).lstm, judge, rtol=1e-10)
