"""What if: runs with gates held, units silenced and cell states set, judged by the equations in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import LSTM, equations, look
from gatewright.equations import GATES, QUANTITIES
from gatewright.errors import GatewrightError
from gatewright.insight import Recording, intervene
from gatewright.runtime.stream import Stream
from tests.support.other_device import run_as_elsewhere
from tests.support.small_models import forecaster, language_model, write_sites

SIZES = {"T": 24, "B": 3, "D": 4, "H": 5}


def layers(**more) -> LSTM:
    torch.manual_seed(7)
    return LSTM(SIZES["D"], SIZES["H"], **more).double()


def numbers(seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(SIZES["T"], SIZES["B"], SIZES["D"], generator=draw, dtype=torch.float64)


def weights(lstm: LSTM, layer: int = 0, suffix: str = "") -> equations.Weights:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *(("weight_hr",) if lstm.proj_size else ()))
    return equations.Weights(*(lstm.get_parameter(f"{name}_l{layer}{suffix}").detach().numpy() for name in names))


def judged(x, w: equations.Weights, held=(), edits=()) -> equations.Record:
    """Run the equations step by step; held: (gate, units, value, first, end); edits: (t, rows, units, value)."""
    T, B, _ = x.shape
    h, c = np.zeros((B, w.output_size)), np.zeros((B, w.hidden_size))
    found: dict[str, list[np.ndarray]] = {name: [] for name in QUANTITIES}
    for t in range(T):
        for when, rows, units, value in edits:
            if when == t:
                c = c.copy()
                c[np.ix_(rows, units)] = value
        step = equations.step(x[t], h, c, w)
        gates = {name: getattr(step, name).copy() for name in GATES}
        for gate, units, value, first, end in held:
            if first <= t < end:
                gates[gate][:, units] = value
        c = gates["forget_gate"] * c + gates["input_gate"] * gates["candidate"]
        h = gates["output_gate"] * np.tanh(c)
        if w.W_hr is not None:
            h = h @ w.W_hr.T
        for name, value in {**gates, "cell": c, "hidden": h}.items():
            found[name].append(value)
    zeros = {"cell_initial": np.zeros((B, w.hidden_size)), "hidden_initial": np.zeros((B, w.output_size))}
    return equations.Record(**{name: np.stack(steps) for name, steps in found.items()}, **zeros)


def same(recorded: equations.Record, expected: equations.Record, atol: float = 1e-12) -> None:
    for name in QUANTITIES:
        np.testing.assert_allclose(getattr(recorded, name), getattr(expected, name), atol=atol, err_msg=name)


def balanced(recording: Recording, layer: int = 0, direction: str = "forward", tolerance: float = 1e-12) -> None:
    """Check that every cell state is the sum of its shares, edits among them."""
    for row, length in enumerate(recording.lengths):
        for t in (0, int(length) // 2, int(length) - 1):
            ledger = recording.ledger(layer, t, row, direction=direction)
            magnitude = np.abs(ledger.shares).sum(axis=0) + np.abs(ledger.initial) + np.abs(ledger.edited)
            assert np.all(np.abs(ledger.total - ledger.cell) <= tolerance * magnitude + 1e-300)


@settings(max_examples=40)
@given(
    gate=st.sampled_from(GATES),
    value=st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0, 1)),
    units=st.lists(st.integers(0, SIZES["H"] - 1), min_size=1, max_size=3, unique=True),
    first=st.integers(0, SIZES["T"] - 1),
    steps=st.integers(1, SIZES["T"]),
    projected=st.booleans(),
)
def test_held_gates_are_those_of_the_equations(gate, value, units, first, steps, projected):
    lstm = layers(proj_size=2 if projected else 0)
    end = min(first + steps, SIZES["T"])
    changed = intervene(lstm, numbers(), clamp={0: {gate: (units, value, slice(first, end))}})
    same(changed.layers[0].forward, judged(numbers().numpy(), weights(lstm), [(gate, units, value, first, end)]))
    balanced(changed)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_limits_are_held_exactly_in_float32(gate, value):
    lstm = layers().float()
    recorded = intervene(lstm, numbers().float(), clamp={0: {gate: (None, value)}}).layers[0].forward
    assert np.array_equal(getattr(recorded, gate), np.full_like(recorded.cell, value))


def test_a_candidate_can_be_held_below_zero():
    changed = intervene(layers(), numbers(), clamp={0: {"candidate": [(0, -1.0), ([1, 2], -0.25)]}})
    candidate = changed.layers[0].forward.candidate
    assert np.all(candidate[..., 0] == -1)
    np.testing.assert_allclose(candidate[..., 1:3], -0.25, atol=1e-15)


def test_without_biases_gates_are_held_too():
    lstm = layers(bias=False)
    zeros = np.zeros(4 * SIZES["H"])
    W_ih, W_hh = (lstm.get_parameter(f"weight_{name}_l0").detach().numpy() for name in ("ih", "hh"))
    changed = intervene(lstm, numbers(), clamp={0: {"input_gate": (slice(0, 2), 0.3)}})
    expected = judged(
        numbers().numpy(),
        equations.Weights(W_ih, W_hh, zeros, zeros),
        [("input_gate", [0, 1], 0.3, 0, SIZES["T"])],
    )
    same(changed.layers[0].forward, expected)


def test_ablated_units_say_nothing_to_anybody():
    lstm = layers(num_layers=2)
    changed = intervene(lstm, numbers(), ablate={0: [1, 3]})
    below = judged(numbers().numpy(), weights(lstm), [("output_gate", [1, 3], 0.0, 0, SIZES["T"])])
    assert np.all(changed.layers[0].forward.hidden[..., [1, 3]] == 0)
    same(changed.layers[0].forward, below)
    same(changed.layers[1].forward, judged(below.hidden, weights(lstm, 1)))


@settings(max_examples=40)
@given(t=st.integers(0, SIZES["T"] - 1), row=st.none() | st.integers(0, SIZES["B"] - 1), value=st.floats(-9, 9))
def test_a_cell_state_is_set_before_the_step(t, row, value):
    lstm = layers()
    changed = intervene(lstm, numbers(), edit_cell={0: (t, [0, 4], value, row)})
    rows = range(SIZES["B"]) if row is None else [row]
    same(changed.layers[0].forward, judged(numbers().numpy(), weights(lstm), edits=[(t, rows, [0, 4], value)]))
    balanced(changed)
    assert {(edit.t, edit.row, edit.unit) for edit in changed.about.edits} == {
        (t, b, u) for b in rows for u in (0, 4)
    }


def test_several_changes_at_once_in_several_layers():
    lstm = layers(num_layers=2)
    changed = intervene(
        lstm,
        numbers(),
        clamp={0: {"forget_gate": ([0], 0.9, slice(3, 9)), "input_gate": (None, 0.1, slice(5, 7))}},
        ablate={1: 2},
        edit_cell={1: [(4, [1], 2.0), (4, [0], -2.0), (20, None, 0.0)]},
    )
    everyone, all_units = range(SIZES["B"]), list(range(SIZES["H"]))
    held = [("forget_gate", [0], 0.9, 3, 9), ("input_gate", all_units, 0.1, 5, 7)]
    below = judged(numbers().numpy(), weights(lstm), held)
    edits = [(4, everyone, [1], 2.0), (4, everyone, [0], -2.0), (20, everyone, all_units, 0.0)]
    above = judged(below.hidden, weights(lstm, 1), [("output_gate", [2], 0.0, 0, SIZES["T"])], edits)
    same(changed.layers[0].forward, below)
    same(changed.layers[1].forward, above)
    balanced(changed, layer=1)


def test_the_reverse_direction_is_changed_in_its_own_order():
    lstm = layers(bidirectional=True)
    x = numbers()
    changed = intervene(
        lstm,
        x,
        clamp={(0, "reverse"): {"output_gate": ([1], 0.5, slice(2, 6))}},
        edit_cell={(0, "reverse"): (10, [0], 3.0)},
    )
    last = SIZES["T"] - 1
    expected = judged(
        x.numpy()[::-1],
        weights(lstm, suffix="_reverse"),
        [("output_gate", [1], 0.5, last - 5, last - 1)],
        [(last - 10, range(SIZES["B"]), [0], 3.0)],
    )
    reverse = changed.layers[0].reverse
    assert reverse is not None
    for name in QUANTITIES:
        np.testing.assert_allclose(getattr(reverse, name), getattr(expected, name)[::-1], atol=1e-12, err_msg=name)
    same(changed.layers[0].forward, judged(x.numpy(), weights(lstm)))
    balanced(changed, direction="reverse")


def test_what_nothing_has_changed_yet_keeps_its_bits():
    lstm = layers().float()
    x = numbers().float()
    before = look(lstm, x)
    assert np.array_equal(intervene(lstm, x).predictions, before.predictions)
    changed = intervene(lstm, x, clamp={0: {"forget_gate": (None, 0.0, slice(9, 10))}})
    apart = changed.difference(before)
    assert apart.first.tolist() == [9, 9, 9]
    assert np.all(apart.predictions[:9] == 0)
    assert np.all(apart.cell[0][:9] == 0)
    assert np.abs(apart.hidden[0][9]).max() > 0


@pytest.mark.parametrize("reverse", [False, True])
def test_on_other_devices_rounding_is_no_effect(reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run without changes and one with them take other operations of torch."""
    lstm, x = layers(num_layers=2, bidirectional=True).float(), numbers().float()
    key = (1, "reverse") if reverse else 1
    clamp = {key: {"forget_gate": (None, 0.0, slice(9, 10))}}
    expected = intervene(lstm, x, clamp=clamp)
    run_as_elsewhere(monkeypatch)
    before = look(lstm, x)
    changed = intervene(lstm, x, clamp=clamp)
    recorded, judge, unchanged = (each.layers[1] for each in (changed, expected, before))
    effect = (recorded.reverse.cell - unchanged.reverse.cell, recorded.forward.cell - unchanged.forward.cell)
    affected, other = effect if reverse else effect[::-1]
    assert not other.any()
    first, last = (10, None) if reverse else (0, 9)
    assert not affected[first:last].any()
    assert np.abs(affected[9]).max() > 0
    np.testing.assert_allclose(recorded.forward.cell, judge.forward.cell, atol=1e-6)
    np.testing.assert_allclose(recorded.reverse.cell, judge.reverse.cell, atol=1e-6)
    assert changed.difference(before).first.tolist() == ([0, 0, 0] if reverse else [9, 9, 9])


