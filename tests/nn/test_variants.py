"""`gatewright.equations` judges layers of every cell: values, records, gradients, training and evaluation."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright import LSTM, CellSpec, convert, equations
from gatewright.counter_random import WEIGHT_DROP, Place, hit
from gatewright.equations import Masks
from gatewright.errors import GatewrightError, SpecError
from gatewright.nn import fallback, precision, variant
from gatewright.nn.random_masks import Draws, new_seed
from gatewright.nn.variant_steps import Variant
from gatewright.spec import LayerWeights
from tests.support.variant_cells import CELLS, CLIPPED, TOGETHER, label

T, B, D, H = 4, 3, 2, 5
FIELDS = (*CellSpec().recorded(), "kept", "written")


def layer_of(cell: CellSpec, **options: Any) -> LSTM:
    torch.manual_seed(1)
    lstm = LSTM(D, H, cell=cell, dtype=torch.float64, **options)
    with torch.no_grad():  # gains and shifts at other values than 1 and 0
        for weight in lstm.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return lstm


def arrays(weights: LayerWeights) -> LayerWeights:
    return LayerWeights(*(None if W is None else W.detach().numpy() for W in weights))


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED], ids=label)
def test_a_layer_is_its_equations(cell: CellSpec) -> None:
    """Two layers of one direction, in training where the cell makes random choices, with all gradients."""
    lstm = layer_of(cell, num_layers=2)
    P = cell.proj_size or H
    x = torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)
    hx = [torch.randn(2, B, width, dtype=torch.float64, requires_grad=True) for width in (P, H)]
    random = any(cell.rates()[1:])
    torch.manual_seed(7)
    seed = int(new_seed())
    torch.manual_seed(7)
    y, (h_n, c_n), record = lstm(x, hx, record=True)
    d = [torch.randn_like(each) for each in (y, h_n, c_n)]
    torch.autograd.backward([y, h_n, c_n], d)

    below, records = x.detach().numpy(), []
    for k in range(2):
        options: dict[str, Any] = {"cell": cell, "masks": Masks(Place(seed, k)) if random else None}
        states = (each[k].detach().numpy() for each in hx)
        out, of_layer = equations.forward(below, arrays(lstm.layer_weights(k)), *states, **options)
        for name in FIELDS:
            got, expected = getattr(record.layers[k], name), getattr(of_layer, name)
            assert (got is None) == (expected is None)
            if got is not None:
                np.testing.assert_allclose(got.detach().numpy(), expected, rtol=0, atol=1e-14, err_msg=name)
        records.append((below, of_layer, options))
        below = out
    np.testing.assert_allclose(y.detach().numpy(), below, rtol=0, atol=1e-14)
    dy, dh_n, dc_n = (each.numpy() for each in d)
    for k in (1, 0):
        below, of_layer, options = records[k]
        weights = lstm.layer_weights(k)
        gradients = equations.backward(
            equations.OutputGradients(dy, dh_n[k], dc_n[k]), of_layer, below, arrays(weights), **options
        )
        dy = gradients.dx
        for name, W in zip(weights._fields, weights, strict=True):
            if W is not None:
                assert W.grad is not None
                expected = getattr(gradients, f"d{name}")
                np.testing.assert_allclose(W.grad.numpy(), expected, rtol=0, atol=1e-12, err_msg=name)
        for state, dstate in zip(hx, (gradients.dh_0, gradients.dc_0), strict=True):
            assert state.grad is not None
            np.testing.assert_allclose(state.grad[k].numpy(), dstate, rtol=0, atol=1e-12)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), dy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", [CELLS[0], CLIPPED, *(CellSpec(**features) for features in TOGETHER)], ids=label)
def test_directions_forms_of_input_and_repetition(cell: CellSpec) -> None:
    lstm = layer_of(cell, bidirectional=True, batch_first=True)
    x = torch.randn(B, T, D, dtype=torch.float64)
    torch.manual_seed(3)
    seed = int(new_seed())
    torch.manual_seed(3)
    y, (h_n, c_n) = lstm(x)
    P = cell.proj_size or H
    for direction in (0, 1):
        steps = x.numpy().transpose(1, 0, 2)[:: -1 if direction else 1]
        masks = Masks(Place(seed, 0, direction)) if any(cell.rates()[1:]) else None
        weights = arrays(lstm.layer_weights(0, reverse=direction == 1))
        expected, record = equations.forward(steps, weights, cell=cell, masks=masks)
        got = (
            y.detach()
            .numpy()
            .transpose(1, 0, 2)[:: -1 if direction else 1, :, P * direction : P * (direction + 1)]
        )
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)
        np.testing.assert_allclose(c_n[direction].detach().numpy(), record.c_n, rtol=0, atol=1e-14)
    torch.manual_seed(3)
    assert torch.equal(lstm(x)[0], y)
    torch.manual_seed(3)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(lstm)))
    assert torch.equal(twin(x)[0], y)

    lstm.eval()
    lengths = torch.tensor([2, 4, 1])
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    out, (h_n, c_n), record = lstm(packed, record=True)
    padded = pad_packed_sequence(out, batch_first=True)[0]
    for row, length in enumerate(lengths.tolist()):
        alone, (h_row, c_row) = lstm(x[row, :length])
        torch.testing.assert_close(padded[row, :length], alone, rtol=0, atol=1e-14)
        torch.testing.assert_close(h_n[:, row], h_row, rtol=0, atol=1e-14)
        torch.testing.assert_close(c_n[:, row], c_row, rtol=0, atol=1e-14)
    assert torch.equal(record.layers[0].hidden.transpose(0, 1), padded[..., :P])


def test_what_is_random_depends_on_the_numbers_of_rows_and_steps_alone() -> None:
    cell = CellSpec(zoneout_cell=0.4, zoneout_hidden=0.2, hidden_dropout=0.3, candidate_dropout=0.3)
    weights = layer_of(cell).layer_weights(0)
    x, h, c = (torch.randn(shape, dtype=torch.float64) for shape in ((T, B, D), (B, H), (B, H)))
    draws = Draws(torch.tensor(-(2**61), dtype=torch.int64), layer=2, direction=0)
    y, h_n, c_n, _ = fallback.sequence(x, h, c, weights, variant=Variant(cell, draws))
    some = draws._replace(row_ids=torch.tensor([2, 0]))
    part = fallback.sequence(x[:, [2, 0]], h[[2, 0]], c[[2, 0]], weights, variant=Variant(cell, some))[0]
    torch.testing.assert_close(part, y[:, [2, 0]], rtol=0, atol=1e-15)
    _, h_1, c_1, _ = fallback.sequence(x[:1], h, c, weights, variant=Variant(cell, draws))
    late = fallback.sequence(x[1:], h_1, c_1, weights, variant=Variant(cell, draws._replace(first_step=1)))
    torch.testing.assert_close(late[:3], (y[1:], h_n, c_n), rtol=0, atol=1e-15)
    expected, _ = equations.forward(
        x.numpy(), arrays(weights), h.numpy(), c.numpy(), cell=cell, masks=Masks(Place(-(2**61), 2))
    )
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-14)


def test_dropped_weights_are_those_of_the_counter_and_the_kernels_run_them() -> None:
    lstm, plain = layer_of(CellSpec(weight_drop=0.4), num_layers=2), layer_of(CellSpec(), num_layers=2)
    assert list(lstm.state_dict()) == list(plain.state_dict())
    x = torch.randn(T, B, D, dtype=torch.float64)
    torch.manual_seed(9)
    seed = int(new_seed())
    torch.manual_seed(9)
    y = lstm(x)[0]
    plain.load_state_dict(lstm.state_dict())
    for layer in range(2):
        dropped = hit(0.4, Place(seed, layer), WEIGHT_DROP, range(4 * H), [0], H)[:, 0]
        assert 0.2 < dropped.mean() < 0.6
        plain.get_parameter(f"weight_hh_l{layer}").detach().mul_(torch.from_numpy(~dropped / 0.6))
    torch.testing.assert_close(y, plain(x)[0], rtol=0, atol=1e-15)
    y.sum().backward()
    assert torch.equal(lstm.weight_hh_l1.grad == 0, torch.from_numpy(dropped))
    plain.load_state_dict(lstm.state_dict())
    assert torch.equal(lstm.eval()(x)[0], plain(x)[0])


def test_weights_and_their_names() -> None:
    cell = CellSpec(peephole=True, coupled=True, layer_norm=True)
    lstm = LSTM(3, 4, 2, bidirectional=True, cell=cell)
    expected = []
    for number, suffix in itertools.product((0, 1), ("", "_reverse")):
        shapes = cell.weights(8 if number else 3, 4)
        expected += [(f"{name}_l{number}{suffix}", shape) for name, shape in shapes.items()]
    assert [(name, tuple(W.shape)) for name, W in lstm.named_parameters()] == expected
    bound = 4**-0.5
    for name, weight in lstm.named_parameters():
        if "_ln_" in name:
            assert torch.equal(weight, torch.full_like(weight, float(name.startswith("weight"))))
        else:
            assert 0 < weight.abs().max() <= bound
            assert weight.std() > 0.1 * bound
    assert repr(lstm) == (
        "LSTM(3, 4, num_layers=2, bidirectional=True, cell=CellSpec(peephole=True, coupled=True, layer_norm=True))"
    )
    assert lstm.cell == cell
    assert LSTM(3, 4, cell=CellSpec()).cell == LSTM(3, 4).cell == CellSpec()
    assert LSTM(3, 4, bias=False, proj_size=2).cell == CellSpec(bias=False, proj_size=2)
    twin = LSTM(3, 4, 2, bidirectional=True, cell=cell)
    twin.load_state_dict(lstm.state_dict())
    x = torch.randn(2, 1, 3)
    assert torch.equal(twin(x)[0], lstm(x)[0])
    assert torch.equal(twin.double().float()(x)[0], lstm(x)[0])


def test_older_pickles_are_plain() -> None:
    lstm = LSTM(3, 4)
    state = lstm.__getstate__()
    assert "_variant" not in state
    assert lstm.cell == CellSpec()


def test_expanded_weights_have_rows_for_all_gates() -> None:
    """By a plain sum over the gates that are there: others are zeros."""
    for cell in CELLS:
        weights = layer_of(cell).layer_weights(0)
        four = variant.expanded(weights, cell)
        places = [CellSpec().gates().index(name) for name in cell.gates()]
        for field in ("W_ih", "W_hh", "b_ih", "b_hh", "w_ln"):
            whole, part = getattr(four, field), getattr(weights, field)
            assert (whole is None) == (part is None)
            if whole is not None:
                rows = whole.unflatten(0, (4, H))
                assert torch.equal(rows[places].flatten(0, 1), part)
                assert not rows[[k for k in range(4) if k not in places]].any()
        if cell.peephole:
            assert four.w_ch.shape == (3 * H,)
            reading = [place - (place == 3) for place in places if place != 2]
            assert torch.equal(four.w_ch.view(3, H)[reading].flatten(), weights.w_ch)


@pytest.mark.parametrize("compute", ["full", "bf16"])
def test_narrow_types_and_torch_transforms(compute: Any) -> None:
    cell = CellSpec(peephole=True, layer_norm=True, cell_clip=0.5)
    exact, lstm = layer_of(cell), LSTM(D, H, cell=cell, compute=compute)
    lstm.load_state_dict(exact.state_dict())
    x = torch.randn(T, B, D)
    y, _, record = lstm(x, record=True)
    assert (y - exact(x.double())[0]).abs().max() < (1e-6 if compute == "full" else 0.05)
    if compute == "bf16":
        options: dict[str, Any] = {"cell": cell, "compute": "bf16"}
        expected, _ = equations.forward(x.numpy(), arrays(lstm.layer_weights(0)), **options)
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=2e-3)
        assert record.layers[0].kept.dtype == record.layers[0].cell.dtype == torch.bfloat16
        return
    names = dict(exact.named_parameters())
    rows = torch.func.vmap(lambda row: torch.func.functional_call(exact, names, (row,))[0], in_dims=1, out_dims=1)
    torch.testing.assert_close(rows(x.double()), exact(x.double())[0], rtol=0, atol=1e-14)
    compiled = torch.compile(layer_of(cell), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x.double())[0], exact(x.double())[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED], ids=label)
def test_evaluation_and_second_derivatives(cell: CellSpec) -> None:
    lstm = layer_of(cell).eval()
    x = torch.randn(3, 2, D, dtype=torch.float64, requires_grad=True)
    expected, _ = equations.forward(x.detach().numpy(), arrays(lstm.layer_weights(0)), cell=cell)
    np.testing.assert_allclose(lstm(x)[0].detach().numpy(), expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradgradcheck(lambda x: lstm(x)[0], [x], fast_mode=True)


def test_without_kernels_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on other devices, whose arithmetic is torch's own."""
    cell = CellSpec(**TOGETHER[3], weight_drop=0.2)
    lstm, x = layer_of(cell), torch.randn(T, B, D, dtype=torch.float64)
    results = []
    for alone in (False, True):
        if alone:
            monkeypatch.setattr(precision, "arithmetic", lambda *_: None)
        torch.manual_seed(2)
        y, _, record = lstm(x, record=True)
        results.append((y, record.layers[0].kept))
        torch.manual_seed(2)
        assert torch.equal(lstm(x)[0], y)
    torch.testing.assert_close(*results, rtol=0, atol=1e-15)


