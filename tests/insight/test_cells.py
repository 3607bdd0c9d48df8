"""Every cell looked into: recordings, ledgers, figures, files and changes, judged by a loop over one row."""

from __future__ import annotations

import dataclasses
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
from gatewright.inspector import payload
from gatewright.inspector.payload import Payload
from tests.support.cell_loop import cells, run
from tests.support.other_device import run_as_elsewhere
from tests.support.variant_cells import CELLS, label

T, D, H, LENGTHS = 11, 3, 5, [11, 7]
IN_EVALUATION = [cell for cell in CELLS if cell.in_evaluation().features()]


def layer_of(cell: CellSpec, seed: int = 0, **options: Any) -> LSTM:
    torch.manual_seed(seed)
    lstm = LSTM(D, H, cell=cell, dtype=torch.float64, **options).eval()
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.normal_(std=0.4)
    return lstm


def inputs_of(lstm: LSTM) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    directions = 2 if lstm.bidirectional else 1
    x = torch.randn(T, len(LENGTHS), D, dtype=torch.float64)
    h_0 = 0.5 * torch.randn(directions, len(LENGTHS), lstm.proj_size or H, dtype=torch.float64)
    return x, (h_0, torch.randn(directions, len(LENGTHS), H, dtype=torch.float64))


def judged(lstm: LSTM, x: Any, state: Any, row: int, reverse: bool = False, **changes: Any) -> dict[str, Any]:
    """Every quantity of a row in the order of time."""
    order = slice(None, None, -1 if reverse else 1)
    h_0, c_0 = (each[int(reverse), row].numpy() for each in state)
    read = x[: LENGTHS[row], row].numpy()[order]
    steps = run(lstm, read, h_0, c_0, suffix="_l0_reverse" if reverse else "_l0", **changes)
    return {name: array[order] for name, array in steps.items()}


def check_ledger(recording: Recording, judge: dict[str, Any], t: int, row: int, direction: str) -> None:
    """Compare shares and their sum, the split of an output, and weights where there are some, with the loop."""
    cell, reverse = recording.about.cell, direction == "reverse"
    ledger = recording.ledger(0, t, row, direction=direction)
    span = slice(t, None) if reverse else slice(0, t + 1)
    order = slice(None, None, -1 if reverse else 1)
    keep, write = judge["keep"][span][order], judge["write"][span][order]
    shares = np.array([write[k] * keep[k + 1 :].prod(axis=0) for k in range(len(keep))])
    size = np.abs(shares).sum() + np.abs(ledger.initial).sum() + 1
    np.testing.assert_allclose(ledger.shares[order], shares, rtol=0, atol=1e-12 * size)
    np.testing.assert_allclose(ledger.total, judge["cell"][t], rtol=0, atol=1e-12 * size)

    w = np.random.default_rng(t).normal(size=H)
    parts, rest = ledger.readout(w)
    projected = judge["hidden"].shape[1] != H
    whole = w @ judge["shown" if projected else "hidden"][t]
    magnitude = np.abs(parts).sum() + abs(rest) + 1
    assert abs(parts.sum() + rest - whole) <= 1e-12 * magnitude
    some, rest = recording.ledger(0, t, row, direction=direction, units=[3, 1]).readout(w[[3, 1]])
    whole = w[[3, 1]] @ judge["shown" if projected else "hidden"][t][[3, 1]]
    assert abs(some.sum() + rest - whole) <= 1e-12 * (np.abs(some).sum() + abs(rest) + 1)

    assert (ledger.weights is not None) == (cell.coupled and not cell.cell_clip)
    if ledger.weights is not None:
        assert (ledger.weights >= 0).all()
        np.testing.assert_allclose(ledger.weights.sum(axis=0) + ledger.initial_survival, 1, atol=1e-12)
        candidates = judge["candidate"][span]
        np.testing.assert_allclose(ledger.weights * candidates, ledger.shares, rtol=0, atol=1e-12 * size)


@settings(deadline=None, max_examples=20)
@given(cells(), st.integers(0, 3))
def test_every_cell_is_recorded_and_its_ledger_adds_up(cell: CellSpec, seed: int) -> None:
    lstm = layer_of(cell, seed, bidirectional=True)
    x, state = inputs_of(lstm)
    recording = look(lstm, pack_padded_sequence(x, LENGTHS), state=state)
    for reverse, direction in enumerate(("forward", "reverse")):
        record = recording.record(0, direction)
        for row, length in enumerate(LENGTHS):
            judge = judged(lstm, x, state, row, bool(reverse))
            for name in QUANTITIES:
                actual = getattr(record, name)[:length, row]
                np.testing.assert_allclose(actual, judge[name], rtol=1e-12, atol=1e-12, err_msg=name)
            for t in (0, 4, length - 1):
                check_ledger(recording, judge, t, row, direction)


