"""The example that `gatewright look` opens by itself: the shipped files show what they are there to show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gatewright.data.tokens import decode
from gatewright.insight import intervene
from gatewright.insight.prediction_errors import errors_of
from gatewright.insight.recorder import record
from gatewright.insight.recording import Recording
from gatewright.inspector.example import INTRO, PLACE, TITLE, example
from gatewright.train.plain_rnn import with_peer


@pytest.fixture(scope="module")
def recording() -> Recording:
    model, batch, rnn = example()
    return with_peer(record(model, batch), model, batch, rnn)


@pytest.fixture(scope="module")
def text(recording: Recording) -> str:
    assert recording.symbols is not None
    model, _, _ = example()
    assert model.vocabulary is not None
    return decode(recording.symbols[:, 0].tolist(), model.vocabulary)


def walks(text: str) -> list[tuple[int, int]]:
    """Return where each sign and each question is."""
    signs = [t + 1 for t, symbol in enumerate(text[:-1]) if symbol == "\n"]
    return [(sign, text.index("?", sign)) for sign in signs]


def test_the_text_is_walks_of_known_symbols(recording: Recording, text: str) -> None:
    assert recording.about.title == TITLE
    assert recording.symbols is not None
    assert (recording.symbols > 0).all()  # 0 is the unknown symbol
    assert 500 <= len(text) <= 1000
    assert text[0] == "\n"
    lines = text[1:].splitlines()
    assert 6 <= len(lines) <= 10
    for line in lines:
        assert line[0] in "LR"
        assert set(line[1:-2]) <= set(".:")
        assert line[-2:] == "?" + line[0]
    assert {line[0] for line in lines} == {"L", "R"}
    assert max(map(len, lines)) > 100


def test_the_lstm_knows_every_answer_and_the_plain_rnn_does_not(recording: Recording, text: str) -> None:
    answers = [question + 1 for _, question in walks(text)]
    assert recording.error()[answers, 0].max() < 0.05
    assert recording.peer is not None
    beside = errors_of(recording.peer.predictions, recording.targets, recording.about)[answers, 0]
    assert beside.mean() > 0.5


def shares_by_hand(recording: Recording, t: int) -> Any:
    """Return what is left at step t of what each step wrote (t+1, H), one factor at a time."""
    made = recording.layers[0].forward
    f, i, g = (getattr(made, name)[:, 0].astype(np.float64) for name in ("forget_gate", "input_gate", "candidate"))
    shares = []
    for k in range(t + 1):
        share = i[k] * g[k]
        for j in range(k + 1, t + 1):
            share = share * f[j]
        shares.append(share)
    return np.array(shares)


def flag_unit(recording: Recording, text: str) -> int:
    """Return the one unit whose cell state at the questions tells one sign from the other."""
    cell = recording.layers[0].forward.cell[:, 0]
    held = {sign: np.array([cell[q] for s, q in walks(text) if text[s] == sign]) for sign in "LR"}
    apart = np.maximum(held["L"].min(0) - held["R"].max(0), held["R"].min(0) - held["L"].max(0))
    [unit] = np.flatnonzero(apart > 0.5)
    return int(unit)


def test_one_write_at_the_flag_is_kept_until_the_question(recording: Recording, text: str) -> None:
    unit = flag_unit(recording, text)
    made = recording.layers[0].forward
    for sign, question in walks(text):
        ledger = recording.ledger(0, question)
        np.testing.assert_allclose(ledger.shares, shares_by_hand(recording, question), rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(ledger.total, ledger.cell, rtol=1e-4, atol=1e-4)
        assert 0.9 < ledger.shares[sign, unit] / ledger.cell[unit] < 1.1
        assert ledger.survival[sign, unit] > 0.95
        corridor = slice(sign + 1, question)
        assert made.forget_gate[corridor, 0, unit].min() > 0.98
        assert made.input_gate[corridor, 0, unit].max() < 0.1
        # What the walk before it wrote was dropped.
        assert abs(ledger.shares[: sign - 1, unit]).sum() < 0.05


def test_who_forgets_the_flag_once_does_not_know_the_answer(recording: Recording, text: str) -> None:
    """Its unit's forget gate is held at 0 for one step of the corridor: that walk's answer is lost, no other."""
    model, _, _ = example()
    unit = flag_unit(recording, text)
    lost = []
    for n, (sign, question) in enumerate(walks(text)):
        middle = (sign + question) // 2
        clamp = {0: {"forget_gate": (unit, 0.0, slice(middle, middle + 1))}}
        changed = intervene(model, text, clamp=clamp)
        errors = changed.error()[[question + 1 for _, question in walks(text)], 0]
        assert np.delete(errors, n).max() < 0.1
        lost.append(errors[n])
    # Near chance, which is 0.69, or wrong.
    assert min(lost) > 0.4
    assert np.mean(lost) > 0.6


def test_the_page_says_what_is_so_and_opens_there(recording: Recording, text: str) -> None:
    place = dict(part.split("=") for part in PLACE.split("&"))
    t, unit = int(place["t"]), int(place["units"])
    sign, question = max(walks(text), key=lambda walk: walk[1] - walk[0])
    assert (question - sign, question) == (121, t)
    left = recording.ledger(0, t, units=unit).survival[sign, 0]
    assert round(float(left), 2) == 0.98
    assert f"Unit {unit} writes it" in INTRO
    assert "121 steps later 98% of that write is left" in INTRO