def test_gradients_of_a_record_are_finite_where_nothing_is_kept_or_written() -> None:
    cell = CellSpec(gate_activation="hard_sigmoid", candidate_dropout=0.5, cell_clip=0.3)
    lstm, x = layer_of(cell), torch.randn(6, 2, D, dtype=torch.float64)
    with torch.no_grad():
        lstm.bias_ih_l0[H : 2 * H] = -100.0  # f is 0, and c, with the candidate dropped, is 0 too
    _, _, record = lstm(x, record=True)
    layer = record.layers[0]
    assert ((layer.cell == 0) & (layer.forget_gate == 0)).any()
    layer.kept.sum().backward()
    assert lstm.weight_ih_l0.grad.isfinite().all()


def test_contradictions_and_what_has_only_the_plain_cell_are_refused_by_name() -> None:
    peephole = CellSpec(peephole=True)
    for arguments, error, message in (
        ({"cell": "peephole"}, GatewrightError, r"^cell: expected a gatewright\.CellSpec"),
        ({"cell": CellSpec(proj_size=2), "proj_size": 3}, GatewrightError, r"^proj_size: expected 2"),
        ({"cell": CellSpec(zoneout_hidden=0.1), "proj_size": 3}, SpecError, r"^zoneout_hidden: expected 0"),
    ):
        with pytest.raises(error, match=message):
            LSTM(3, 4, **arguments)  # type: ignore[arg-type]
    lstm = LSTM(3, 4, cell=peephole)
    named = r"^cell: expected a plain LSTM cell for .*, got peephole"
    for use in (
        lambda: lstm.stream(weights="int8"),
        lambda: convert(torch.nn.Sequential(lstm), back=True),
    ):
        with pytest.raises(GatewrightError, match=named):
            use()
    with pytest.raises(RuntimeError, match="size"):
        lstm(torch.ones(2, 1, 4))
    with pytest.raises(RuntimeError, match="hidden"):
        lstm(torch.ones(2, 1, 3), (torch.ones(1, 1, 5), torch.ones(1, 1, 4)))
    with pytest.raises(ValueError, match="dtype"):
        lstm(torch.ones(2, 1, 3).double())
    for cell in (CellSpec(layer_norm=True), CellSpec(coupled=True), CellSpec(kind="slstm", heads=2)):
        layer = LSTM(3, 4, cell=cell)
        with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
            layer(torch.ones(0, 1, 3))
        other = torch.ones(1, 1, 4).double(), torch.ones(1, 1, cell.cell_state_size(4)).double()
        with pytest.raises(GatewrightError, match=r"^hx: expected torch.float32 tensors of the shapes"):
            layer(torch.ones(2, 1, 3), other)


@pytest.mark.parametrize(
    "cell",
    [
        CellSpec(cell_clip=0.3),
        CellSpec(gate_activation="hard_sigmoid", candidate_activation="hard_tanh"),
        CellSpec(output_activation="hard_tanh", candidate_activation="identity"),
    ],
    ids=lambda cell: cell.features()[0],
)
def test_rounding_of_what_bf16_keeps_moves_nothing_over_a_bound(cell: CellSpec) -> None:
    gradients = []
    for saved in ("bf16", "float32"):
        found = []
        for seed in range(10):
            torch.manual_seed(seed)
            layer = LSTM(4, 9, cell=cell, compute="bf16", saved=saved)
            x, dy = (2 * torch.randn(7, 3, 4)).requires_grad_(), torch.randn(7, 3, 9)
            found += torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], dy)
        gradients.append(found)
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