@pytest.mark.parametrize("cell", IN_EVALUATION, ids=label)
def test_figures_blocks_parts_and_files_are_those_of_the_cell(cell: CellSpec, tmp_path: Path) -> None:
    lstm = layer_of(cell)
    x, state = inputs_of(lstm)
    recording = look(lstm, pack_padded_sequence(x, LENGTHS), state=state)
    rows = [judged(lstm, x, state, row) for row in range(2)]
    steps = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    layer = diagnose(recording).layers[0]
    np.testing.assert_allclose(layer.activity, steps["shown"].std(axis=0), atol=1e-12)
    np.testing.assert_allclose(layer.write_rate, np.abs(steps["write"]).mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(layer.greatest, steps["keep"].max(axis=0), atol=1e-12)
    present = {gate for gate in GATES if gate == "candidate" or getattr(cell, gate)}
    assert set(layer.histograms) == set(layer.ranges) == present
    assert set(layer.closed) == set(layer.open) == present - {"candidate"}
    assert all((counts.sum(axis=1) == sum(LENGTHS)).all() for counts in layer.histograms.values())
    if cell.candidate_activation == "identity":
        assert layer.ranges["candidate"] == pytest.approx((steps["candidate"].min(), steps["candidate"].max()))
    if cell.output_activation == "identity":
        assert layer.saturated is None
    else:
        bend = np.tanh if cell.output_activation == "tanh" else lambda n: np.clip(n, -1, 1)
        np.testing.assert_allclose(layer.saturated, (np.abs(bend(steps["normal"])) > 0.99).mean(axis=0))

    path = tmp_path / "recording.safetensors"
    recording.save(path)
    loaded, later = Recording.load(path), recording.select(steps=slice(2, None))
    assert loaded.about == recording.about
    np.testing.assert_array_equal(loaded.ledger(0, 6, 1).shares, recording.ledger(0, 6, 1).shares)
    whole, part = recording.ledger(0, 6, 0), later.ledger(0, 4, 0)
    np.testing.assert_allclose(part.shares, whole.shares[2:], rtol=0, atol=1e-12)
    w = np.arange(1.0, H + 1)
    assert sum(map(np.sum, part.readout(w))) == pytest.approx(sum(map(np.sum, whole.readout(w))), abs=1e-12)
    if not cell.proj_size:
        some = recording.select(units=[1, 3])
        np.testing.assert_array_equal(some.ledger(0, 6).shares, recording.ledger(0, 6, units=[1, 3]).shares)
        np.testing.assert_allclose(diagnose(some).layers[0].activity, layer.activity[[1, 3]], atol=1e-12)
        if cell.layer_norm:
            with pytest.raises(
                GatewrightError, match=r"^recording: expected a recording of every unit, since layer"
            ):
                some.ledger(0, 6).readout([1.0, 2.0])

    frame = recording.to_pandas()
    extra = {"kept", "written"} if cell.cell_clip or cell.zoneout_cell else set()
    extra |= {"normal", "normal_scale"} if cell.layer_norm else set()
    assert set(frame.columns.get_level_values("quantity")) == {*QUANTITIES, *extra}

    page = Payload(recording, "a")
    meta = page.meta()
    assert meta["cell"] == {
        "bias": cell.bias,
        **{name: getattr(cell.in_evaluation(), name) for name in meta["cell"] if name != "bias"},
    }
    assert meta["weighted"] == (cell.coupled and not cell.cell_clip)
    blocks = {name.removeprefix("0/forward/") for name in meta["blocks"][1] if name.startswith("0/")}
    extra |= {"hidden"} if cell.proj_size or cell.zoneout_hidden else set()
    assert blocks == {*GATES, "cell", "cell_initial", "hidden_initial", *extra}
    for name in extra & {"normal", "hidden"}:
        sent = np.frombuffer(page.block(1, f"0/forward/{name}"), "<f4").reshape(LENGTHS[1], -1)
        np.testing.assert_allclose(sent, rows[1][name], rtol=1e-6, atol=1e-6)
    assert payload.diagnosis(diagnose(recording))["layers"][0]["ranges"].keys() == present


@settings(deadline=None, max_examples=20)
@given(cells(), st.data())
def test_changes_in_every_cell_are_those_of_the_loop(cell: CellSpec, data: st.DataObject) -> None:
    lstm = layer_of(cell)
    x, state = inputs_of(lstm)
    gates = data.draw(st.lists(st.sampled_from(GATES), min_size=1, max_size=2, unique=True))
    free = cell.candidate_activation == "identity"
    held, clamp = [], {}
    for gate in gates:
        value = data.draw(st.sampled_from([0.0, 0.25, 1.0, *([-3.0] if free and gate == "candidate" else [])]))
        unit, first = data.draw(st.integers(0, H - 1)), data.draw(st.integers(0, T - 1))
        end = data.draw(st.integers(first + 1, T))
        held.append((gate, unit, value, first, end))
        clamp[gate] = (unit, value, slice(first, end))
    t, unit = data.draw(st.integers(0, min(LENGTHS) - 1)), data.draw(st.integers(0, H - 1))
    changed = intervene(
        lstm, pack_padded_sequence(x, LENGTHS), state=state, clamp={0: clamp}, edit_cell=(t, unit, 1.5)
    )
    record = changed.record(0)
    for row, length in enumerate(LENGTHS):
        judge = judged(lstm, x, state, row, held=held, edits=[(t, unit, 1.5)])
        for name in QUANTITIES:
            actual = getattr(record, name)[:length, row]
            np.testing.assert_allclose(actual, judge[name], rtol=1e-11, atol=1e-11, err_msg=name)
        for step in (0, t, length - 1):
            ledger = changed.ledger(0, step, row)
            size = np.abs(ledger.shares).sum() + np.abs(ledger.initial).sum() + np.abs(ledger.edited).sum() + 1
            np.testing.assert_allclose(ledger.total, judge["cell"][step], rtol=0, atol=1e-12 * size)


@pytest.mark.parametrize("cell", IN_EVALUATION, ids=label)
def test_what_nothing_has_changed_yet_keeps_its_bits(cell: CellSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    lstm = layer_of(cell).float()
    x = torch.randn(T, 2, D)
    before, clamp = look(lstm, x), {0: {"forget_gate": (None, 0.0, slice(4, 6))}}
    changed = intervene(lstm, x, clamp=clamp)
    for name in (*QUANTITIES, "kept", "written", "normal"):
        a, b = getattr(changed.record(0), name), getattr(before.record(0), name)
        assert (a is None) == (b is None)
        assert a is None or np.array_equal(a[:4], b[:4]), name
    assert not changed.record(0).forget_gate[4:6].any()
    silent = intervene(
        lstm, x, state=(torch.ones(1, 2, lstm.proj_size or H), torch.ones(1, 2, H)), ablate={0: [2]}
    )
    if not cell.proj_size:
        assert not silent.record(0).hidden[:, :, 2].any()
    run_as_elsewhere(monkeypatch)
    elsewhere = intervene(lstm, x, clamp=clamp)
    np.testing.assert_allclose(elsewhere.record(0).cell, changed.record(0).cell, atol=1e-5)


def test_a_candidate_without_activation_may_be_held_at_any_number() -> None:
    x = torch.ones(3, 1, D, dtype=torch.float64)
    clamp = {0: {"candidate": (0, 7.0)}}
    changed = intervene(layer_of(CellSpec(candidate_activation="identity")), x, clamp=clamp)
    assert (changed.record(0).candidate[:, 0, 0] == 7).all()
    with pytest.raises(GatewrightError, match=r"^clamp: expected a value from -1 to 1 for the candidate, got 7.0"):
        intervene(layer_of(CellSpec(candidate_activation="hard_tanh")), x, clamp=clamp)


def test_dropouts_are_none_of_the_cell_of_a_recording() -> None:
    x = torch.ones(3, 1, D, dtype=torch.float64)
    recording = look(layer_of(CellSpec(hidden_dropout=0.4, weight_drop=0.1, zoneout_cell=0.2)), x)
    assert recording.about.cell == CellSpec(zoneout_cell=0.2)
    assert look(layer_of(CellSpec(weight_drop=0.1)), x).about.cell == CellSpec()


def test_a_recording_must_have_what_its_cell_needs() -> None:
    recording = look(layer_of(CellSpec(layer_norm=True)), torch.ones(3, 1, D, dtype=torch.float64))
    layer = recording.layers[0]
    without = layer._replace(forward=dataclasses.replace(layer.forward, normal=None))
    with pytest.raises(GatewrightError, match=r"^layer 0 forward normal: expected floats of shape"):
        dataclasses.replace(recording, layers=(without,))
