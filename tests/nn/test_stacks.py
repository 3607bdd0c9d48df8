"""Layers of unequal size and residual connections, against a loop of torch's layers, one by one."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatewright import LSTM, Carry, CellSpec, GatewrightError, convert, tbptt
from gatewright.nn import init
from tests.support.other_device import run_as_elsewhere

T, B, D = 5, 3, 3
STACKS: list[dict[str, Any]] = [
    {"hidden_size": [5, 4, 2]},
    {"hidden_size": [2, 9], "bidirectional": True},
    {"hidden_size": [5, 3, 4], "proj_size": 2, "residual": True},
    {"hidden_size": 4, "num_layers": 3, "residual": True},
    {"hidden_size": [4, 4], "bidirectional": True, "residual": True, "bias": False},
]


def stack(options: dict[str, Any], **more: Any) -> LSTM:
    torch.manual_seed(0)
    return LSTM(D, **options, dtype=torch.float64, **more)


def torchs(lstm: LSTM) -> list[nn.LSTM]:
    """One layer of torch's for each, with the same weights."""
    layers, width = [], lstm.input_size
    for n, H in enumerate(lstm.hidden_sizes):
        layer = nn.LSTM(
            *(width, H),
            bias=lstm.bias,
            bidirectional=lstm.bidirectional,
            proj_size=lstm.proj_size,
            dtype=torch.float64,
        )
        names = [name for name, _ in layer.named_parameters()]
        layer.load_state_dict({name: lstm.state_dict()[name.replace("_l0", f"_l{n}")] for name in names})
        layers.append(layer)
        width = (lstm.proj_size or H) * (2 if lstm.bidirectional else 1)
    return layers


def of_layer(lstm: LSTM, state: Any, n: int) -> Tensor:
    directions = 2 if lstm.bidirectional else 1
    return state[n] if isinstance(state, tuple) else state[n * directions : (n + 1) * directions]


def judged(lstm: LSTM, layers: list[nn.LSTM], x: Any, hx: Any = None) -> list[Tensor]:
    """Output and states of the loop: y, h of each layer, c of each layer."""
    h_n, c_n = [], []
    for n, layer in enumerate(layers):
        state = None if hx is None else tuple(of_layer(lstm, each, n) for each in hx)
        y, (h, c) = layer(x, state)
        if n and lstm.residual:
            y = PackedSequence(y.data + x.data, *y[1:]) if isinstance(x, PackedSequence) else y + x
        x = y
        h_n.append(h)
        c_n.append(c)
    return [pad_packed_sequence(x)[0] if isinstance(x, PackedSequence) else x, *h_n, *c_n]


def results(lstm: LSTM, x: Any, hx: Any = None, **options: Any) -> list[Tensor]:
    y, states = lstm(x, hx, **options)[:2]
    y = pad_packed_sequence(y)[0] if isinstance(y, PackedSequence) else y
    layers = range(lstm.num_layers)
    return [y, *(of_layer(lstm, state, n) for state in states for n in layers)]


def states(lstm: LSTM, rows: int = B) -> Any:
    """Random states in the form that the layer has."""
    _, hx = lstm(torch.zeros(1, rows, D, dtype=torch.float64))
    return tuple(
        torch.randn_like(each) if isinstance(each, Tensor) else tuple(map(torch.randn_like, each)) for each in hx
    )


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def gradients(outputs: list[Tensor], wrt: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(1)
    loss = sum((each * torch.randn_like(each)).sum() for each in outputs)
    return list(torch.autograd.grad(loss, wrt, retain_graph=True))


@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("form", ["padded", "packed", "recorded", "checkpoint"])
def test_outputs_and_gradients_are_those_of_a_loop_of_layers(options: dict[str, Any], form: str) -> None:
    lstm = stack(options, checkpoint=2 if form == "checkpoint" else 0)
    layers, hx = torchs(lstm), states(lstm)
    x = torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)
    given: Any = pack_padded_sequence(x, [2, 5, 3], enforce_sorted=False) if form == "packed" else x
    ours = results(lstm, given, hx, **({"record": True} if form == "recorded" else {}))
    theirs = judged(lstm, layers, given, hx)
    assert_close(ours, theirs)
    if form != "checkpoint":
        assert_close([lstm(given, hx, record=True)[2].output], theirs[:1])
    of_torch = [weight for layer in layers for weight in layer.parameters()]
    assert_close(gradients(ours, [x, *lstm.parameters()]), gradients(theirs, [x, *of_torch]))


