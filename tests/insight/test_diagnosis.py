"""The figures of a diagnosis on records made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, look
from gatewright.equations import GATES
from gatewright.errors import GatewrightError
from gatewright.insight import diagnose
from tests.support.gates import T, noise, of, units
from tests.support.recordings import record, recording
from tests.support.small_models import language_model


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_half_lives(dtype: Any) -> None:
    f = units(0.5, 1.0, 0.25, 0.0, 0.5**0.01, 0.9)
    found = of(f, dtype=dtype)
    # A gate that is 0 in float32 counts as 2^-24.
    expected = [1, math.inf, 0.5, 1 / 24, 100, math.log(0.5) / math.log(0.9)]
    for figure in (found.half_life, found.half_life_low, found.half_life_high):
        np.testing.assert_allclose(figure, expected, rtol=1e-12 if dtype == np.float64 else 1e-5)
        assert figure.dtype == np.float64


def test_the_spread_of_half_lives() -> None:
    """A gate with the values 1/1000, 2/1000, ... has those of its 10th and its 90th percentile."""
    f = np.random.default_rng(0).permutation(np.arange(1, 1001) / 1000)[:, None, None]
    found = of(f)
    # The first step finds a cell state of zero: there was nothing to forget.
    mean_log = np.mean([math.log(value) for value in f.ravel()[1:]])
    assert found.half_life[0] == pytest.approx(math.log(0.5) / mean_log, rel=1e-12)
    assert found.half_life_low[0] == pytest.approx(math.log(0.5) / math.log(0.1), rel=1e-2)
    assert found.half_life_high[0] == pytest.approx(math.log(0.5) / math.log(0.9), rel=1e-2)
    assert found.greatest[0] == 1.0
    found = of(np.where(np.arange(T + 1) % 2, 1.0, 0.25)[:, None, None])  # half the time it halves its logarithm
    assert found.half_life[0] == pytest.approx(1.0, rel=1e-12)
    assert (found.half_life_low[0], found.half_life_high[0]) == (pytest.approx(0.5), math.inf)


def test_how_often_gates_are_closed_and_open() -> None:
    steps = np.arange(T)[:, None, None]
    f = np.where(steps < 30, 0.05, np.where(steps < 50, 0.95, 0.5))
    i = np.where(steps < 10, 0.1, 0.9)  # neither closed nor open: at the bounds
    o = np.where(steps < 7, 0.0, 1.0)
    found = of(f, i, None, o)
    assert {name: value.tolist() for name, value in found.closed.items()} == {
        "input_gate": [0.0], "forget_gate": [0.3], "output_gate": [0.07],
    }  # fmt: skip
    assert {name: value.tolist() for name, value in found.open.items()} == {
        "input_gate": [0.0], "forget_gate": [0.2], "output_gate": [0.93],
    }  # fmt: skip


def test_writes_and_activity() -> None:
    f, i, g, o = (np.random.default_rng(1).random((4, T, 2, 3)) + 1e-3) / 1.01
    made = record(f, i, -g, o)
    found = diagnose(recording(made)).layers[0]
    np.testing.assert_allclose(found.write_rate, (i * g).mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(found.activity, (o * np.tanh(made.cell)).std(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(found.greatest, f.max(axis=(0, 1)), rtol=1e-12)
    assert (found.layer, found.direction) == (0, "forward")


def test_labels() -> None:
    steps = np.arange(T)[:, None, None] + np.zeros((1, 1, 8))
    f, i, g, o = np.full((T, 1, 8), 0.6), np.full((T, 1, 8), 0.5), noise(T, 1, 8), np.full((T, 1, 8), 0.5)
    i[..., 1] = 0.0  # 1 is dead: it never writes
    o[..., 2] = 0.05  # 2 is shut: never read, but not dead
    f[..., 3], g[..., 3] = 0.999, 0.01  # 3 counts, and keeps what it counts
    f[..., 4], g[..., 4] = 0.999, np.where(steps[..., 4] % 10, 0.01, -0.01)  # 4 keeps, but goes down at times
    f[..., 5] = 0.3  # 5 forgets at once
    f[..., 6], g[..., 6] = 0.999, -0.02  # 6 counts downwards
    o[..., 7] = np.where(steps[..., 7] < 98, 0.05, 0.5)  # 7 is shut for 98 steps of 100
    found = of(f, i, g, o)
    assert found.labels == (
        (), ("dead",), ("shut",), ("counter", "long memory"), ("long memory",), ("short memory",),
        ("counter", "long memory"), (),
    )  # fmt: skip
    assert found.labelled("counter").tolist() == [3, 6]
    assert found.labelled("anything").tolist() == []
    assert of(units(0.6, steps=1)).labels == ((),)  # one step does not say whether a unit is dead


def test_a_unit_that_keeps_and_now_and_then_lets_go_of_all_resets() -> None:
    steps = np.arange(T)[:, None, None]
    found = of(np.where(steps % 25 == 24, [[[0.001, 0.001, 0.9]]], [[[0.99, 0.9, 0.99]]]), g=noise(T, 1, 3))
    assert found.labels == (("resets",), (), ())  # the second keeps for 7 steps only, the third never lets go
    hold = math.log(0.5) / math.log(0.99)
    assert found.half_life_low[0] == pytest.approx(hold)
    # Between resets, though over all steps, as for the second and third, the resets count in.
    overall = [
        math.log(0.5) / np.mean([math.log(rare if t % 25 == 24 else usual) for t in range(1, T)])
        for usual, rare in ((0.99, 0.001), (0.9, 0.001), (0.99, 0.9))
    ]
    np.testing.assert_allclose(found.half_life_overall, overall, rtol=1e-12)
    np.testing.assert_allclose(found.half_life, [hold, *overall[1:]], rtol=1e-12)
    assert overall[0] < 3
    np.testing.assert_array_equal(found.resets, [0.04, 0.04, 0])
    np.testing.assert_array_equal(found.longest, [24, 24, 100])


@pytest.mark.parametrize(("seed", "share"), [(0, 0.02), (1, 0.05), (2, 0.09)])
def test_the_half_life_between_resets_is_that_of_what_was_written_after_one(seed: int, share: float) -> None:
    """What a write decays by until the next reset, step by step, has the half-life that is said."""
    draw = np.random.default_rng(seed)
    keep, lengths = 0.98 + 0.019 * draw.random(4), [400, 300]
    reset = draw.random((400, 2, 4)) < share
    f = np.where(reset, draw.uniform(1e-6, 0.49, size=reset.shape), keep)
    found = of(f, g=noise(400, 2, 4), lengths=lengths)
    left, steps = np.ones(4), 200
    for _ in range(steps):
        left *= keep
    np.testing.assert_allclose(found.half_life, steps * math.log(0.5) / np.log(left), rtol=1e-9)
    assert all("resets" in labels for labels in found.labels)
    for unit in range(4):
        runs = [0]
        for row, n in enumerate(lengths):
            marks = "".join(" " if one and t else "x" for t, one in enumerate(reset[:n, row, unit]))
            runs += map(len, marks.split())
        assert found.longest[unit] == max(runs)


def test_a_first_step_that_finds_nothing_forgets_nothing() -> None:
    """Read forward, the second row is reset at its last step; read in reverse, the first row is."""
    lengths, hold = [T, 60], math.log(0.5) / math.log(0.99)
    f = np.full((T, 2, 2), 0.99)
    f[0, 0], f[59, 1] = 0.001, 0.001
    beside = record(np.full((T, 2, 2), 0.6), lengths=lengths)
    for reverse, longest in ((False, T), (True, T - 1)):
        made = record(f, 1.0, noise(*f.shape), reverse=reverse, lengths=lengths)
        pair = (beside, made) if reverse else (made,)
        found = diagnose(recording(*pair, lengths=lengths)).layers[-1]
        assert found.labels == (("resets",), ("resets",))
        np.testing.assert_allclose(found.half_life, hold, rtol=1e-12)
        np.testing.assert_allclose(found.resets, 1 / 160, rtol=1e-12)
        assert found.longest.tolist() == [longest] * 2
    alone = f[:, :1]
    assert of(alone).labels == ((), ())
    np.testing.assert_allclose(of(alone).half_life, hold, rtol=1e-12)
    # A cell state that was there before can be lost at once.
    assert of(alone, c_0=[[1.0, 0.0]]).labels == (("resets",), ())


def test_a_long_memory_that_resets_has_gone_as_long_without() -> None:
    keeps = np.full((300, 1, 3), 0.9999)
    for unit, ends in enumerate([[50, 120, 200, 280], [20, 150, 290], []]):
        keeps[ends, 0, unit] = 0.01
    found = of(keeps, g=noise(300, 1, 3))
    assert found.longest.tolist() == [79, 139, 300]
    assert found.labels == (("resets",), ("long memory", "resets"), ("long memory",))


def test_a_unit_is_saturated_where_tanh_of_its_cell_is_near_one_nearly_always() -> None:
    def sitting(high: float, steps: int, sign: float = 1.0) -> np.ndarray:
        """What to write so that c is at ``high`` for the last steps, 0.5 before."""
        c = np.where(np.arange(T) < T - steps, 0.5, high) * sign
        return np.diff(c, prepend=0.0)

    # |c| at 9, at -9, just above atanh(0.99) = 2.647 and just below, and at 9 in too few of the steps.
    cases = [(9.0, 95, 1), (9.0, 95, -1), (2.65, 90, 1), (2.64, 95, 1), (9.0, 89, 1)]
    g = np.stack([sitting(*case) for case in cases], axis=-1)[:, None]
    made = record(np.ones((T, 1, 5)), 1.0, g, units(*[0.5] * 5))
    found = diagnose(recording(made)).layers[0]
    np.testing.assert_allclose(found.saturated, [0.95, 0.95, 0.9, 0.0, 0.89])
    np.testing.assert_allclose(found.size, np.abs(made.cell).mean(axis=(0, 1)), rtol=1e-12)
    assert found.labelled("saturated").tolist() == [0, 1, 2]
    # The slope of tanh there is what the threshold says, by differences.
    slope = (np.tanh(2.647 + 1e-6) - np.tanh(2.647 - 1e-6)) / 2e-6
    assert slope == pytest.approx(0.02, rel=1e-2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_histograms(dtype: Any) -> None:
    draw = np.random.default_rng(2)
    f, i, o = draw.random((3, T, 2, 4))
    g = draw.uniform(-1, 1, size=(T, 2, 4))
    f[0], f[1], g[0], g[1], g[2] = 0.0, 1.0, -1.0, 1.0, 0.0
    made = record(f, i, g, o, dtype=dtype)
    found = diagnose(recording(made)).layers[0]
    assert set(found.histograms) == set(GATES)
    for name, counts in found.histograms.items():
        assert counts.shape == (4, 20)
        np.testing.assert_array_equal(counts.sum(axis=1), [2 * T] * 4)
        least = -1 if name == "candidate" else 0
        values = getattr(made, name).reshape(-1, 4)
        for unit in range(4):
            judge, _ = np.histogram(values[:, unit].astype(np.float64), bins=20, range=(least, 1))
            np.testing.assert_array_equal(counts[unit], judge)


def test_padding_is_left_out() -> None:
    """Rows of unequal length have the figures of their steps laid end to end."""
    lengths = [40, 100, 1]
    draw = np.random.default_rng(3)
    f, i, o = draw.random((3, T, 3, 2))
    made = record(f, i, noise(T, 3, 2), o, lengths=lengths)
    found = diagnose(recording(made, lengths=lengths)).layers[0]
    there = [getattr(made, name)[:n, row] for name in (*GATES, "cell") for row, n in enumerate(lengths)]
    i_, f_, g_, o_, c_ = (np.concatenate(there[3 * k : 3 * k + 3]) for k in range(5))
    assert len(f_) == sum(lengths)
    later = np.concatenate([made.forget_gate[1:n, row] for row, n in enumerate(lengths)])
    np.testing.assert_allclose(found.half_life, math.log(0.5) / np.log(later).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.activity, (o_ * np.tanh(c_)).std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.write_rate, np.abs(i_ * g_).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.closed["output_gate"], (o_ < 0.1).mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.histograms["forget_gate"].sum(axis=1), [sum(lengths)] * 2)
    low = np.log(0.5) / np.log(np.percentile(f_, 10, axis=0))
    np.testing.assert_allclose(found.half_life_low, low, rtol=1e-12)


def test_every_layer_and_direction_is_diagnosed() -> None:
    torch.manual_seed(0)
    found = diagnose(look(LSTM(3, 4, num_layers=2, bidirectional=True), torch.randn(30, 2, 3)))
    assert [(one.layer, one.direction) for one in found.layers] == [
        (0, "forward"), (0, "reverse"), (1, "forward"), (1, "reverse"),
    ]  # fmt: skip
    assert found.horizon is None  # which a bidirectional layer does not have
    found = diagnose(look(language_model(), "abcdefabcdef"))
    assert found.horizon is not None
    assert len(found.horizon.lstm) == 6


def test_a_plain_rnn_needs_the_model_beside_it() -> None:
    torch.manual_seed(0)
    plain = torch.nn.RNN(3, 4)
    whole = look(LSTM(3, 4), torch.randn(30, 1, 3))
    found = diagnose(whole, plain=plain).horizon
    assert found is not None
    assert found.peer is not None
    assert found.peer.shape == found.lstm.shape == (15,)
    with pytest.raises(GatewrightError, match="recording: expected a recording that `look` made, with its model"):
        diagnose(recording(record(units(0.5))), plain=plain)
    assert diagnose(whole.select(units=[0])).horizon is None
