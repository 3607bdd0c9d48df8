"""States by id: against each sequence alone, from its start to its end."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gatewright import LSTM, Carry, GatewrightError

D, H, STEPS, CHUNKS, SEQUENCES = 3, 4, 2, 3, 7


def layer(**options: Any) -> LSTM:
    torch.manual_seed(0)
    lstm = LSTM(D, H, 2, proj_size=2, initial_state="learned", dtype=torch.float64, **options)
    with torch.no_grad():
        for state in (lstm.h_0, lstm.c_0):
            state.copy_(torch.randn_like(state))
    return lstm


def shuffled(seed: int) -> list[list[int]]:
    """Batches of sequences, unlike in size and order, that take up each sequence a few times."""
    generator = torch.Generator().manual_seed(seed)
    turns = [torch.randperm(SEQUENCES, generator=generator).tolist() for _ in range(CHUNKS)]
    return [batch for turn in turns for batch in (turn[:3], turn[3:])]


def test_each_sequence_goes_on_from_where_it_was() -> None:
    lstm, x = layer(), torch.randn(CHUNKS * STEPS, SEQUENCES, D, dtype=torch.float64)
    carry, turn = Carry(lstm), [0] * SEQUENCES
    for ids in shuffled(1):
        rows = torch.stack([x[turn[k] * STEPS : (turn[k] + 1) * STEPS, k] for k in ids], dim=1)
        y, state = lstm(rows, carry.gather(ids))
        carry.store(torch.tensor(ids), state)
        for n, k in enumerate(ids):
            turn[k] += 1
            alone, (h_n, c_n) = lstm(x[: turn[k] * STEPS, k])
            assert torch.equal(y[:, n], alone[-STEPS:])
            h, c = carry.gather([k])
            assert torch.equal(h[:, 0], h_n)
            assert torch.equal(c[:, 0], c_n)
            assert not h.requires_grad
            assert not c.requires_grad
    assert len(carry) == SEQUENCES
    assert carry.ids() == [k for ids in shuffled(1)[:2] for k in ids]


def test_new_sequences_start_as_the_layer_does_and_old_ones_give_no_gradient() -> None:
    lstm, x = layer(), torch.randn(STEPS, 2, D, dtype=torch.float64)
    carry = Carry(lstm)
    carry.store(["old"], lstm(x[:, :1])[1])
    y, _ = lstm(x, carry.gather(["old", "new"]))
    assert torch.equal(y[:, 1], lstm(x[:, 1])[0])
    old, new = (torch.autograd.grad(y[:, n].sum(), lstm.c_0, retain_graph=True)[0] for n in (0, 1))
    assert not old.any()
    assert torch.equal(new, torch.autograd.grad(lstm(x[:, 1])[0].sum(), lstm.c_0)[0])
    plain = Carry(nn.LSTM(D, H, 2))
    h, c = plain.gather(np.array([3, 1]))
    assert not h.any()
    assert h.shape == c.shape == (2, 2, H)


def test_what_is_gathered_stays_when_other_states_are_stored() -> None:
    """A backward pass may come after the next store."""
    lstm = layer()
    carry = Carry(lstm)
    ones = torch.ones(2, 1, 2, dtype=torch.float64), torch.ones(2, 1, H, dtype=torch.float64)
    carry.store([1], ones)
    h, c = carry.gather([1])
    carry.store([1], (2 * ones[0], 2 * ones[1]))
    assert torch.equal(h, ones[0])
    assert torch.equal(c, ones[1])
    ones[0].fill_(9)
    assert torch.equal(carry.gather([1])[0], torch.full_like(h, 2))


def test_dropped_sequences_start_anew_and_make_room() -> None:
    lstm = layer()
    carry = Carry(lstm)
    states = torch.randn(2, 6, 2, dtype=torch.float64), torch.randn(2, 6, H, dtype=torch.float64)
    carry.store(list("abcdef"), states)
    carry.drop(["b", "never", "e"])
    assert "b" not in carry
    assert carry.ids() == list("acdf")
    assert torch.equal(carry.gather(["b"])[1][:, 0], lstm.c_0)
    carry.store(["x", "a"], (states[0][:, :2], states[1][:, :2]))
    expected = {"x": 0, "a": 1, "c": 2, "d": 3, "f": 5}
    for name, column in expected.items():
        assert torch.equal(carry.gather([name])[1][:, 0], states[1][:, column]), name
    carry.drop()
    assert len(carry) == 0


def test_a_state_dict_is_safe_to_load_and_goes_on() -> None:
    lstm = layer()
    carry = Carry(lstm)
    states = torch.randn(2, 3, 2, dtype=torch.float64), torch.randn(2, 3, H, dtype=torch.float64)
    carry.store([5, 6, 7], states)
    carry.drop([6])
    file = io.BytesIO()
    torch.save(carry.state_dict(), file)
    file.seek(0)
    again = Carry(lstm)
    again.store([1, 6], (states[0][:, :2], states[1][:, :2]))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.ids() == [5, 7]
    assert all(torch.equal(a, b) for a, b in zip(again.gather([7, 5]), carry.gather([7, 5]), strict=True))
    empty = Carry(lstm)
    empty.load_state_dict(Carry(lstm).state_dict())
    assert len(empty) == 0
    with pytest.raises(GatewrightError, match="state_dict: expected ids, h and c"):
        again.load_state_dict({"ids": [1]})
    with pytest.raises(GatewrightError, match="state: expected tensors of the shapes"):
        again.load_state_dict({**carry.state_dict(), "h": torch.zeros(2, 1, 2)})
    assert again.ids() == [5, 7]


def test_states_follow_the_layer() -> None:
    lstm = LSTM(D, H)
    carry = Carry(lstm)
    with torch.inference_mode():
        carry.store([1], lstm(torch.ones(STEPS, 1, D))[1])
    wide = carry.gather([1])[1].double()
    lstm.double()
    x = torch.ones(STEPS, 2, D, dtype=torch.float64)
    y, state = lstm(x, carry.gather([1, 2]))
    assert torch.equal(carry.gather([1])[1], wide)
    y.sum().backward()
    carry.store([1, 2], state)


def described(ids: Any) -> Any:
    return Carry(LSTM(D, H)).gather(ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 1], "ids: expected each id once in a batch, got 1 twice"),
        ([1.5], "ids: expected whole numbers or text, got 1.5"),
        (torch.tensor(3), "ids: expected one for each row, in a list or a tensor, got"),
        ("ab", "ids: expected one for each row, in a list or a tensor, got 'ab'"),
        (torch.ones(2, 2), r"ids: expected whole numbers or text, got \[1.0, 1.0\]"),
    ],
)
def test_ids_that_are_none_are_refused(ids: Any, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        described(ids)


def test_layers_and_states_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GatewrightError, match="layer: expected an LSTM, got GRU"):
        Carry(nn.GRU(D, H))
    with pytest.raises(GatewrightError, match="layer: expected one that reads forward only"):
        Carry(LSTM(D, H, bidirectional=True))
    carry, good = Carry(LSTM(D, H)), torch.zeros(1, 2, H)
    bad: tuple[Any, ...] = ((good, good[:, :1]), (good[0], good[0]), good, None)
    for state in bad:
        with pytest.raises(
            GatewrightError, match=r"state: expected tensors of the shapes \[\(1, 2, 4\), \(1, 2, 4\)\]"
        ):
            carry.store([1, 2], state)
    assert len(carry) == 0