@pytest.mark.parametrize("options", STACKS)
def test_unbatched_and_batch_first_input_and_zeros(options: dict[str, Any]) -> None:
    lstm, swapped = stack(options), stack(options, batch_first=True)
    x = torch.randn(T, B, D, dtype=torch.float64)
    assert_close(results(lstm, x), judged(lstm, torchs(lstm), x))
    y, state = swapped(x.transpose(0, 1))
    assert torch.equal(y.transpose(0, 1), lstm(x)[0])
    y, (h, c) = lstm(x[:, 1], tuple(_row(each, 1) for each in state))
    expected, (h_n, c_n) = lstm(x, state)
    assert torch.equal(y, expected[:, 1])
    for ours, all_rows in ((h, h_n), (c, c_n)):
        assert [tuple(a.shape) for a in _parts(ours)] == [(a.shape[0], a.shape[2]) for a in _parts(all_rows)]
        assert all(torch.equal(a, b[:, 1]) for a, b in zip(_parts(ours), _parts(all_rows), strict=True))


def _parts(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def _row(state: Any, row: int) -> Any:
    return tuple(each[:, row] for each in state) if isinstance(state, tuple) else state[:, row]


def test_one_tensor_for_a_state_unless_sizes_differ() -> None:
    x = torch.randn(T, B, D)
    assert [type(each) for each in LSTM(D, [4, 4], residual=True)(x)[1]] == [Tensor, Tensor]
    assert [type(each) for each in LSTM(D, [4, 3], proj_size=2)(x)[1]] == [tuple, tuple]
    torch.manual_seed(3)
    ours = LSTM(D, [4, 4])
    torch.manual_seed(3)
    assert str(ours) == str(LSTM(D, 4, 2))
    torch.manual_seed(3)
    theirs = nn.LSTM(D, 4, 2)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_initial_weights_are_those_of_each_layer_alone() -> None:
    torch.manual_seed(3)
    ours = LSTM(D, [5, 4, 2], bidirectional=True)
    torch.manual_seed(3)
    layers = [nn.LSTM(width, H, bidirectional=True) for width, H in ((D, 5), (10, 4), (8, 2))]
    weights = [weight for layer in layers for weight in layer.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), weights, strict=True))
    init.forget_bias_(ours, 2.0)
    assert [ours.get_parameter(f"bias_ih_l{n}")[H : 2 * H].tolist() for n, H in enumerate((5, 4, 2))] == [
        [2.0] * 5,
        [2.0] * 4,
        [2.0] * 2,
    ]


@pytest.mark.parametrize("options", [STACKS[1], STACKS[2], STACKS[4]])
def test_lengths_masks_and_resets(options: dict[str, Any]) -> None:
    """A row is that of its own steps; a reset is the start of another sequence."""
    lstm = stack(options)
    x = torch.randn(T, B, D, dtype=torch.float64)
    hx, to = states(lstm), tuple(_row(each, 0) for each in states(lstm))
    lengths = torch.tensor([5, 3, 0])
    y, state = lstm(x, hx, lengths=lengths)
    for b in (0, 1):
        alone, of_row = lstm(x[: lengths[b], b], tuple(_row(each, b) for each in hx))
        assert_close([y[: lengths[b], b]], [alone])
        for a, each in zip(of_row, state, strict=True):
            assert_close(list(_parts(a)), list(_parts(_row(each, b))))
    assert not y[3:, 1].any()
    assert not y[:, 2].any()
    if lstm.bidirectional:
        return
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[2] = True
    y, _ = lstm(x, hx, reset=reset, reset_to=to)
    again = tuple(
        tuple(each[:, None].expand(-1, B, -1) for each in state)
        if isinstance(state, tuple)
        else state[:, None].expand(-1, B, -1)
        for state in to
    )
    assert_close([y], [torch.cat([lstm(x[:2], hx)[0], lstm(x[2:], again)[0]])])
    mask = torch.ones(T, B, dtype=torch.bool)
    mask[1:3] = False
    y, _ = lstm(x, hx, mask=mask)
    assert_close([y[[0, 3, 4]]], [lstm(x[[0, 3, 4]], hx)[0]])
    assert_close([y[1], y[2]], [y[0], y[0]])  # the sum that is carried