def test_a_change_that_lets_nothing_through_forgets_all_before_it():
    """With f = 0 at a step, and h_{t-1} the same, what follows is what a fresh start gives."""
    lstm = layers()
    changed = intervene(lstm, numbers(), clamp={0: {"forget_gate": (None, 0.0, slice(9, 10))}})
    ledger = changed.ledger(0, 20, row=1)
    assert np.all(ledger.survival[:9] == 0)
    assert np.all(ledger.survival[9:] > 0)


def test_rows_of_unequal_length(tmp_path: Path):
    table, model = forecaster(write_sites(tmp_path / "sites.csv"))
    before = look(model, table.table)
    changed = intervene(
        model, table.table, clamp={0: {"forget_gate": (None, 0.2, slice(80, 200))}}, edit_cell={1: (99, 0, 1.0, 1)}
    )
    assert changed.lengths.tolist() == before.lengths.tolist()
    assert len(set(changed.lengths.tolist())) == 2
    apart = changed.difference(before)
    assert apart.first.tolist() == [80, 80]
    shorter = int(changed.lengths.min())
    assert np.all(changed.layers[0].forward.cell[shorter:, int(np.argmin(changed.lengths))] == 0)
    balanced(changed, layer=0, tolerance=1e-5)
    balanced(changed, layer=1, tolerance=1e-5)


