"""Chunks of a long sequence: against the loop that a user would write, with its own detach."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils._pytree import tree_map

from gatewright import LSTM, GatewrightError, tbptt

T, B, D, H, CHUNK = 11, 2, 3, 4, 4


class OfDicts(nn.Module):
    """A module of two layers, whose state is a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = LSTM(D, H), nn.GRU(H, H)

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        hx = hx or {"first": None, "second": [None]}
        y, first = self.first(x, hx["first"])
        y, second = self.second(y, hx["second"][0])
        return y, {"first": first, "second": [second]}


def tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    return [each for part in (state.values() if isinstance(state, dict) else state) for each in tensors(part)]


LAYERS = {
    "ours": lambda: LSTM(D, H, 2, initial_state="learned"),
    "ours, batch first": lambda: LSTM(D, H, batch_first=True, compute="bf16"),
    "torch": lambda: nn.LSTM(D, H, proj_size=2),
    "gru": lambda: nn.GRU(D, H, batch_first=True),
    "module": OfDicts,
}


def stepped(layer: nn.Module, y: Tensor, state: Any, target: Tensor) -> list[Tensor]:
    """Take a step of gradient descent; return what it was about."""
    layer.zero_grad()
    ((y - target).square().mean() + sum(each.sum() for each in tensors(state))).backward()
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    return [each.detach() for each in (y, *tensors(state))]