def test_dropout_is_on_what_a_layer_reads_and_not_on_what_is_added() -> None:
    lstm = LSTM(D, 4, 2, residual=True, dropout=0.5)
    x = torch.randn(T, B, D)
    torch.manual_seed(5)
    y = lstm(x)[0]
    torch.manual_seed(5)
    first, second = (LSTM(width, 4) for width in (D, 4))
    for n, layer in enumerate((first, second)):
        layer.load_state_dict(
            {name: lstm.state_dict()[name.replace("_l0", f"_l{n}")] for name in layer.state_dict()}
        )
    below = first(x)[0]
    torch.manual_seed(5)
    assert torch.equal(y, second(torch.dropout(below, 0.5, True))[0] + below)
    assert torch.equal(lstm.eval()(x)[0], second(below)[0] + below)


def test_no_bit_depends_on_rows_records_or_compute_by_steps() -> None:
    for compute in ("full", "bf16", "int8"):
        lstm = LSTM(D, [6, 5, 3], compute=compute)
        x = torch.randn(T, B, D)
        with torch.no_grad():
            y, state = lstm(x)
            hx, rows = None, []
            for t in range(T):
                step, hx = lstm(x[t : t + 1, :1], hx)
                rows.append(step)
            assert torch.equal(torch.cat(rows)[:, 0], y[:, 0])
            assert all(torch.equal(a[:, 0], b[:, 0]) for a, b in zip(hx[1], state[1], strict=True))
            if compute != "int8":
                recorded = lstm(x, record=True)
                assert torch.equal(recorded[0], y)
                assert [layer.cell.shape[-1] for layer in recorded[2].layers] == [6, 5, 3]


def test_learned_initial_states() -> None:
    lstm = stack(STACKS[0], initial_state="learned", bidirectional=True)
    names = [name for name, _ in lstm.named_parameters() if name.startswith(("h_0", "c_0"))]
    assert names == ["h_0_l0", "h_0_l1", "h_0_l2", "c_0_l0", "c_0_l1", "c_0_l2"]
    with torch.no_grad():
        for name in names:
            lstm.get_parameter(name).normal_()
    x = torch.randn(T, B, D, dtype=torch.float64)
    hx = tuple(
        tuple(lstm.get_parameter(f"{name}_l{n}")[:, None].expand(-1, B, -1) for n in range(3))
        for name in ("h_0", "c_0")
    )
    parameters = [lstm.get_parameter(name) for name in names]
    ours, theirs = results(lstm, x), results(lstm, x, hx)
    assert_close(ours + gradients(ours, parameters), theirs + gradients(theirs, parameters))
    pack = pack_padded_sequence(x, [5, 5, 5])
    assert_close(results(lstm, pack), ours)
    lstm.reset_parameters()
    assert not any(each.any() for each in parameters)


def test_a_reset_is_a_learned_start() -> None:
    lstm, x = stack(STACKS[0], initial_state="learned"), torch.randn(T, B, D, dtype=torch.float64)
    torch.nn.init.normal_(lstm.h_0_l2)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[0] = True
    assert_close(results(lstm, x, states(lstm), reset=reset), results(lstm, x))


def test_a_carry_and_chunks_keep_the_states_of_every_layer() -> None:
    lstm = stack(STACKS[0], initial_state="learned")
    torch.nn.init.normal_(lstm.c_0_l1)
    x = torch.randn(6, 3, D, dtype=torch.float64)
    whole = lstm(x)[0]
    carry = Carry(lstm)
    for ids in ([0, 1], [2, 0], [1, 2]):
        first = [3 if k in carry else 0 for k in ids]
        rows = torch.stack([x[t : t + 3, k] for t, k in zip(first, ids, strict=True)], dim=1)
        y, state = lstm(rows, carry.gather(ids))
        carry.store(ids, state)
        for n, (t, k) in enumerate(zip(first, ids, strict=True)):
            assert torch.equal(y[:, n], whole[t : t + 3, k])
    other = Carry(lstm)
    other.load_state_dict(carry.state_dict())
    assert torch.equal(other.gather([2])[1][2], carry.gather([2])[1][2])
    with pytest.raises(GatewrightError, match=r"^state: expected tensors of the shapes \[\(\(1, 1, 5\), "):
        carry.store([1], (torch.zeros(3, 1, 5), torch.zeros(3, 1, 5)))
    assert torch.equal(torch.cat([y for y, _ in tbptt(lstm, x, 4)]), whole)


