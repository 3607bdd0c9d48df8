"""Activation patching, judged by the plainest loop in float64, and by what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import LSTM, CellSpec, GatewrightError, look
from gatewright.equations import GATES, QUANTITIES
from gatewright.insight import Recording, intervene
from tests.support.module_loop import ledger_error, patched_run
from tests.support.small_models import language_model

NAMES = ("cell", "hidden", *GATES)


def recordings(lstm: LSTM, lengths: list[int], count: int = 2) -> list[Recording]:
    """Recordings of one layer on several random inputs."""
    x = torch.randn(count, max(lengths), len(lengths), lstm.input_size, dtype=lstm.weight_hh_l0.dtype)
    packed = [pack_padded_sequence(each, torch.tensor(lengths), enforce_sorted=False) for each in x]
    return [look(lstm, each) for each in packed]


def judged(lstm: LSTM, one: Recording, patches: dict[Any, tuple[Any, Any]]) -> float:
    """The largest difference of a recording from the loop over its layers; patches by (row, layer, reverse)."""
    largest = 0.0
    for row, length in enumerate(one.lengths):
        x = one.inputs[:length, row]
        for number, layer in enumerate(one.layers):
            outputs = []
            for reverse, record in enumerate(layer):
                if record is not None:
                    start = record.hidden_initial[row], record.cell_initial[row]
                    inside = patches.get((row, number, bool(reverse)), {})
                    loop = patched_run(lstm, number, bool(reverse), x, *start, inside)
                    for name in QUANTITIES:
                        difference = loop[name] - getattr(record, name)[:length, row]
                        largest = max(largest, float(abs(difference).max()))
                    outputs.append(loop["hidden"])
            x = np.concatenate(outputs, -1)
        largest = max(largest, float(abs(x - one.predictions[:length, row]).max()))
    return largest


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_is_patched_and_what_follows_is_that_of_the_loop(data):
    draw = data.draw
    H, L, both = draw(st.integers(1, 5)), draw(st.integers(1, 2)), draw(st.booleans())
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    proj = draw(st.integers(0, H - 1))
    with torch.random.fork_rng():
        torch.manual_seed(draw(st.integers(0, 99)))
        lstm = LSTM(2, H, L, bidirectional=both, proj_size=proj, dtype=torch.float64)
        one, other = recordings(lstm, lengths)
    layer, direction = draw(st.integers(0, L - 1)), draw(st.sampled_from(["forward", "reverse"][: 1 + both]))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    rows = draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, unique=True))
    last = max(lengths[row] for row in rows) - 1
    steps = draw(st.lists(st.integers(0, last), min_size=1, unique=True))
    units = draw(st.lists(st.integers(0, (proj or H) - 1), min_size=1, unique=True))
    where = {"layer": layer, "direction": direction, "steps": steps, "rows": rows, "units": units}
    patched = one.patched(other, names, **where)
    source = other.record(layer, direction)
    inside = {
        row: {
            (t, name): (units, getattr(source, name)[t, row, units])
            for name in names
            for t in steps
            if t < lengths[row]
        }
        for row in rows
    }
    patches = {(row, layer, direction == "reverse"): each for row, each in inside.items()}
    assert judged(lstm, patched, patches) < 1e-12
    assert ledger_error(patched) < 1e-12
    assert "patched at" in patched.about.note


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "cell", [None, CellSpec(peephole=True, layer_norm=True), CellSpec(coupled=True, cell_clip=1)]
)
def test_a_runs_own_values_change_no_bit(dtype, cell):
    lstm = LSTM(3, 9, 2, dtype=dtype, cell=cell)
    (one,) = recordings(lstm, [6, 4], 1)
    for quantity in (*NAMES, NAMES):
        for steps in (None, 3, slice(1, 3)):
            patched = one.patched(one, quantity, layer=1, steps=steps)
            for ours, theirs in zip(patched.layers, one.layers, strict=True):
                for name in QUANTITIES:
                    np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            np.testing.assert_array_equal(patched.predictions, one.predictions)


def test_all_of_a_layer_gives_the_output_of_the_source():
    lstm = LSTM(3, 5, 2)
    one, other = recordings(lstm, [6, 6])
    for quantity in ("hidden", ("cell", "output"), ("input", "forget", "candidate", "output")):
        patched = one.patched(other, quantity, layer=1)
        np.testing.assert_array_equal(patched.predictions, other.predictions)
        np.testing.assert_array_equal(patched.layers[0].cell, one.layers[0].cell)
    into_all = one.patched(other.select(rows=[1]), "hidden", layer=1)
    np.testing.assert_array_equal(into_all.predictions, other.predictions[:, [1, 1]])


def test_changes_are_made_next_to_those_before():
    lstm = LSTM(3, 4).double()
    one, other = recordings(lstm, [5])
    held = one.what_if(clamp={0: {"forget_gate": (1, 0.5, slice(1, 3))}})
    x = torch.from_numpy(one.inputs)
    direct = intervene(lstm, x, clamp={0: {"forget_gate": (1, 0.5, slice(1, 3))}})
    np.testing.assert_array_equal(held.layers[0].cell, direct.layers[0].cell)
    both = held.patched(other, "cell", steps=2, units=1).patched(other, "hidden", steps=2, units=0)
    values = {(t, "forget_gate"): ([1], [0.5]) for t in (1, 2)}
    values |= {
        (2, name): ([unit], getattr(other.layers[0], name)[2, 0, [unit]])
        for name, unit in (("cell", 1), ("hidden", 0))
    }
    assert judged(lstm, both, {(0, 0, False): values}) < 1e-12
    assert both.about.note == (
        "forget gate of unit 1 at 0.5 from step 1 to step 2; cell of unit 1 patched at step 2; "
        "hidden of unit 0 patched at step 2"
    )


def test_a_whole_model_is_patched():
    model = language_model()
    one, other = look(model, "abcab"), look(model, "bbbca")
    patched = one.patched(other, "hidden", layer=len(one.layers) - 1)
    np.testing.assert_allclose(patched.predictions, other.predictions, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(one.patched(one, NAMES).predictions, one.predictions)
    assert patched.difference(one).first[0] == 0


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"quantity": "gates"}, "quantity: expected one of input_gate, .*got 'gates'"),
        ({"quantity": []}, "quantity: expected one of"),
        ({"quantity": "cell", "steps": 6}, "steps: expected a whole number from 0 to 5"),
        ({"quantity": "cell", "units": slice(7, 9)}, "units: expected at least one"),
        ({"quantity": "cell", "rows": 2}, "rows: expected a whole number from 0 to 1"),
        ({"quantity": "cell", "layer": 1}, "layer: expected a whole number from 0 to 0"),
        ({"quantity": "cell", "direction": "reverse"}, "direction: expected forward"),
        ({"quantity": "cell", "source": 3}, "source: expected a recording, got int"),
    ],
)
def test_what_cannot_be_patched(where, message):
    one, other = recordings(LSTM(3, 4), [6, 6])
    with pytest.raises(GatewrightError, match=message):
        one.patched(**{"source": other, **where})


def test_sources_that_do_not_fit_are_refused():
    lstm = LSTM(3, 4)
    one, other = recordings(lstm, [6, 6])
    for source, message in (
        (recordings(LSTM(3, 5), [6, 6])[0], "has a cell of 4 units, got 5"),
        (other.select(steps=slice(0, 4)), "steps that the source has: 4 in that row, got step 4"),
        (recordings(lstm, [6, 6, 6])[0], "a recording of 2 rows, or of one, got 3 rows"),
        (recordings(LSTM(3, 4, cell=CellSpec(kind="slstm")), [6, 6])[0], "an sLSTM"),
    ):
        with pytest.raises(GatewrightError, match=message):
            one.patched(source, "cell")
    with pytest.raises(GatewrightError, match="within its cell_clip"):
        recordings(LSTM(3, 4, cell=CellSpec(cell_clip=0.001)), [6, 6])[0].patched(other, "cell")
    with pytest.raises(GatewrightError, match="zoneout_cell"):
        recordings(LSTM(3, 4, cell=CellSpec(zoneout_cell=0.1)), [6, 6])[0].patched(other, "cell")


def test_a_recording_without_its_model_is_not_run_again(tmp_path):
    lstm = LSTM(3, 4)
    one, other = recordings(lstm, [6, 6])
    one.save(tmp_path / "one")
    for part in (one.select(steps=slice(1, 3)), one.select(rows=[0]), Recording.load(tmp_path / "one")):
        with pytest.raises(GatewrightError, match="recording: expected a whole recording of `look`"):
            part.patched(other, "cell")
    with torch.no_grad():
        lstm.bias_hh_l0.add_(1)
    with pytest.raises(GatewrightError, match="before its weights changed"):
        one.what_if(ablate={0: [0]})
