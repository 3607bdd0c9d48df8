"""Which calls of a layer are one sequence: programs of calls, drawn at random, and what is known of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatewright import LSTM, look
from tests.insight.test_modules import Around
from tests.support.module_loop import largest_difference, ledger_error

#: A call: the stream that it continues, or None for a new one; its steps; whether a new one has an own state.
CALLS = st.lists(
    st.tuples(st.none() | st.integers(0, 3), st.integers(1, 3), st.booleans()), min_size=1, max_size=8
)


@settings(max_examples=20, deadline=None)
@given(calls=CALLS, layers=st.integers(1, 2), torchs=st.booleans(), seed=st.integers(0, 99))
def test_each_stream_of_states_is_one_sequence(calls, layers, torchs, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lstm = (nn.LSTM if torchs else LSTM)(3, 4, layers, dtype=torch.float64)
        x = torch.randn(30, 2, 3, dtype=torch.float64)
        own = torch.randn(len(calls), 2, layers, 2, 4, dtype=torch.float64)
    streams: list[list[torch.Tensor]] = []

    def program(lstm: Any, x: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        states: list[Any] = []
        streams.clear()
        first, last = 0, None
        for number, (stream, steps, with_state) in enumerate(calls):
            read, first = x[first : first + steps], first + steps
            if stream is None or stream >= len(states):
                streams.append([])
                states.append(tuple(own[number]) if with_state else None)
                stream = len(states) - 1
            last, states[stream] = lstm(read, states[stream])
            streams[stream].append(read.clone())
            read.zero_()  # the caller's own memory
        return last

    recording = look(Around(lstm, program), (x, own))
    expected = ["lstm"] if len(streams) == 1 else [f"lstm#{k + 1}" for k in range(len(streams))]
    assert list(recording) == expected
    for each, stream in zip(recording.values(), streams, strict=True):
        np.testing.assert_array_equal(each.inputs, torch.cat(stream))
        assert largest_difference(lstm, each) < 1e-12
        assert ledger_error(each) < 1e-12


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_loop_with_resets_is_one_sequence(data):
    T, B = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3))
    starts = torch.tensor(
        data.draw(st.lists(st.lists(st.booleans(), min_size=B, max_size=B), min_size=T, max_size=T))
    )
    learned = data.draw(st.booleans())
    with torch.random.fork_rng():
        torch.manual_seed(data.draw(st.integers(0, 99)))
        layer = data.draw(st.sampled_from([nn.LSTM, nn.LSTMCell]))(3, 4, dtype=torch.float64)
        x, first = torch.randn(T, B, 3).double(), torch.randn(2, 1, 4).double() * learned

    def policy(layer: Any, x: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        initial = [each.expand(B, 4) for each in first]
        state, ys = initial, []
        for step, start in zip(x, starts, strict=True):
            state = [torch.where(start[:, None], new, old) for new, old in zip(initial, state, strict=True)]
            if isinstance(layer, nn.LSTMCell):
                state = layer(step, tuple(state))
            else:
                state = [each[0] for each in layer(step[None], tuple(each[None] for each in state))[1]]
            ys.append(state[0])
        return torch.stack(ys)

    recording = look(Around(layer, policy), (x, starts))
    assert list(recording) == ["lstm"]
    record = recording["lstm"].layers[0].forward
    np.testing.assert_array_equal(recording["lstm"].inputs, x)
    np.testing.assert_array_equal(record.hidden, recording.predictions)
    reset = (record.keep() == 0).all(-1)
    np.testing.assert_array_equal(reset[1:], starts[1:])
    assert ledger_error(recording["lstm"]) < 1e-12
    for t in range(T):
        for row in range(B):
            ledger = recording["lstm"].ledger(0, t, row)
            begins = [k for k in range(1, t + 1) if starts[k, row]]
            if begins:  # nothing from before the episode is left
                assert not ledger.shares[ledger.steps < begins[-1]].any()
                assert not ledger.initial.any()


@pytest.mark.parametrize("rows", [1, 2])
def test_new_sequences_that_start_from_zeros_do_not_continue_one_another(rows):
    zeros = torch.zeros(1, rows, 4), torch.zeros(1, rows, 4)

    def twice(lstm: nn.Module, x: torch.Tensor) -> Any:
        return lstm(x, zeros)[0], lstm(-x, zeros)[0]

    recording = look(Around(nn.LSTM(3, 4), twice), torch.randn(5, rows, 3))
    assert [each.steps for each in recording.values()] == [5, 5]