def test_derivatives_of_every_kind() -> None:
    for options in ({"hidden_size": [3, 2], "proj_size": 1, "residual": True},):
        lstm = LSTM(2, **options, dtype=torch.float64)
        parameters = dict(lstm.named_parameters())
        x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
        hx = tuple(tuple(torch.randn_like(part).requires_grad_() for part in _parts(each)) for each in lstm(x)[1])
        flat = [part for each in hx for part in each]

        def call(x: Tensor, *flat: Tensor, lstm: Any = lstm, n: int = len(flat) // 2) -> tuple[Tensor, ...]:
            h, c = flat[:n], flat[n:]
            y, state = lstm(x, (h, c) if n > 1 else (h[0], c[0]))
            return y, *(part for each in state for part in _parts(each))

        assert torch.autograd.gradcheck(call, (x, *flat), fast_mode=True)
        assert torch.autograd.gradgradcheck(call, (x, *flat), fast_mode=True)

        def loss(weights: Any, row: Tensor, lstm: Any = lstm) -> Tensor:
            return torch.func.functional_call(lstm, weights, (row,))[0].square().sum()

        rows = x.detach().transpose(0, 1)
        per_row = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, rows)
        for b in range(2):
            alone = torch.autograd.grad(loss(parameters, rows[b]), list(parameters.values()))
            assert_close([each[b] for each in per_row.values()], list(alone))


def test_compiled_copied_and_saved() -> None:
    lstm = LSTM(D, [4, 3], bidirectional=True).eval()
    x = torch.randn(T, B, D)
    y, (h, c) = lstm(x)
    compiled = torch.compile(lstm, backend="eager", fullgraph=True)(x)
    buffer = io.BytesIO()
    torch.save(lstm.state_dict(), buffer)
    buffer.seek(0)
    other = LSTM(D, [4, 3], bidirectional=True)
    other.load_state_dict(torch.load(buffer))
    for outcome in (compiled, other(x), copy.deepcopy(lstm)(x)):
        assert torch.equal(outcome[0], y)
        assert all(torch.equal(a, b) for a, b in zip((*outcome[1][0], *outcome[1][1]), (*h, *c), strict=True))


def test_autocast_and_half_precision() -> None:
    for options in ({"hidden_size": [6, 4]}, {"hidden_size": 4, "num_layers": 2, "residual": True}):
        lstm, x = LSTM(D, **options), torch.randn(T, B, D)
        with torch.autocast("cpu", torch.bfloat16):
            y, state = lstm(x)
            expected = judged(lstm, _as(lstm, torch.float32), x)
        for a, b in zip([y, *(p for each in state for p in _parts(each))], _joined(lstm, expected), strict=True):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a.float(), b.float(), rtol=0, atol=2e-2)
        half = copy.deepcopy(lstm).bfloat16()
        y, state = half(x.bfloat16())
        assert {each.dtype for each in (y, *_parts(state[0]), *_parts(state[1]))} == {torch.bfloat16}


def _as(lstm: LSTM, dtype: torch.dtype) -> list[nn.LSTM]:
    return [layer.to(dtype) for layer in torchs(lstm)]


def _joined(lstm: LSTM, outputs: list[Tensor]) -> list[Tensor]:
    """Outputs of the loop, with states in the form of the layer."""
    y, states, L = outputs[0], outputs[1:], lstm.num_layers
    if len(set(lstm.hidden_sizes)) > 1:
        return outputs
    return [y, torch.cat(states[:L]), torch.cat(states[L:])]


