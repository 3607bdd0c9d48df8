"""Initial states that a layer learns: as if the caller had passed them, in every way to call it."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from gatewright import LSTM, GatewrightError, Stream, convert, look
from gatewright.insight import intervene
from gatewright.nn import recompute

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

T, B, D, H, P = 6, 3, 4, 5, 2
KINDS = [
    {},
    {"num_layers": 2, "bidirectional": True, "proj_size": P, "batch_first": True},
    {"num_layers": 2, "compute": "bf16"},
    {"checkpoint": 2},
]


def learner(**options: Any) -> LSTM:
    """A layer whose learned states are not zero."""
    torch.manual_seed(0)
    lstm = LSTM(D, H, initial_state="learned", **options)
    with torch.no_grad():
        for state in (lstm.h_0, lstm.c_0):
            state.copy_(torch.randn_like(state))
    return lstm


def expanded(lstm: LSTM, rows: int | None) -> tuple[Tensor, Tensor]:
    states = lstm.h_0, lstm.c_0
    return states if rows is None else tuple(torch.stack([state] * rows, dim=1) for state in states)


def outputs(result: Any) -> list[Tensor]:
    y, states = result[:2]
    return [y.data if isinstance(y, PackedSequence) else y, *states]


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("form", ["batched", "unbatched", "packed", "recorded"])
def test_a_call_without_hx_starts_from_the_parameters(options: dict[str, Any], form: str) -> None:
    lstm = learner(**options)
    x: Any = torch.randn((B, T, D) if lstm.batch_first else (T, B, D))
    if form == "unbatched":
        x = x[0] if lstm.batch_first else x[:, 0]
    elif form == "packed":
        x = pack_padded_sequence(
            x, [3, 6, 2][: len(x)] if lstm.batch_first else [3, 6, 2], lstm.batch_first, False
        )
    more = {"record": True} if form == "recorded" else {}
    ours = outputs(lstm(x, **more))
    theirs = outputs(lstm(x, expanded(lstm, None if form == "unbatched" else B), **more))
    weighted = [torch.randn_like(each) for each in ours]
    gradients = []
    for results in (ours, theirs):
        loss = sum((each * weight).sum() for each, weight in zip(results, weighted, strict=True))
        gradients.append(torch.autograd.grad(loss, list(lstm.parameters())))
    for a, b in zip((*ours, *gradients[0]), (*theirs, *gradients[1]), strict=True):
        assert torch.equal(a, b)
    assert gradients[0][-1].abs().min() > 0  # those of c_0


def test_a_reset_is_a_start() -> None:
    lstm, x = learner(num_layers=2, bidirectional=True), torch.randn(T, B, D)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[2, 1] = reset[4, 0] = True
    y, states = lstm(x, reset=reset)
    expected, others = lstm(x, expanded(lstm, B), reset=reset, reset_to=(lstm.h_0, lstm.c_0))
    assert all(torch.equal(a, b) for a, b in zip((y, *states), (expected, *others), strict=True))
    assert not torch.equal(y, lstm(x, reset=reset, reset_to=(0 * lstm.h_0, 0 * lstm.c_0))[0])
    forward = LSTM(D, H, initial_state="learned")
    assert torch.equal(forward(x, reset=reset)[0][2:, 1], forward(x[2:, 1])[0])


def test_a_state_dict_has_them_where_they_were_asked_for() -> None:
    plain, lstm = LSTM(D, H), LSTM(D, H, initial_state="learned")
    assert list(plain.state_dict()) == list(torch.nn.LSTM(D, H).state_dict())
    assert list(lstm.state_dict()) == [*plain.state_dict(), "h_0", "c_0"]
    assert torch.equal(lstm(torch.ones(T, B, D), (torch.zeros(1, B, H),) * 2)[0], lstm(torch.ones(T, B, D))[0])
    assert "initial_state='learned'" in repr(lstm)
    trained, again = learner(), LSTM(D, H, initial_state="learned")
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(T, B, D)
    assert torch.equal(again(x)[0], trained(x)[0])
    assert torch.equal(copy.deepcopy(trained)(x)[0], trained(x)[0])
    trained.reset_parameters()
    assert not trained.c_0.any()
    assert trained.weight_hh_l0.any()


def test_half_types_and_other_devices_have_them_too() -> None:
    half = learner().bfloat16()
    x = torch.randn(T, B, D)
    assert torch.equal(half(x.bfloat16())[0], half(x.bfloat16(), expanded(half, B))[0])
    lstm = learner()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lstm(x)[0], lstm(x, expanded(lstm, B))[0])
        start, anew = torch.zeros(T, B, dtype=torch.bool), x.bfloat16()  # as of a layer before this one
        start[2] = True
        y, _ = lstm(anew, reset=start)
        assert torch.equal(y, lstm(anew, reset=start, reset_to=(lstm.h_0, lstm.c_0))[0])
        assert torch.equal(y[2:], lstm(anew[2:])[0])
        y.float().sum().backward()
        assert lstm.c_0.grad.abs().min() > 0
    states = [state[0] for state in expanded(lstm, B)]
    ours = recompute.sequence(x, *states, lstm.layer_weights(0))[0]
    torch.testing.assert_close(ours, lstm(x)[0])


def test_streams_start_from_them_and_return_to_them() -> None:
    lstm = learner(num_layers=2, proj_size=P)
    x = torch.randn(T, D)
    y = lstm(x)[0].detach().numpy()
    for stream in (lstm.stream(sessions=2), Stream.from_weights(lstm.state_dict(), sessions=2)):
        for _ in range(2):
            np.testing.assert_array_equal(stream.run(x.numpy(), 1), y)
            stream.reset(1)
        np.testing.assert_array_equal(stream.copy().run(x.numpy(), 0), y)
    one = {name: value for name, value in lstm.state_dict().items() if name != "c_0"}
    with pytest.raises(GatewrightError, match="weights: expected both of h_0 and c_0, or neither, got h_0"):
        Stream.from_weights(one)
    with pytest.raises(GatewrightError, match=r"state\.hidden: expected float32 \(2, 2\), got float32 \(1, 2\)"):
        Stream.from_weights(lstm.state_dict() | {"h_0": lstm.h_0.detach()[:1]})


def test_recordings_and_what_ifs_start_from_them() -> None:
    lstm, x = learner(), torch.randn(T, 1, D)
    recording = look(lstm, x)
    np.testing.assert_array_equal(recording.layers[0].forward.cell_initial, lstm.c_0.detach().numpy())
    changed = intervene(lstm, x, edit_cell={0: (T - 1, 0, 2.0)})
    np.testing.assert_array_equal(
        changed.layers[0].forward.cell[: T - 1], recording.layers[0].forward.cell[: T - 1]
    )


def test_what_cannot_learn_them_says_so() -> None:
    with pytest.raises(GatewrightError, match='initial_state: expected "zeros" or "learned", got \'ones\''):
        LSTM(D, H, initial_state="ones")
    with pytest.raises(GatewrightError, match="initial_state: expected 'zeros', or a layer whose h_0"):
        convert(learner(), back=True)
    ours, _ = convert(torch.nn.LSTM(D, H))
    assert ours.initial_state == "zeros"
    assert not hasattr(convert(ours, back=True)[0], "initial_state")


def test_a_compiled_layer_starts_from_them() -> None:
    lstm, x = learner(), torch.randn(T, B, D)
    compiled = torch.compile(lstm, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x)[0], lstm(x)[0])