def by_hand(layer: nn.Module, pieces: list[tuple[Tensor, Tensor]], time: int) -> list[Tensor]:
    results, state = [], None
    for piece, along in pieces:
        for x, target in zip(piece.split(CHUNK, time), along.split(CHUNK, time), strict=True):
            state = None if state is None else tree_map(Tensor.detach, state)
            y, state = layer(x, state)
            results += stepped(layer, y, state, target)
    return results


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("form", ["whole", "pieces", "unbatched"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_training_is_that_of_a_loop_by_hand(name: str, form: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    judge = copy.deepcopy(layer)
    time = 1 if getattr(layer, "batch_first", False) and form != "unbatched" else 0
    shape = [T] if form == "unbatched" else [B, T] if time else [T, B]
    x, target = torch.randn(*shape, D), torch.randn(*shape, 1)
    pieces = [(x, target)]
    if form == "pieces":
        pieces = list(zip(x.split([6, 5], time), target.split([6, 5], time), strict=True))
    chunks = tbptt(layer, iter(pieces), CHUNK) if form == "pieces" else tbptt(layer, x, CHUNK, target)
    results = [each for y, state, wanted in chunks for each in stepped(layer, y, state, wanted)]
    expected = by_hand(judge, pieces, time)
    assert len(results) == len(expected) >= 3 * 2
    both = zip([*results, *layer.parameters()], [*expected, *judge.parameters()], strict=True)
    assert all(torch.equal(a, b) for a, b in both)


def test_values_are_those_of_the_whole_sequence_and_gradients_end_at_their_chunk() -> None:
    torch.manual_seed(1)
    lstm, x = LSTM(D, H), torch.randn(T, B, D, requires_grad=True)
    h_0, c_0 = (torch.randn(1, B, H, requires_grad=True) for _ in range(2))
    parts = list(tbptt(lstm, x, CHUNK, hx=(h_0, c_0)))
    whole, (_, c_n) = lstm(x, (h_0, c_0))
    assert torch.equal(torch.cat([y for y, _ in parts]), whole)
    assert torch.equal(parts[-1][1][1], c_n)
    dx, dc_0 = torch.autograd.grad(parts[1][0].sum(), (x, c_0), allow_unused=True)
    assert dx.any(-1).any(-1).tolist() == [False] * 4 + [True] * 4 + [False] * 3
    assert dc_0 is None
    assert torch.autograd.grad(parts[0][0].sum(), c_0)[0].all()


def test_a_piece_is_read_and_run_when_its_turn_comes() -> None:
    events: list[str] = []
    lstm = LSTM(D, H)
    lstm.register_forward_hook(lambda *_: events.append("run"))

    def pieces() -> Iterator[Tensor]:
        for n in range(2):
            events.append(f"read {n}")
            yield torch.zeros(5, B, D)

    chunks = tbptt(lstm, pieces(), CHUNK)
    assert events == []
    for y, _ in chunks:
        events.append(f"step {len(y)}")
    assert events == ["read 0", "run", "step 4", "run", "step 1", "read 1", "run", "step 4", "run", "step 1"]


def test_arguments_along_the_sequence_are_cut_with_it() -> None:
    calls = []

    def layer(x: Tensor, hx: Any, **options: Any) -> tuple[Tensor, None]:
        calls.append((x.flatten().tolist(), {name: each.tolist() for name, each in options.items()}))
        return x, None

    x, mask = torch.arange(5), torch.tensor([True, False, True, True, False])
    list(tbptt(layer, x, 2, mask=mask, lengths=torch.tensor([3, 0])))
    assert calls == [
        ([0, 1], {"mask": [True, False], "lengths": [2, 0]}),
        ([2, 3], {"mask": [True, True], "lengths": [1, 0]}),
        ([4], {"mask": [False], "lengths": [0, 0]}),
    ]


def test_rows_with_steps_and_resets_of_their_own_are_those_of_the_whole_sequence() -> None:
    torch.manual_seed(2)
    lstm, x = LSTM(D, H, batch_first=True), torch.randn(3, T, D)
    options = {
        "lengths": torch.tensor([11, 0, 6]),
        "mask": torch.rand(3, T) < 0.7,
        "reset": torch.rand(3, T) < 0.2,
        "reset_to": (torch.randn(1, H), torch.randn(1, H)),
    }
    parts = list(tbptt(lstm, x, CHUNK, **options))
    whole, (h_n, c_n) = lstm(x, **options)
    assert torch.equal(torch.cat([y for y, _ in parts], dim=1), whole)
    assert torch.equal(parts[-1][1][0], h_n)
    assert torch.equal(parts[-1][1][1], c_n)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_lengths_of_a_narrow_type_end_rows_where_they_do(dtype: torch.dtype) -> None:
    lstm, x, lengths = LSTM(1, 1), torch.randn(300, 3, 1), torch.tensor([2, 127, 0], dtype=dtype)
    whole, (h_n, _) = lstm(x, lengths=lengths)  # 300 is 44 in such types
    assert torch.equal(whole, lstm(x, lengths=lengths.long())[0])
    parts = list(tbptt(lstm, x, 100, lengths=lengths))  # 2 - 200 is 58
    assert torch.equal(torch.cat([y for y, _ in parts]), whole)
    assert torch.equal(parts[-1][1][0], h_n)


def test_what_does_not_fit_is_refused_before_anything_runs() -> None:
    lstm, x = LSTM(D, H), torch.zeros(T, B, D)
    own = OfDicts()
    own.batch_first = True
    for arguments, options, message in (
        ((lstm, x, 0), {}, "chunk: expected a number of steps of at least 1, got 0"),
        ((LSTM(D, H, bidirectional=True), x, 2), {}, "layer: expected one that reads forward only"),
        ((lstm, pack_sequence([x[:, 0]]), 2), {}, "stream: expected a padded input"),
        ((lstm, x, 2, x[:3]), {}, "along: expected 11 steps in dimension 0, as in the input, got shape"),
        ((lstm, x, 2), {"mask": torch.ones(3, B)}, "mask: expected 11 steps"),
        ((lstm, x, 2), {"mask": [True] * T}, "mask: expected tensors along the input, got list"),
        (
            (lstm, x, 2),
            {"record": True},
            "record: expected False: a chunk gives its output and its state; for its",
        ),
        ((lstm, [x], 2), {"record": True}, "record: expected False"),
        (
            (lstm, x, 2),
            {"lengths": torch.ones(B, dtype=torch.int64, device="meta")},
            "lengths: expected a tensor with values, for an input on cpu, got one on the meta device",
        ),
        ((lstm, x, 2), {"lengths": [1] * B}, "lengths: expected a tensor of whole numbers, got list"),
        ((lstm, x, 2), {"lengths": torch.full((B,), 12)}, "lengths: expected numbers from 0 to 11"),
        ((lstm, x, 2, "targets"), {}, "along: expected tensors along the input, got str"),
        ((lstm, [x], 2, x), {}, "along: expected none with an iterable"),
        ((lstm, x, 2), {"dim": 3}, "dim: expected a dimension of an input"),
        ((own, x, 2), {}, "dim: expected the dimension of time, for a layer that is none of torch's"),
    ):
        with pytest.raises(GatewrightError, match=message):
            tbptt(*arguments, **options)
    with pytest.raises(GatewrightError, match="stream: expected pieces that are tensors"):
        list(tbptt(lstm, ["text"], 2))
    with pytest.raises(GatewrightError, match="layer: expected one whose state is of tensors"):
        list(tbptt(lambda x, _: (x, "state"), x, 2))