def test_cells_with_features() -> None:
    cell = CellSpec(peephole=True, coupled=True, layer_norm=True)
    lstm = stack({"hidden_size": [5, 3]}, cell=cell)
    layers = [LSTM(width, H, cell=cell, dtype=torch.float64) for width, H in ((D, 5), (5, 3))]
    for n, layer in enumerate(layers):
        layer.load_state_dict(
            {name: lstm.state_dict()[name.replace("_l0", f"_l{n}")] for name in layer.state_dict()}
        )
    x = torch.randn(T, B, D, dtype=torch.float64)
    assert_close(results(lstm, x), judged(lstm, layers, x))
    lengths = torch.tensor([2, 0, 5])
    y = x
    for layer in layers:
        y = layer(y, lengths=lengths)[0]
    assert_close([lstm(x, lengths=lengths)[0]], [y])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"hidden_size": []},
            r"^hidden_size: expected a whole number of at least 1, or one for each layer, got \[\]",
        ),
        ({"hidden_size": [4, 0]}, r"^hidden_size: .*got \[4, 0\]"),
        ({"hidden_size": [4, 2.0]}, r"^hidden_size: .*got \[4, 2.0\]"),
        (
            {"hidden_size": [4, 2], "num_layers": 3},
            r"^num_layers: expected 2, the number of hidden sizes, or none",
        ),
        ({"hidden_size": [4, 2], "residual": True}, r"^residual: expected False, or layers of one hidden_size"),
        ({"hidden_size": 4, "residual": True}, r"^residual: expected False for one layer, or two layers or more"),
        ({"hidden_size": [4, 4], "residual": 1}, r"^residual: expected True or False, got 1"),
    ],
)
def test_sizes_that_do_not_agree_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        LSTM(D, **options)
    with pytest.raises(ValueError, match="proj_size has to be smaller"):
        LSTM(D, [4, 2], proj_size=3)


def test_states_and_inputs_that_do_not_fit_are_refused() -> None:
    lstm, x = LSTM(D, [4, 2]), torch.randn(T, B, D)
    _, (h, c) = lstm(x)
    pack = pack_padded_sequence(x, [5, 4, 4])
    for hx in ((torch.zeros(2, B, 4), torch.zeros(2, B, 4)), (h[:1], c), (h, c[::-1]), (h, c, c), h[0], (h, None)):
        for given in (x, pack):
            with pytest.raises(
                GatewrightError, match=r"^hx: expected .* of the shapes \(\(\(1, 3, 4\), \(1, 3, 2\)\)"
            ):
                lstm(given, hx)
    reset = torch.zeros(T, B, dtype=torch.bool)
    with pytest.raises(GatewrightError, match=r"^reset_to: expected"):
        lstm(x, reset=reset, reset_to=(torch.zeros(2, 4), torch.zeros(2, 4)))
    with pytest.raises(RuntimeError, match=r"input.size\(-1\) must be equal to input_size"):
        lstm(x[..., :2])
    with pytest.raises(ValueError, match="does not match weight dtype"):
        lstm(x.double())
    with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
        lstm(x[:0])
    with pytest.raises(ValueError, match="2D or 3D"):
        lstm(x[0, 0])
    with pytest.raises(RuntimeError, match="Expected hidden"):
        LSTM(D, 4, 2, residual=True)(x, (torch.zeros(2, B, 3), torch.zeros(2, B, 3)))


def test_torchs_layer_has_neither() -> None:
    for layer, message in (
        (LSTM(D, [4, 2]), r"^hidden_size: expected one size for all layers, for torch's LSTM, got \[4, 2\]"),
        (LSTM(D, 4, 2, residual=True), r"^residual: expected False, for torch's LSTM"),
    ):
        with pytest.raises(GatewrightError, match=message):
            convert(layer, back=True)
    ours, _ = convert(nn.LSTM(D, 4, 2))
    back, _ = convert(ours, back=True)
    assert set(vars(back)) == set(vars(nn.LSTM(D, 4, 2)))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("options", [STACKS[1], STACKS[2]])
def test_other_devices_run_torchs_operator_layer_by_layer(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lstm = stack(options)
    layers, hx = torchs(lstm), states(lstm)
    x = torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)
    pack = pack_padded_sequence(x, [2, 5, 3], enforce_sorted=False)
    of_torch = [weight for layer in layers for weight in layer.parameters()]
    expected = [judged(lstm, layers, given, hx) for given in (x, pack)]
    d_expected = [gradients(each, [x, *of_torch]) for each in expected]
    run_as_elsewhere(monkeypatch)
    calls = []
    torchs_operator = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda *args: calls.append(args) or torchs_operator(*args))
    for record in (False, True):
        for given, theirs, d_theirs in zip((x, pack), expected, d_expected, strict=True):
            ours = results(lstm, given, hx, record=record) if record else results(lstm, given, hx)
            assert_close(ours, theirs)
            assert_close(gradients(ours, [x, *lstm.parameters()]), d_theirs)
    assert len(calls) >= 4 * lstm.num_layers
