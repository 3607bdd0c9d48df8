"""Parts of a recording, and its difference from another."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import LSTM, look
from gatewright.equations import QUANTITIES
from gatewright.errors import GatewrightError
from gatewright.insight.layers import Peer
from gatewright.spec.recording import Edit
from tests.support.layer_recordings import B, D, H, P, made, unequal
from tests.support.recordings import record, recording
from tests.support.small_models import language_model

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@pytest.mark.parametrize(("first", "end"), [(0, 7), (0, 3), (2, 4), (3, 6), (3, 7)])
def test_a_part_of_the_time_is_what_a_pass_from_there_gives(first: int, end: int) -> None:
    """Its ledger too: the initial state's share takes over what came before."""
    whole = unequal()
    part = whole.select(steps=slice(first, end))
    lengths = np.clip(np.array([5, 7, 4]), first, end) - first
    np.testing.assert_array_equal(part.lengths, lengths)
    assert part.steps == lengths.max()
    np.testing.assert_array_equal(part.inputs, whole.inputs[first : first + part.steps])
    for (name, of_part), (_, of_whole) in zip(part.records(), whole.records(), strict=True):
        layer, direction = int(name.split()[1]), name.split()[2]
        for quantity in QUANTITIES:
            values = getattr(of_whole, quantity)[first : first + part.steps]
            np.testing.assert_array_equal(getattr(of_part, quantity), values)
            assert np.shares_memory(getattr(of_part, quantity), values)
        for row, n in enumerate(lengths.tolist()):
            for t in range(n):
                ours = part.ledger(layer, t, row, direction=direction)
                theirs = whole.ledger(layer, first + t, row, direction=direction)
                here = [step for step in range(len(theirs.steps)) if first <= theirs.steps[step] < first + n]
                before = [step for step in range(len(theirs.steps)) if step not in here]
                np.testing.assert_array_equal(ours.steps + first, theirs.steps[here])
                np.testing.assert_allclose(ours.shares, theirs.shares[here], rtol=1e-12)
                np.testing.assert_allclose(
                    ours.initial, theirs.initial + theirs.shares[before].sum(axis=0), rtol=1e-10, atol=1e-15
                )
                np.testing.assert_allclose(ours.total, theirs.total, rtol=1e-12, atol=1e-15)


def test_rows_layers_and_units_are_what_they_were() -> None:
    whole = unequal()
    part = whole.select(rows=[2, 0, 2])
    assert part.steps == 5
    np.testing.assert_array_equal(part.lengths, [4, 5, 4])
    np.testing.assert_array_equal(part.predictions, whole.predictions[:5, [2, 0, 2]])
    for (name, ours), (_, theirs) in zip(part.records(), whole.records(), strict=True):
        layer, direction = int(name.split()[1]), name.split()[2]
        np.testing.assert_array_equal(ours.cell, theirs.cell[:5, [2, 0, 2]])
        np.testing.assert_array_equal(ours.cell_initial, theirs.cell_initial[[2, 0, 2]])
        np.testing.assert_array_equal(
            part.ledger(layer, 2, 1, direction=direction).shares,
            whole.ledger(layer, 2, 0, direction=direction).shares,
        )
    part = whole.select(layers=[1])
    assert len(part.layers) == 1
    assert part.layers[0] == whole.layers[1]
    assert part.model is None  # its layers are others
    assert whole.select(layers=[0, 1]).model is whole.model
    part = whole.select(units=[4, -5])
    assert part.layers[1].reverse.hidden.shape == (7, 3, 2)  # type: ignore[union-attr]
    np.testing.assert_array_equal(part.layers[0].forward.candidate, whole.layers[0].forward.candidate[..., [4, 0]])
    np.testing.assert_array_equal(part.ledger(0, 3).shares, whole.ledger(0, 3, units=[4, 0]).shares)
    np.testing.assert_array_equal(part.predictions, whole.predictions)
    all_at_once = whole.select(steps=slice(1, 4), rows=[1], layers=[1], units=[2])
    one = all_at_once.layers[0].reverse
    np.testing.assert_array_equal(one.cell[:, 0, 0], whole.layers[1].reverse.cell[1:4, 1, 2])  # type: ignore[union-attr]
    np.testing.assert_array_equal(one.cell_initial[0, 0], whole.layers[1].reverse.cell[4, 1, 2])  # type: ignore[union-attr]


def test_what_belongs_to_steps_and_rows_goes_with_them(sites: Any) -> None:
    table, model = sites
    whole = look(model, table.table)
    peer = Peer(whole.layers[0].forward.hidden, whole.predictions + 1)
    whole = dataclasses.replace(whole, peer=peer, about=dataclasses.replace(whole.about, peer="plain RNN"))
    part = whole.select(steps=slice(10, 30), rows=[1])
    for name in ("inputs", "predictions", "targets", "columns", "times"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[10:30, [1]])
    np.testing.assert_array_equal(part.peer.predictions, peer.predictions[10:30, [1]])  # type: ignore[union-attr]
    np.testing.assert_array_equal(part.error()[1:], whole.error()[11:30, [1]])
    assert part.about.rows == ("south",)
    assert part.readout_weight is whole.readout_weight
    for without in (whole.select(layers=[0]), whole.select(units=[0, 1])):
        assert (without.readout_weight, without.readout_bias, without.about.readouts) == (None, None, ())
    assert whole.select(layers=[1]).readout_weight is whole.readout_weight


