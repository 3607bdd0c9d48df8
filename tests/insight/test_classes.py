"""A recording of a classifier: probabilities at each step, gates, and the ledger of what moved the decision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.data.sequences import sequences_of
from gatewright.errors import GatewrightError
from gatewright.insight import Recording, diagnose, intervene
from gatewright.inspector.loader import Selection, open_path
from gatewright.inspector.payload import Payload
from gatewright.spec import POOLINGS
from gatewright.spec.recording import ClassesMetadata
from gatewright.tasks.classify.predict import predict_proba
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.tag.predict import predict_proba as predict_steps
from gatewright.train.launch import train
from tests.support.class_models import CLASSES, COLUMNS, class_model, class_rows
from tests.support.classified import digits, long_table, write_digits

LENGTHS = (6, 1, 9)


def sequences():
    rows = [class_rows(steps, seed) for seed, steps in enumerate(LENGTHS)]
    return sequences_of(rows, ["x", "z", "y"], columns=COLUMNS, names=["first", "second", "third"])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_predictions_are_those_of_the_steps_so_far(pooling: str, bidirectional: bool, tmp_path: Path) -> None:
    model, data = class_model(pooling, bidirectional=bidirectional), sequences()
    recording = gw.look(model, data)
    assert recording.about.rows == ("first (x)", "second (z)", "third (y)")
    assert recording.about.inputs == ("a", "b", "c", "b observed")
    assert recording.about.data == ClassesMetadata(CLASSES)
    whole = predict_proba(model, data)
    for row, steps in enumerate(LENGTHS):
        np.testing.assert_allclose(recording.predictions[steps - 1, row], whole[row], rtol=0, atol=1e-6)
        for t in range(steps):
            part = sequences_of([data.values[row][: t + 1]], columns=COLUMNS)
            expected = whole[row] if bidirectional else predict_proba(model, part)[0]
            np.testing.assert_allclose(recording.predictions[t, row], expected, rtol=0, atol=1e-6)
    error = recording.error()
    assert error[5, 0] == pytest.approx(-np.log(whole[0, 0]), rel=1e-4)
    assert np.isnan(error[6:, 0]).all()
    ledger = recording.ledger(layer=1, t=5, row=0)
    np.testing.assert_allclose(ledger.total, ledger.cell, rtol=0, atol=1e-5)
    recording.save(tmp_path / "recording.safetensors")
    again = Recording.load(tmp_path / "recording.safetensors")
    np.testing.assert_array_equal(again.predictions, recording.predictions)
    assert again.about == recording.about
    part = recording.select(rows=[2], steps=slice(2, 5))
    np.testing.assert_array_equal(part.predictions, recording.predictions[2:5, 2:])
    payload = Payload(recording, "a")
    meta = payload.meta()
    readouts = list(CLASSES) if pooling in ("last", "mean") and not bidirectional else []
    assert (meta["kind"], meta["readouts"]) == ("layers", readouts)
    assert meta["outputs"] == ["p(x)", "p(y)", "p(z)"]
    assert (recording.readout_weight is None) == (not readouts)
    assert len(payload.block(0, "output")) == 6 * 3 * 4


def test_sequences_are_given_in_any_form() -> None:
    model, data = class_model("last"), sequences()
    recording = gw.look(model, data)
    listed = gw.look(model, list(data.values))
    np.testing.assert_array_equal(listed.predictions, recording.predictions)
    assert (listed.about.rows, listed.targets.max()) == (("0", "1", "2"), -1)
    late = gw.look(model, data, start=2, steps=3)
    assert (late.lengths.tolist(), late.about.rows) == ([3, 3], ("first (x)", "third (y)"))
    for wrong, message in (
        ("moves.csv", "data: expected a run, whose options say which column names the sequences, or a .ts file"),
        (3.5, "X: expected numbers"),
        (np.zeros((2, 4, 2)), "columns: expected 2 different names"),
    ):
        with pytest.raises(GatewrightError, match=message):
            gw.look(model, wrong)
    with pytest.raises(GatewrightError, match=r"start: expected .* from 0 to 8: the longest sequence has 9 "):
        gw.look(model, data, start=9)


def test_gates_are_held_and_units_diagnosed() -> None:
    model, data = class_model("max"), sequences()
    recording = gw.look(model, data)
    changed = intervene(model, data, ablate={1: [0, 1, 2]})
    assert (np.abs(changed.predictions - recording.predictions)[5, 0] > 0).any()
    assert diagnose(recording).horizon is not None
    assert diagnose(gw.look(class_model("max", bidirectional=True), data)).horizon is None


def test_a_run_is_looked_at_next_to_a_plain_rnn(tmp_path: Path) -> None:
    options = Options(
        DataOptions(id=("who",), label="digit", time="t"),
        ModelOptions(hidden=10, dropout=0.0),
        TrainingOptions(steps=20, batch=32, validate_every=10, device="cpu"),
    )
    run, _ = train(write_digits(tmp_path / "digits.csv"), options, run=tmp_path / "run")
    recording = gw.look(run)
    data, model = run.data(), run.best_model()
    assert recording.about.title == "run, test part"
    np.testing.assert_array_equal(recording.targets[0], data.numbers(data.test))
    ends = recording.predictions[recording.lengths - 1, np.arange(len(data.test))]
    np.testing.assert_allclose(ends, predict_proba(model, data.test), rtol=0, atol=1e-6)
    new = tmp_path / "new.csv"
    long_table(digits(12, 3)).drop("digit").write_csv(new)
    assert gw.look(run, new).about.rows[:2] == ("0", "1")
    catalog, title = open_path(run.path, None, Selection(), True, lambda _: None)
    assert title == "run, test part"
    payload = catalog.payload(catalog.shown())
    assert payload.meta()["peer"] == {"name": "plain RNN", "hidden": 20}
    peer = payload.recording.peer
    np.testing.assert_allclose(peer.predictions[0, 0].sum(), 1.0, rtol=1e-5)


def test_a_plain_rnn_reads_each_row_to_its_end() -> None:
    from gatewright.train.plain_rnn import PlainModel

    for pooling in POOLINGS:
        for bidirectional in (False, True):
            torch.manual_seed(0)
            plain = PlainModel(class_model(pooling, bidirectional=bidirectional)).eval()
            x, lengths = torch.randn(7, 3, 4), torch.tensor([7, 2, 5])
            with torch.no_grad():
                together = plain(x, lengths=lengths).y[0]
                for row, steps in enumerate(lengths.tolist()):
                    alone = plain(x[:steps, row : row + 1]).y[0, 0]
                    np.testing.assert_allclose(together[row], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recording_of_a_tagger_has_the_ledger_of_each_decision(bidirectional: bool, tmp_path: Path) -> None:
    """The score of a class is the bias and what the units show of their cells, which the ledger splits by step."""
    model, data = class_model("", bidirectional=bidirectional), sequences()
    recording = gw.look(model, data)
    expected = predict_steps(model, data)
    for row, steps in enumerate(LENGTHS):
        np.testing.assert_allclose(recording.predictions[:steps, row], expected[row], rtol=0, atol=1e-6)
    assert (recording.targets.max(), np.isnan(recording.error()).all()) == (-1, True)
    payload = Payload(recording, "a").meta()
    assert payload["outputs"] == ["p(x)", "p(y)", "p(z)"]
    assert payload["readouts"] == ([] if bidirectional else list(CLASSES))
    recording.save(tmp_path / "recording.safetensors")
    np.testing.assert_array_equal(
        Recording.load(tmp_path / "recording.safetensors").predictions, recording.predictions
    )
    if bidirectional:
        return
    scores = np.log(expected[2])
    ledger = recording.ledger(layer=1, t=8, row=2)
    parts, rest = ledger.readout(recording.readout_weight[1] - recording.readout_weight[0])
    bias = recording.readout_bias[1] - recording.readout_bias[0]
    assert float(parts.sum() + rest + bias) == pytest.approx(scores[8, 1] - scores[8, 0], abs=1e-5)
