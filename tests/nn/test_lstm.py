"""`LSTM` and `LSTMCell` against torch's own: results, gradients, errors, and life as a module."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, LSTMCell
from tests.support.examples import examples

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

T, B, D, H, P = 5, 3, 3, 5, 2
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
FORMS = ("batched", "unbatched", "packed sorted", "packed unsorted")
LENGTHS = {"packed sorted": [5, 3, 1], "packed unsorted": [2, 5, 3]}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pair(**options: Any) -> tuple[nn.LSTM, LSTM]:
    """torch's layer and ours, made from the same seed."""
    torch.manual_seed(0)
    theirs = nn.LSTM(D, H, **options)
    torch.manual_seed(0)
    return theirs, LSTM(D, H, **options)


def example(module: nn.LSTM, form: str, seed: int = 1) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Input data, before packing, and initial states that fit the module."""
    torch.manual_seed(seed)
    dtype = module.weight_ih_l0.dtype
    batch = () if form == "unbatched" else (B,)
    shape = (T, D) if form == "unbatched" else (B, T, D) if module.batch_first else (T, B, D)
    states = module.num_layers * (2 if module.bidirectional else 1)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    h_0 = torch.randn(states, *batch, module.proj_size or H, dtype=dtype, requires_grad=True)
    c_0 = torch.randn(states, *batch, H, dtype=dtype, requires_grad=True)
    return x, (h_0, c_0)


def packed(x: Tensor, form: str, batch_first: bool = False) -> Tensor | PackedSequence:
    if form not in LENGTHS:
        return x
    return pack_padded_sequence(x, LENGTHS[form], batch_first, enforce_sorted=form == "packed sorted")


def to_double(x: Tensor) -> Tensor:
    return x.detach().double().requires_grad_()


def results(out: tuple[Any, ...]) -> list[Tensor]:
    y, (h_n, c_n) = out[:2]
    return [y.data if isinstance(y, PackedSequence) else y, h_n, c_n]


def gradients(outputs: list[Tensor], wrt: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(2)
    loss = sum((output * torch.randn(output.shape).to(output)).sum() for output in outputs)
    return list(torch.autograd.grad(loss, wrt))


def relative_error(a: Tensor, judge: Tensor) -> float:
    assert a.shape == judge.shape
    return (a - judge).abs().max().item() / judge.abs().max().clamp(min=1e-30).item()


def assert_close(ours: list[Tensor], judge: list[Tensor], peer: list[Tensor] | None = None) -> None:
    """Hold ours, relative to the largest value, to the tolerance of its type; the judge may be more exact.

    No float32 layer is within that where sums nearly cancel: there, up to twice the error of a peer.
    """
    for a, b, c in zip(ours, judge, peer or judge, strict=True):
        assert relative_error(a, b) <= max(TOLERANCE[a.dtype], 2 * relative_error(c, b))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch_first", [False, True], ids=["", "batch_first"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", ""])
@pytest.mark.parametrize("proj_size", [0, P])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["", "bidirectional"])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_results_and_gradients_are_those_of_torch(
    num_layers: int, bidirectional: bool, proj_size: int, bias: bool, batch_first: bool, form: str
) -> None:
    theirs, narrow = pair(
        num_layers=num_layers,
        bidirectional=bidirectional,
        proj_size=proj_size,
        bias=bias,
        batch_first=batch_first,
    )
    x32, hx32 = example(narrow, form)
    x64, hx64 = to_double(x32), (to_double(hx32[0]), to_double(hx32[1]))
    peer = results(theirs(packed(x32, form, batch_first), hx32))
    d_peer = gradients(peer, [x32, *hx32, *theirs.parameters()])
    peer_without_state = results(theirs(packed(x32, form, batch_first)))
    judge = theirs.double()

    expected = results(judge(packed(x64, form, batch_first), hx64))
    d_expected = gradients(expected, [x64, *hx64, *judge.parameters()])
    without_state = results(judge(packed(x64, form, batch_first)))
    for ours, x, hx in ((narrow, x32, hx32), (copy.deepcopy(narrow).double(), x64, hx64)):
        if ours is not narrow:
            peer, d_peer, peer_without_state = expected, d_expected, without_state
        for record in (False, True):
            packs = packed(x, form, batch_first)
            out = ours(packs, hx, record=record)
            assert_close(results(out), expected, peer)
            assert_close(gradients(results(out), [x, *hx, *ours.parameters()]), d_expected, d_peer)
            assert all(result.dtype == x.dtype for result in results(out))
            if form in LENGTHS:
                for a, b in zip(out[0][1:], packs[1:], strict=True):
                    assert (a is b is None) or torch.equal(a, b)
        assert_close(results(ours(packed(x, form, batch_first), record=True)), without_state, peer_without_state)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "proj_size": P}])
def test_longer_and_wider_sequences_agree_too(options: dict[str, Any]) -> None:
    torch.manual_seed(3)
    theirs = nn.LSTM(17, 33, **options)
    ours = LSTM(17, 33, **options)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(67, 5, 17, requires_grad=True)
    x64 = to_double(x)
    expected = results(theirs.double()(x64))
    d_expected = gradients(expected, [x64])
    for record in (False, True):
        out = results(ours(x, record=record))
        assert_close(out, expected)
        assert_close(gradients(out, [x]), d_expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "proj_size": P}, {"batch_first": True}])
@pytest.mark.parametrize("rate", [0.4, 1.0])
def test_dropout_draws_the_same_masks(form: str, options: dict[str, Any], rate: float) -> None:
    theirs, ours = pair(num_layers=3, dropout=rate, dtype=torch.float64, **options)
    x, hx = example(ours, form)
    packs = packed(x, form, ours.batch_first)

    torch.manual_seed(4)
    expected = results(theirs(packs, hx))
    after = torch.get_rng_state()
    for record in (False, True):
        torch.manual_seed(4)
        assert_close(results(ours(packs, hx, record=record)), expected)
        assert torch.equal(torch.get_rng_state(), after)
    if rate < 1:
        torch.manual_seed(5)
        assert not torch.allclose(results(ours(packs, hx, record=True))[0], expected[0])

    theirs.eval()
    ours.eval()
    assert_close(results(ours(packs, hx, record=True)), results(theirs(packs, hx)))


@given(
    num_layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    proj_size=st.integers(0, H - 1),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
@settings(max_examples=30, deadline=None)
def test_parameters_are_those_of_torch(**options: Any) -> None:
    theirs, ours = pair(**options)
    expected = dict(theirs.named_parameters())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, expected[name])
        assert parameter.dtype == expected[name].dtype
    assert repr(ours) == repr(theirs)


def test_construction_errors_are_those_of_torch() -> None:
    for options in ({"proj_size": 5}, {"dropout": 1.5}, {"bias": 1}, {"num_layers": 0}):
        with pytest.raises((ValueError, TypeError)) as theirs:
            nn.LSTM(D, H, **options)
        with pytest.raises(theirs.type, match=str(theirs.value)[:20]):
            LSTM(D, H, **options)


def outcome(module: nn.Module, *args: Any, **options: Any) -> tuple[type[Exception], str] | None:
    try:
        module(*args, **options)
    except Exception as error:
        return type(error), str(error)
    return None


sizes = st.integers(0, 4)


@pytest.mark.slow
@given(
    x=st.one_of(
        st.tuples(sizes, sizes, st.sampled_from([D, D, 2])),
        st.tuples(sizes, st.sampled_from([D, D, 2])),
        st.lists(sizes, max_size=4).map(tuple),
    ),
    h=st.tuples(st.sampled_from([2, 2, 2, 1]), st.sampled_from([B, B, 2, 0]), st.sampled_from([H, H, P, 4])),
    c=st.tuples(st.sampled_from([2, 2, 2, 1]), st.sampled_from([B, B, 2, 0]), st.sampled_from([H, H, 4])),
    dims=st.sampled_from([(3, 3), (2, 2), (2, 3), None]),
    proj_size=st.sampled_from([0, P]),
    batch_first=st.booleans(),
)
@settings(max_examples=examples(120), deadline=None)
def test_a_wrong_shape_raises_the_error_that_torch_raises(
    x: tuple[int, ...],
    h: tuple[int, ...],
    c: tuple[int, ...],
    dims: tuple[int, int] | None,
    proj_size: int,
    batch_first: bool,
) -> None:
    theirs, ours = pair(bidirectional=True, proj_size=proj_size, batch_first=batch_first)
    hx = None
    if dims is not None:
        h = h if dims[0] == 3 else (h[0], h[2])
        c = c if dims[1] == 3 else (c[0], c[2])
        hx = (torch.zeros(h), torch.zeros(c))
    expected = outcome(theirs, torch.zeros(x), hx)
    assert outcome(ours, torch.zeros(x), hx) == expected
    assert outcome(ours, torch.zeros(x), hx, record=True) == expected


@given(
    width=st.sampled_from([D, 2]),
    trailing=st.sampled_from([(), (2,)]),
    given_hx=st.booleans(),
    form=st.sampled_from(sorted(LENGTHS)),
)
@settings(deadline=None)
def test_a_wrong_packed_input_raises_the_error_that_torch_raises(
    width: int, trailing: tuple[int, ...], given_hx: bool, form: str
) -> None:
    theirs, ours = pair(bidirectional=True)
    x = packed(torch.zeros(T, B, *trailing, width), form)
    hx = (torch.zeros(2, B, H), torch.zeros(2, B, H)) if given_hx else None
    expected = outcome(theirs, x, hx)
    assert (expected is None) == (width == D and not trailing)
    assert outcome(ours, x, hx) == expected
    assert outcome(ours, x, hx, record=True) == expected


@given(
    h=st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([H, H, 4])),
    c=st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([H, H, 4, 1])),
    dims=st.integers(2, 3),
    form=st.sampled_from(sorted(LENGTHS)),
    record=st.booleans(),
)
@settings(deadline=None)
def test_a_wrong_state_for_packed_input_raises(
    h: tuple[int, ...], c: tuple[int, ...], dims: int, form: str, record: bool
) -> None:
    # torch is not asked here: its operator crashes on some of these.
    _, ours = pair(bidirectional=True)
    hx = (torch.zeros(h[-dims:]), torch.zeros(c[-dims:]))
    error = outcome(ours, packed(torch.zeros(T, B, D), form), hx, record=record)
    if (*h, *c, dims) == (2, B, H, 2, B, H, 3):
        assert error is None
    else:
        assert error is not None
        assert error[0] is RuntimeError
        assert re.match(r"Expected hidden\[[01]\] size \(2, 3, 5\), got \[", error[1])


def test_a_wrong_type_raises_the_error_that_torch_raises() -> None:
    theirs, ours = pair()
    x, state, double = torch.zeros(T, B, D), torch.zeros(1, B, H), torch.zeros(1, B, H, dtype=torch.float64)
    inputs: list[tuple[Any, Any]] = [(x.double(), None), (x, state), (x, [state]), (x, (state, state, state))]
    inputs += [(x, (double, state)), (x, (state, double)), (x, torch.zeros(2, 1, B, H)), (None, None)]
    for args in inputs:
        expected = outcome(theirs, *args)
        assert expected is not None
        assert outcome(ours, *args) == expected
        assert outcome(ours, *args, record=True) == expected
    assert outcome(ours, x, [state, state], record=True) is None

    narrow = (state.double(), state)  # torch lets this one pass
    with pytest.raises(GatewrightError, match=r"hx: expected .*float64.* got .*float32"):
        ours.double()(x.double(), narrow, record=True)


@pytest.mark.parametrize("record", [False, True])
def test_no_steps_raise_and_no_rows_pass_as_in_torch(record: bool) -> None:
    ours = LSTM(D, H, 2, bidirectional=True, proj_size=P)
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
        ours(torch.zeros(0, B, D), record=record)
    y, (h_n, c_n) = ours(torch.zeros(T, 0, D), record=record)[:2]
    assert (y.shape, h_n.shape, c_n.shape) == ((T, 0, 2 * P), (4, 0, P), (4, 0, H))


@pytest.mark.parametrize("record", [False, True])
def test_copies_run_as_the_original(record: bool) -> None:
    _, ours = pair(num_layers=2, bidirectional=True)
    x, hx = example(ours, "batched")
    expected = results(ours(x, hx, record=record))
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    copies = [
        copy.deepcopy(ours),
        pickle.loads(pickle.dumps(ours)),
        torch.load(file, weights_only=False),
    ]
    with torch.no_grad():
        ours.weight_hh_l0.zero_()
    for other in copies:
        assert type(other) is LSTM
        assert_close(results(other(x, hx, record=record)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("record", [False, True])
def test_half_precision_runs_near_full_precision(dtype: torch.dtype, record: bool) -> None:
    _, ours = pair(num_layers=2)
    x, hx = example(ours, "batched")
    expected = results(ours(x, hx))
    ours = ours.half() if dtype == torch.float16 else ours.bfloat16()
    out = ours(x.to(dtype), (hx[0].to(dtype), hx[1].to(dtype)), record=record)
    for a, b in zip(results(out), expected, strict=True):
        assert a.dtype == dtype
        assert (a - b).abs().max() < 0.03 * b.abs().max()
    if record:
        assert out[2].layers[1].forget_gate.dtype == dtype


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.slow
def test_to_moves_and_casts(record: bool) -> None:
    theirs, ours = pair()
    theirs.double()
    assert ours.to(torch.float64) is ours
    x, hx = example(ours, "batched")
    assert_close(results(ours(x, hx, record=record)), results(theirs(x, hx)))
    y = ours.to("meta")(x.to("meta"), record=record)[0]
    assert y.device.type == "meta"
    assert y.shape == (T, B, H)


@pytest.mark.parametrize("record", [False, True])
def test_autocast_runs(record: bool) -> None:
    _, ours = pair(num_layers=2)
    x, _ = example(ours, "batched")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ours(x, record=record)[0]
    assert (y - ours(x)[0]).abs().max() < 0.03


@pytest.mark.parametrize("record", [False, True])
def test_functional_call_uses_the_given_weights(record: bool) -> None:
    theirs, ours = pair(num_layers=2)
    x, hx = example(ours, "batched")
    other = {name: torch.randn_like(p, requires_grad=True) for name, p in ours.named_parameters()}
    expected = results(torch.func.functional_call(theirs, other, (x, hx)))
    out = results(torch.func.functional_call(ours, other, (x, hx), {"record": record}))
    assert_close(out, expected)
    assert_close(gradients(out, [*other.values()]), gradients(expected, [*other.values()]))
    assert_close(results(ours(x, hx, record=record)), results(theirs(x, hx)))


@pytest.mark.parametrize("record", [False, True])
def test_training_with_clipped_gradients_follows_torch(record: bool) -> None:
    theirs, ours = pair(dtype=torch.float64)
    x, _ = example(ours, "batched")
    for module in (theirs, ours):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
        options = {"record": record} if module is ours else {}
        for _ in range(3):
            optimizer.zero_grad()
            module(x.detach(), **options)[0].square().sum().backward()
            nn.utils.clip_grad_norm_(module.parameters(), 0.1)
            optimizer.step()
    assert_close([*ours.parameters()], [*theirs.parameters()])


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "proj_size": P, "bias": False}])
def test_state_dicts_load_both_ways(options: dict[str, Any]) -> None:
    theirs, ours = pair(**options)
    for source, target in itertools.permutations((theirs, ours)):
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.normal_()
        assert not torch.equal(source.weight_hh_l0, target.weight_hh_l0)
        target.load_state_dict(source.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
        x, hx = example(ours, "batched")
        assert_close(results(ours(x, hx, record=True)), results(theirs(x, hx)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(B, D), (D,)])
def test_cell_is_that_of_torch(bias: bool, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    theirs = nn.LSTMCell(D, H, bias, dtype=dtype)
    torch.manual_seed(0)
    ours = LSTMCell(D, H, bias, dtype=dtype)
    assert isinstance(ours, nn.LSTMCell)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))

    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    hx = tuple(torch.randn(*shape[:-1], H, dtype=dtype, requires_grad=True) for _ in range(2))
    expected, out = [*theirs(x, hx)], [*ours(x, hx)]
    assert_close(out, expected)
    wrt = [x, *hx]
    assert_close(gradients(out, [*wrt, *ours.parameters()]), gradients(expected, [*wrt, *theirs.parameters()]))
    assert_close([*pickle.loads(pickle.dumps(ours))(x)], [*theirs(x)])
    assert_close([*copy.deepcopy(ours)(x)], [*theirs(x)])


@given(x=st.lists(sizes, max_size=3), h=st.lists(sizes, max_size=3))
@settings(max_examples=50, deadline=None)
def test_a_wrong_cell_shape_raises_the_error_that_torch_raises(x: list[int], h: list[int]) -> None:
    hx = (torch.zeros(h), torch.zeros(h))
    assert outcome(LSTMCell(3, 4), torch.zeros(x), hx) == outcome(nn.LSTMCell(3, 4), torch.zeros(x), hx)