def test_a_text_says_what_a_stream_with_the_same_state_says():
    """A cell state that is set is what a stream would go on from."""
    model = language_model()
    text = "abba cafe\nbad cab fed a"
    changed = intervene(model, text, edit_cell=(10, None, 0.5))
    stream: Stream = model.stream()
    stream.run(text[:10])
    state = stream.state()
    state.cell[:] = 0.5
    stream.set_state(state)
    scores = stream.run(text[10:]).astype(np.float64)
    expected = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(changed.predictions[10:, 0], expected, atol=1e-5)
    assert changed.about.note == "cell of all units set to 0.5 before step 10"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clamp": {1: {"forget_gate": (0, 0.5)}}}, "clamp: expected a layer from 0 to 0, got 1"),
        ({"clamp": {(0, "reverse"): {"forget_gate": (0, 0.5)}}}, "clamp: expected a direction that the layer has"),
        ({"clamp": {0: {"forget": (0, 0.5)}}}, "clamp: expected a gate out of input_gate, forget_gate"),
        (
            {"clamp": {0: {"forget_gate": (0, 1.5)}}},
            "clamp: expected a value from 0 to 1 for the forget_gate, got 1.5",
        ),
        (
            {"clamp": {0: {"candidate": (0, -1.5)}}},
            "clamp: expected a value from -1 to 1 for the candidate, got -1.5",
        ),
        ({"clamp": {0: {"forget_gate": (0, float("nan"))}}}, "clamp: expected a value from 0 to 1"),
        ({"clamp": {0: {"forget_gate": (5, 0.5)}}}, "clamp: expected a whole number from 0 to 4, got 5"),
        ({"clamp": {0: {"forget_gate": (0, 0.5, slice(30, 40))}}}, "clamp: expected a slice of the 24 steps"),
        ({"clamp": {0: {"forget_gate": (0, 0.5, 3)}}}, "clamp: expected a slice of steps, got 3"),
        ({"clamp": {0: {"forget_gate": 0.5}}}, "clamp: expected (units, value) or (units, value, steps)"),
        (
            {"clamp": {0: {"forget_gate": (0, 0.5, slice(2), 1)}}},
            "clamp: expected (units, value) or (units, value, ",
        ),
        ({"clamp": {0: 0.5}}, "clamp[0]: expected a dict"),
        ({"clamp": [0]}, "clamp: expected a dict"),
        ({"ablate": {0: [9]}}, "ablate: expected a whole number from 0 to 4, got 9"),
        ({"edit_cell": (24, 0, 1.0)}, "edit_cell: expected a whole number from 0 to 23, got 24"),
        (
            {"edit_cell": (2, 0, float("inf"))},
            "edit_cell: expected a number as the value",
        ),
        ({"edit_cell": (2, 0)}, "edit_cell: expected (t, units, value) or (t, units, value, row), or a list"),
        ({"edit_cell": {0: (2, 0, 1.0, 3)}}, "edit_cell: expected a whole number from 0 to 2, got 3"),
    ],
)
def test_changes_that_do_not_fit_are_told_by_name(changes, told):
    with pytest.raises(GatewrightError) as error:
        intervene(layers(), numbers(), **changes)
    assert str(error.value).startswith(told)


