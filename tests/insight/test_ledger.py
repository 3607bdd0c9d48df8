"""The memory ledger against double loops over the equation of the cell, and against the cells of the variants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gatewright import LSTM, equations, insight, look
from gatewright.errors import GatewrightError
from gatewright.insight.ledger import split
from gatewright.spec.recording import Edit
from tests.support.recordings import cells, record, recording, shares

TINY = float(np.finfo(np.float64).smallest_subnormal)
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def assert_sums_to(ledger: Any, c: Any, tolerance: float) -> None:
    """Shares, initial and edited sum to c, relative to the sum of their magnitudes."""
    magnitude = np.abs(ledger.shares).sum(axis=0) + np.abs(ledger.initial) + np.abs(ledger.edited)
    total = ledger.shares.sum(axis=0) + ledger.initial + ledger.edited
    assert np.isfinite(total).all()
    # The recorded state rounds to the smallest denormal number of its type at each step.
    denormal = len(ledger.steps) * float(np.finfo(c.dtype).smallest_subnormal)
    assert (np.abs(total - c) <= tolerance * magnitude + denormal + 1e-300).all()
    np.testing.assert_array_equal(ledger.total, total)


@st.composite
def gates(draw: st.DrawFn) -> tuple[type, list[np.ndarray], np.ndarray]:
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    T, H = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    width = np.finfo(dtype).bits
    tiny = float(np.finfo(dtype).smallest_subnormal)
    unit = st.sampled_from([0.0, 1.0, tiny, 0.5]) | st.floats(0, 1, width=width)
    signed = st.sampled_from([0.0, 1.0, -1.0, tiny, -tiny]) | st.floats(-1, 1, width=width)
    drawn = [draw(arrays.arrays(dtype, (T, 1, H), elements=one)) for one in (unit, unit, signed)]
    return dtype, drawn, draw(arrays.arrays(dtype, (1, H), elements=st.floats(-50, 50, width=width)))


@settings(deadline=None)
@given(gates(), st.data())
def test_shares_are_those_of_the_equation_and_sum_to_the_cell_state(drawn: Any, data: st.DataObject) -> None:
    dtype, (i, f, g), c_0 = drawn
    reverse = data.draw(st.booleans())
    T = len(f)
    t = data.draw(st.integers(0, T - 1))
    made = record(f, i, g, c_0=c_0, dtype=dtype, reverse=reverse)
    other = record(f, i, g, dtype=dtype)
    found = recording(other, made) if reverse else recording(made)
    ledger = found.ledger(0, t, direction="reverse" if reverse else "forward")
    order = slice(None, None, -1 if reverse else 1)
    f, written = (a[order, 0].astype(np.float64) for a in (f, i.astype(np.float64) * g.astype(np.float64)))
    until = T - 1 - t if reverse else t  # steps read before
    judge = shares(f, written, until)
    np.testing.assert_array_equal(ledger.steps, np.arange(t, T) if reverse else np.arange(t + 1))
    np.testing.assert_array_equal(ledger.writes[order], written[: until + 1])
    # What has all but vanished may differ in bits that denormal numbers do not have.
    np.testing.assert_allclose(ledger.shares[order], judge, rtol=2e-12, atol=1e-300)
    first = c_0[0].astype(np.float64) * f[: until + 1].prod(axis=0)
    np.testing.assert_allclose(ledger.initial, first, rtol=2e-12, atol=1e-300)
    assert not ledger.edited.any()
    assert_sums_to(ledger, made.cell[t, 0], TOLERANCE[dtype])
    np.testing.assert_array_equal(ledger.cell, made.cell[t, 0])
    np.testing.assert_array_equal(ledger.output_gate, np.ones_like(ledger.cell))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"proj_size": 3}])
def test_a_real_pass_is_split_exactly(options: dict[str, Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    lstm = LSTM(4, 7, dtype=dtype, **options)
    states = lstm.num_layers * (2 if lstm.bidirectional else 1)
    h_0, c_0 = torch.randn(states, 2, lstm.proj_size or 7), 3 * torch.randn(states, 2, 7)
    found = look(lstm, torch.randn(200, 2, 4), state=(h_0.to(dtype), c_0.to(dtype)))
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for name, made in found.records():
        layer, direction = int(name.split()[1]), name.split()[2]
        for t in (0, 1, 100, 199):
            ledger = found.ledger(layer, t, 1, direction=direction)
            assert_sums_to(ledger, made.cell[t, 1], tolerance)


def test_one_unit_costs_and_returns_one_unit() -> None:
    draw = np.random.default_rng(0)
    f, i = draw.random((2, 30, 2, 5))
    found = recording(record(f, i, c_0=1.0))
    whole = found.ledger(0, 20, 1)
    for units, chosen in ((3, [3]), ([-1, 0], [4, 0]), (slice(1, 3), [1, 2]), (np.array([2, 2]), [2, 2])):
        part = found.ledger(0, -10, 1, units=units)
        np.testing.assert_array_equal(part.units, chosen)
        for name in ("writes", "log_survival", "shares", "survival"):
            assert getattr(part, name).shape == (21, len(chosen))
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:, chosen])
        for name in ("initial", "edited", "cell", "output_gate", "total"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[chosen])
    assert found.ledger(0, 20, 1, units=[]).shares.shape == (21, 0)


def test_survival_of_ten_thousand_steps() -> None:
    draw = np.random.default_rng(0)
    f = draw.normal(0.5, 0.1, size=(10_000, 3)).clip(0.01, 0.99)
    f[4321, 1] = 0.0
    f[:, 2] = 1 - 1e-7 * draw.random(10_000)
    with np.errstate(all="raise", under="ignore"):  # what has died out is 0
        ledger = split(f, np.ones_like(f), np.ones(3))
    logs = [[-math.inf if value == 0 else math.log(value) for value in column] for column in f.T.tolist()]
    for u, column in enumerate(logs):
        for k in (0, 1, 4320, 4321, 5000, 9000, 9990, 9998, 9999):
            exact = math.fsum(column[k + 1 :])
            assert ledger.log_survival[k, u] == pytest.approx(exact, rel=1e-12, abs=1e-15)
            assert ledger.survival[k, u] == pytest.approx(math.exp(exact), rel=1e-11)
    assert np.isneginf(ledger.log_survival[:4321, 1]).all()
    assert np.isfinite(ledger.log_survival[4321:, 1]).all()
    assert ledger.log_survival[0, 0] < -6000
    assert ledger.initial[1] == 0
    assert np.isfinite(ledger.shares).all()
    for u in range(3):
        exact = math.fsum(math.exp(math.fsum(logs[u][k + 1 :])) for k in range(9_900, 10_000))
        if u < 2:
            assert ledger.total[u] == pytest.approx(exact, rel=1e-12)
    assert ledger.total[2] == pytest.approx(cells(f, np.ones_like(f), np.ones(3))[-1, 2], rel=1e-12)


T, H = 25, 4


@pytest.fixture
def pre() -> Any:
    """Pre-activations i f g o of each step, and initial states."""
    draw = np.random.default_rng(7)
    return draw.normal(0.5, 1.5, size=(4, T, H)), draw.normal(size=H)


def test_coupled_gates(pre: Any) -> None:
    (_, f_pre, g_pre, _), c_0 = pre
    c = c_0
    for f_, g_ in zip(f_pre, g_pre, strict=True):
        c = sigmoid(f_) * c + (1 - sigmoid(f_)) * np.tanh(g_)
    f, g = sigmoid(f_pre), np.tanh(g_pre)
    assert_sums_to(split(f, (1 - f) * g, c_0), c, 1e-12)


def test_peepholes(pre: Any) -> None:
    (i_pre, f_pre, g_pre, o_pre), c_0 = pre
    p_i, p_f, p_o = np.random.default_rng(8).normal(size=(3, H))
    c, i, f, o = c_0, [], [], []
    for t in range(T):
        i.append(sigmoid(i_pre[t] + p_i * c))
        f.append(sigmoid(f_pre[t] + p_f * c))
        c = f[t] * c + i[t] * np.tanh(g_pre[t])
        o.append(sigmoid(o_pre[t] + p_o * c))
    ledger = split(np.array(f), np.array(i) * np.tanh(g_pre), c_0, cell=c, output_gate=o[-1])
    assert_sums_to(ledger, c, 1e-12)
    parts, rest = ledger.readout(np.ones(H))
    assert parts.sum() + rest == pytest.approx((o[-1] * np.tanh(c)).sum(), rel=1e-12)


def test_layer_norm_on_the_gates(pre: Any) -> None:
    pres, c_0 = pre
    W = np.random.default_rng(9).normal(size=(4 * H, H))
    c, h, kept, written = c_0, np.zeros(H), [], []
    for t in range(T):
        each = (pres[:, t].ravel() + W @ h).reshape(4, H)
        each = (each - each.mean(axis=1, keepdims=True)) / each.std(axis=1, keepdims=True)
        i, f, o = (sigmoid(each[n]) for n in (0, 1, 3))
        c = f * c + i * np.tanh(each[2])
        h = o * np.tanh(c)
        kept.append(f)
        written.append(i * np.tanh(each[2]))
    assert_sums_to(split(np.array(kept), np.array(written), c_0), c, 1e-12)


def test_zoneout(pre: Any) -> None:
    (i_pre, f_pre, g_pre, _), c_0 = pre
    i, f, g = sigmoid(i_pre), sigmoid(f_pre), np.tanh(g_pre)
    z = np.random.default_rng(10).random((T, H)) < 0.4
    c = c_0
    for t in range(T):
        c = np.where(z[t], c, f[t] * c + i[t] * g[t])
    ledger = split(z + (1 - z) * f, (1 - z) * i * g, c_0)
    assert_sums_to(ledger, c, 1e-12)
    assert not ledger.shares[z].any()  # a step that was zoned out wrote nothing


@pytest.mark.parametrize("reverse", [False, True])
def test_edits_have_a_share_of_their_own(reverse: bool) -> None:
    draw = np.random.default_rng(3)
    f, i, g = draw.random((3, 9, 2, 4))
    added = np.zeros((9, 2, 4))
    edits = []
    for t, row, unit, by in ((0, 1, 0, 2.0), (4, 1, 0, -1.0), (4, 1, 2, 3.0), (8, 1, 2, 0.5), (3, 0, 0, 99.0)):
        added[t, row, unit] += by
        edits.append(Edit(0, reverse, row, t, unit, by))
    made = record(f, i, g, c_0=1.0, added=added, reverse=reverse)
    plain = record(f, i, g)
    found = recording(plain, made, edits=edits) if reverse else recording(made, edits=edits)
    direction = "reverse" if reverse else "forward"
    untouched = record(f, i, g, c_0=1.0, reverse=reverse)
    for t in range(9):
        ledger = found.ledger(0, t, 1, direction=direction)
        assert_sums_to(ledger, made.cell[t, 1], 1e-12)
        # Without the edits the rest is what it was.
        np.testing.assert_allclose(ledger.edited, (made.cell - untouched.cell)[t, 1], rtol=1e-12, atol=1e-13)
        twice = found.ledger(0, t, 1, direction=direction, units=[2, 0, 2])
        np.testing.assert_array_equal(twice.edited, ledger.edited[[2, 0, 2]])
    if reverse:
        assert not found.ledger(0, 8, 1).edited.any()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_lifetime_is_that_of_the_equation_and_of_the_ledger(reverse: bool) -> None:
    draw = np.random.default_rng(4)
    f, i, g = draw.random((3, 12, 2, 3))
    f[5, 1, 0], f[:, 1, 1], f[:, 1, 2] = 0.0, 1.0, 0.5
    lengths = [12, 9]
    made = record(f, i, g, lengths=lengths, reverse=reverse)
    found = (
        recording(record(f, i, g, lengths=lengths), made, lengths) if reverse else recording(made, None, lengths)
    )
    direction = "reverse" if reverse else "forward"
    for k in range(9):
        lifetime = found.lifetime(0, k, 1, direction=direction)
        later = range(k, -1, -1) if reverse else range(k, 9)
        np.testing.assert_array_equal(lifetime.steps, list(later))
        left = np.ones(3)
        for place, t in enumerate(later):
            if t != k:
                left = left * f[t, 1]
            np.testing.assert_allclose(lifetime.survival[place], left, rtol=1e-13)
            np.testing.assert_allclose(lifetime.shares[place], left * (i * g)[k, 1], rtol=1e-13)
            ledger = found.ledger(0, t, 1, direction=direction)
            share = ledger.shares[list(ledger.steps).index(k)]
            np.testing.assert_allclose(lifetime.shares[place], share, rtol=1e-12)
        np.testing.assert_array_equal(lifetime.write, (i * g)[k, 1])
        below = lifetime.survival <= 0.5
        for u in range(3):
            first = int(below[:, u].argmax()) if below[:, u].any() else math.inf
            assert lifetime.half_life[u] == first
        assert lifetime.half_life[1] == math.inf
        assert lifetime.half_life[2] == (1 if len(lifetime.steps) > 1 else math.inf)
    np.testing.assert_array_equal(
        found.lifetime(0, -1, 1, direction=direction, units=[2]).survival, lifetime.survival[:, [2]]
    )
    # Its former name, which stays.
    assert insight.Fate is insight.Lifetime
    np.testing.assert_array_equal(found.fate(0, -1, 1, direction=direction).survival, lifetime.survival)


def test_a_readout_sums_to_what_is_read() -> None:
    draw = np.random.default_rng(5)
    f, i, o = draw.random((3, 15, 1, 6))
    g = draw.normal(size=(15, 1, 6)).clip(-1, 1)
    i[:, 0, 0] = 0.0  # a unit that holds nothing: tanh(c) / c at 0
    g[:, 0, 1] *= 1e-9
    edit = Edit(0, False, 0, 7, 3, 2.0)
    added = np.zeros((15, 1, 6))
    added[7, 0, 3] = 2.0
    c_0 = np.array([[0.0, 0.0, 1.0, 5.0, -5.0, 0.1]])
    made = record(f, i, g, o, c_0=c_0, added=added)
    found = recording(made, edits=[edit])
    for t in (0, 7, 14):
        ledger = found.ledger(0, t)
        for w in (draw.normal(size=6), np.eye(6)[0], np.eye(6)[3]):
            parts, rest = ledger.readout(w)
            assert parts.shape == (t + 1,)
            assert parts.sum() + rest == pytest.approx(w @ made.hidden[t, 0], rel=1e-12, abs=1e-15)
    part = found.ledger(0, 14, units=[3, 5])
    parts, rest = part.readout([1.0, -2.0])
    h = made.hidden[14, 0]
    assert parts.sum() + rest == pytest.approx(h[3] - 2 * h[5], rel=1e-12)
    with pytest.raises(GatewrightError, match=r"direction: expected one number for each of 2 units, got \(3,\)"):
        part.readout([1.0, 2.0, 3.0])


def test_a_ledger_splits_what_the_equations_gave() -> None:
    """Against `equations`, for which nothing of the recording is used but the inputs."""
    torch.manual_seed(1)
    lstm = LSTM(2, 3, dtype=torch.float64)
    x = torch.randn(40, 1, 2, dtype=torch.float64)
    weights = equations.Weights(*(value.detach().numpy() for value in lstm.parameters()))
    _, judge = equations.forward(x[:, 0].numpy(), weights)
    ledger = look(lstm, x).ledger(0, 39)
    expected = shares(judge.forget_gate, judge.input_gate * judge.candidate, 39)
    np.testing.assert_allclose(ledger.shares, expected, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(ledger.total, judge.cell[-1], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"layer": 1}, "layer: expected a whole number from 0 to 0, got 1"),
        ({"layer": -1}, "layer: expected a whole number from 0 to 0, got -1"),
        ({"layer": "0"}, "layer: expected a whole number from 0 to 0, got '0'"),
        ({"layer": True}, "layer: expected a whole number from 0 to 0, got True"),
        ({"t": 6}, "{t}: expected a whole number from 0 to 3, got 6"),
        ({"t": 4}, "{t}: expected a whole number from 0 to 3, got 4"),  # past the end of this row
        ({"t": -5}, "{t}: expected a whole number from 0 to 3, got -5"),
        ({"t": 1.0}, "{t}: expected a whole number from 0 to 3, got 1.0"),
        ({"t": None}, "{t}: expected a whole number from 0 to 3, got None"),
        ({"row": 2}, "row: expected a whole number from 0 to 1, got 2"),
        ({"units": 3}, "units: expected a whole number from 0 to 2, got 3"),
        ({"units": [0, -4]}, "units: expected a whole number from 0 to 2, got -4"),
        ({"units": [[0], [1, 2]]}, r"units: expected a whole number from 0 to 2, got \[0\]"),
        ({"units": "all"}, "units: expected a whole number from 0 to 2, got 'all'"),
        ({"units": [True]}, "units: expected a whole number from 0 to 2, got True"),
        ({"direction": "reverse"}, "direction: expected forward, got 'reverse'"),
        ({"direction": ["forward"]}, r"direction: expected forward, got \['forward'\]"),
    ],
)
def test_what_is_not_there_has_no_ledger_and_no_lifetime(call: dict[str, Any], message: str) -> None:
    found = recording(record(np.full((6, 2, 3), 0.5), lengths=[6, 4]), None, [6, 4])
    call = {"layer": 0, "t": 0, "row": 1, **call}
    with pytest.raises(GatewrightError, match="^" + message.replace("{t}", "t") + "$"):
        found.ledger(**call)
    call["k"] = call.pop("t")
    with pytest.raises(GatewrightError, match="^" + message.replace("{t}", "k") + "$"):
        found.lifetime(**call)