def test_edits_go_with_what_they_changed() -> None:
    draw = np.random.default_rng(0)
    f, i, g = draw.random((3, 8, 2, 3))
    added = np.zeros((8, 2, 3))
    edits = []
    for t, row, unit in ((2, 0, 1), (5, 1, 2), (5, 0, 0)):
        added[t, row, unit] = 3.0 + t + unit
        edits.append(Edit(0, False, row, t, unit, 3.0 + t + unit))
    whole = recording(record(f, i, g, added=added), edits=edits)
    part = whole.select(rows=[1, 0, 0])
    for old, new in ((1, 0), (0, 1), (0, 2)):
        np.testing.assert_array_equal(part.ledger(0, 7, new).edited, whole.ledger(0, 7, old).edited)
    part = whole.select(units=[2, 1, 2])
    np.testing.assert_array_equal(part.ledger(0, 7, 1).edited, whole.ledger(0, 7, 1).edited[[2, 1, 2]])
    for first, left in ((0, 3), (2, 3), (3, 2), (5, 2), (6, 0)):
        part = whole.select(steps=slice(first, None))
        assert len(part.about.edits) == left
        for row in (0, 1):
            np.testing.assert_allclose(part.ledger(0, -1, row).total, whole.ledger(0, -1, row).total, rtol=1e-12)
    assert whole.select(layers=[0]).about.edits == tuple(edits)


def test_a_difference_is_that_of_two_passes() -> None:
    lstm, x, _ = made(num_layers=2)
    before = look(lstm, x)
    with torch.no_grad():
        lstm.weight_hh_l1[:, 3] += 1  # read from the second step on
    after = look(lstm, x)
    apart = after.difference(before)
    np.testing.assert_array_equal(apart.predictions, after.predictions - before.predictions)
    np.testing.assert_array_equal(apart.first, [1] * B)
    for layer in (0, 1):
        one, other = after.layers[layer].forward, before.layers[layer].forward
        np.testing.assert_array_equal(apart.cell[layer], one.cell - other.cell)
        np.testing.assert_array_equal(apart.hidden[layer], one.hidden - other.hidden)
    assert not apart.cell[0].any()
    assert np.isnan(apart.error).all()
    np.testing.assert_array_equal(before.difference(before).first, [-1] * B)
    one, other = look(language_model(), "abcabc"), look(language_model(), "abcabc")
    assert not one.difference(other).error[1:].any()


@pytest.mark.parametrize(
    "other",
    [
        lambda lstm, x: look(lstm, x + 1),
        lambda lstm, x: look(lstm, x[:-1]),
        lambda lstm, x: look(lstm, x[:, :2]),
        lambda _, x: look(LSTM(D, H + 1, num_layers=2, dtype=torch.float64), x),
        lambda _, x: look(LSTM(D, H, dtype=torch.float64), x),
        lambda lstm, x: look(lstm, x).select(layers=[1]),
    ],
)
def test_a_difference_from_other_data_is_refused(other: Any) -> None:
    lstm, x, _ = made(num_layers=2)
    with pytest.raises(GatewrightError, match=r"^baseline: expected "):
        look(lstm, x).difference(other(lstm, x))


def test_rows_that_end_elsewhere_are_other_data() -> None:
    lstm, x, _ = made()
    x[4:] = 0
    a, b = (look(lstm, pack_padded_sequence(x, [7, 7, n], enforce_sorted=False)) for n in (4, 5))
    with pytest.raises(GatewrightError, match=r"^baseline: expected a recording of the same data"):
        a.difference(b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"steps": slice(0, 7, 2)}, "steps: expected a slice with step 1, got"),
        ({"steps": 3}, "steps: expected a slice with step 1, got 3"),
        ({"steps": slice("a", None)}, "steps: expected a slice of whole numbers"),
        ({"steps": slice(3, 3)}, "steps: expected a slice that leaves at least one step of every row, got 3:3"),
        ({"steps": slice(4, 7)}, "steps: expected a slice that leaves at least one step of every row, got 4:7"),
        ({"rows": [3]}, "rows: expected a whole number from 0 to 2, got 3"),
        ({"rows": []}, "rows: expected at least one, got none"),
        ({"layers": [-3]}, "layers: expected a whole number from 0 to 1, got -3"),
        ({"layers": []}, "layers: expected at least one, got none"),
        ({"units": [5]}, "units: expected a whole number from 0 to 4, got 5"),
        ({"units": []}, "units: expected at least one, got none"),
    ],
)
def test_a_part_that_is_not_there(call: dict[str, Any], message: str) -> None:
    with pytest.raises(GatewrightError, match=r"^" + message):
        unequal().select(**call)


def test_units_of_a_projection_are_not_those_of_the_cell() -> None:
    with pytest.raises(GatewrightError, match="units: expected layers without a projection, got a layer with one"):
        unequal(proj_size=P).select(units=[0])