def test_where_there_are_several_layers_an_edit_names_one():
    with pytest.raises(GatewrightError, match=r"edit_cell: expected \{layer: "):
        intervene(layers(num_layers=2), numbers(), edit_cell=(2, 0, 1.0))


def test_intervene_reads_as_look_does_and_refuses_other_keywords() -> None:
    lstm, x = LSTM(3, 4), torch.randn(12, 2, 3)
    state = torch.randn(1, 2, 4), torch.randn(1, 2, 4)
    reading = {"state": state, "start": 3, "steps": 7, "title": "a part"}
    plain, changed = look(lstm, x, **reading), intervene(lstm, x, edit_cell=(4, 1, 9.0), **reading)
    assert (changed.about.title, changed.steps) == ("a part", 7)
    assert changed.difference(plain).first.tolist() == [4, 4]
    with pytest.raises(TypeError, match=r"intervene\(\) got an unexpected keyword argument 'clamps'"):
        intervene(lstm, x, clamps={})  # type: ignore[call-arg]


@pytest.mark.parametrize("way", ["compute", "bfloat16"])
@pytest.mark.parametrize("more", [{}, {"bidirectional": True, "num_layers": 2, "proj_size": 3}])
def test_a_layer_in_bf16_is_looked_into_in_bf16(way: str, more: dict[str, int]) -> None:
    """A gate that is held where it stood changes no bit; gates are as they were, not rounded."""
    lstm = layers(**more).float()
    lstm.compute = "bf16" if way == "compute" else "full"
    lstm = lstm.bfloat16() if way == "bfloat16" else lstm
    x = numbers()[:, :1].to(lstm.weight_ih_l0.dtype)
    before = look(lstm, x)
    top = before.layers[-1]
    y = top.hidden if top.reverse is None else np.concatenate([top.hidden, top.reverse.hidden], axis=-1)
    np.testing.assert_array_equal(y, lstm(x)[0].detach().float().numpy())
    first = before.layers[0].forward
    kept = first.forget_gate[1:] * first.cell[:-1] + first.input_gate[1:] * first.candidate[1:]
    np.testing.assert_allclose(kept, first.cell[1:], rtol=1e-5, atol=1e-6)
    stood = {0: {"forget_gate": (2, float(first.forget_gate[7, 0, 2]), slice(7, 8))}}
    after = intervene(lstm, x, clamp=stood, edit_cell={0: (12, 1, float(first.cell[11, 0, 1]))})
    for a, b in zip(after.layers, before.layers, strict=True):
        for name in QUANTITIES:
            np.testing.assert_array_equal(getattr(a.forward, name), getattr(b.forward, name), err_msg=name)
