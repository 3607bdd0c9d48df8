"""`gatewright.equations` judges layers of sLSTM cells, row by row, with every option of a layer."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright import LSTM, Carry, CellSpec, equations, tbptt
from gatewright.equations import Masks, OutputGradients, Place
from gatewright.errors import GatewrightError, SpecError
from gatewright.nn import operators, precision
from gatewright.nn.init import chrono_, forget_bias_
from gatewright.nn.random_masks import new_seed
from gatewright.spec import LayerWeights

T, B, D, H = 5, 3, 2, 6
CELLS = [
    CellSpec(kind="slstm"),
    CellSpec(kind="slstm", heads=2, forget_gate_activation="exponential", bias=False),
    CellSpec(kind="slstm", heads=3, hidden_dropout=0.4),
]
GATES = CellSpec().recorded()
SHAPES = ("test_schema", "test_faketensor")


def layer_of(cell: CellSpec, **options: Any) -> LSTM:
    torch.manual_seed(1)
    lstm = LSTM(D, H, cell=cell, **{"dtype": torch.float64, **options})
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
    return lstm


def states(*rows: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return h and [c | n | m] with n above 0."""
    c, n, m = torch.randn(*rows, H, dtype=dtype), 1 + torch.rand(*rows, H, dtype=dtype), torch.randn(*rows, H)
    h = torch.randn(*rows, H, dtype=dtype).tanh()
    return h.requires_grad_(), torch.cat([c, n, m.to(dtype)], -1).requires_grad_()


def arrays(weights: LayerWeights) -> LayerWeights:
    return LayerWeights(*(None if W is None else W.detach().double().numpy() for W in weights))


def close(a: Any, b: Any, atol: float = 1e-12, **options: Any) -> None:
    a, b = (each.detach().numpy() if isinstance(each, Tensor) else each for each in (a, b))
    np.testing.assert_allclose(a, b, rtol=0, atol=atol, **options)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.heads} heads")
def test_a_layer_is_its_equations(cell: CellSpec) -> None:
    """Two layers, in training, with the gradients of a loss that reads y, c, n, m and the record."""
    lstm = layer_of(cell, num_layers=2)
    x, hx = torch.randn(T, B, D, dtype=torch.float64, requires_grad=True), states(2, B)
    torch.manual_seed(7)
    seed = int(new_seed())
    torch.manual_seed(7)
    y, (h_n, c_n), record = lstm(x, hx, record=True)
    assert c_n.shape == (2, B, 3 * H)
    read = [[getattr(layer, name) for name in (*GATES, "cell_initial")] for layer in record.layers]
    outputs = [y, h_n, c_n, *read[0], *read[1]]
    d = [torch.randn_like(each) for each in outputs]
    torch.autograd.backward(outputs, d)

    below, records = x.detach().numpy(), []
    for k in range(2):
        options: dict[str, Any] = {"cell": cell, "masks": Masks(Place(seed, k)) if cell.is_random else None}
        out, expected = equations.forward(
            below, arrays(lstm.layer_weights(k)), *(each[k].detach().numpy() for each in hx), **options
        )
        for name in (*GATES, "cell_initial", "hidden_initial"):
            close(getattr(record.layers[k], name), getattr(expected, name), err_msg=name)
        close(c_n[k], expected.c_n)
        records.append((below, expected, options))
        below = out
    close(y, below)
    dy = d[0].numpy()
    for k in (1, 0):
        below, expected, options = records[k]
        of_record = [each.numpy() for each in d[3 + 7 * k : 10 + 7 * k]]
        d_record = equations.Record(*of_record, np.zeros((B, H)))
        gradients = equations.backward(
            OutputGradients(dy, d[1][k].numpy(), d[2][k].numpy(), d_record),
            expected,
            below,
            arrays(lstm.layer_weights(k)),
            **options,
        )
        dy, weights = gradients.dx, lstm.layer_weights(k)
        for name, W in zip(weights._fields, weights, strict=True):
            if W is not None:
                close(W.grad, getattr(gradients, f"d{name}"), err_msg=name)
        close(hx[0].grad[k], gradients.dh_0)
        close(hx[1].grad[k], gradients.dc_0)
    close(x.grad, dy)


class Rows:
    """A call with steps of each row for itself, and the equations over each row alone."""

    def __init__(self, cell: CellSpec, kinds: str, T: int = T) -> None:
        self.lstm = layer_of(cell, bidirectional=True).eval()
        self.x, self.hx, self.reset_to = torch.randn(T, B, D, dtype=torch.float64), states(2, B), states(2)
        self.lengths = torch.tensor([T, 0, max(T - 2, 1)]) if "l" in kinds else torch.full((B,), T)
        self.mask, self.reset = torch.rand(T, B) < 0.6, torch.rand(T, B) < 0.4
        if "m" not in kinds:
            self.mask[:] = True
        if "r" not in kinds:
            self.reset[:] = False
        self.steps: dict[str, Any] = {}
        for letter, name in zip("lmrt", ("lengths", "mask", "reset", "reset_to"), strict=True):
            if letter in kinds:
                self.steps[name] = getattr(self, name)

    def given(self) -> Tensor:
        """The input, with NaN where nothing is read."""
        within = torch.arange(len(self.x))[:, None] < self.lengths
        return self.x.where((within & self.mask)[..., None], torch.nan)

    def judged(self) -> tuple[np.ndarray, ...]:
        """Return y, h_n, c_n, and of the record the average, keep and write, by a loop over rows and steps."""
        y, of_record = np.zeros((T, B, 2 * H)), np.zeros((2, 3, T, B, H))
        h_n, c_n = (each.detach().numpy().copy() for each in self.hx)
        to = [
            each.detach().numpy() if "reset_to" in self.steps else 0 * each.detach().numpy()
            for each in self.reset_to
        ]
        for k, b in itertools.product(range(2), range(B)):
            weights, place = arrays(self.lstm.layer_weights(0, reverse=k == 1)), slice(k * H, (k + 1) * H)
            times = list(range(int(self.lengths[b])))
            for t in reversed(times) if k else times:
                h, c = h_n[k, b], c_n[k, b]
                if self.reset[t, b]:
                    h, c = (each[k] for each in to)
                average = c[:H] / np.where(c[H : 2 * H] == 0, 1, c[H : 2 * H])
                keep, write = np.ones(H), np.zeros(H)
                if self.mask[t, b]:
                    after = equations.step(self.x[t, b].numpy(), h, c, weights, cell=self.lstm.cell)
                    h, c, keep, write = after.hidden, after.cell_state, after.keep(), after.write()
                    after_average = after.cell
                else:
                    after_average = average
                if self.reset[t, b]:
                    keep, write = 0 * keep, write + keep * average
                of_record[k, :, t, b] = after_average, keep, write
                y[t, b, place], h_n[k, b], c_n[k, b] = h, h, c
        return y, h_n, c_n, of_record


@pytest.mark.parametrize("kinds", ["l", "m", "rt", "lmr", "lmrt"])
def test_rows_with_steps_of_their_own(kinds: str) -> None:
    rows = Rows(CELLS[1], kinds)
    y, (h_n, c_n), record = rows.lstm(rows.given(), rows.hx, **rows.steps, record=True)
    judged_y, judged_h, judged_c, of_record = rows.judged()
    close(y, judged_y)
    close(h_n, judged_h)
    close(c_n, judged_c)
    for k, layer in enumerate((record.layers[0].forward, record.layers[0].reverse)):
        keep = layer.forget_gate if layer.kept is None else layer.kept
        write = layer.input_gate * layer.candidate if layer.written is None else layer.written
        for name, got, expected in zip("akw", (layer.cell, keep, write), of_record[k], strict=True):
            close(got, expected, err_msg=name)


@pytest.mark.parametrize("kinds", ["", "lmrt"])
def test_finite_differences_judge_first_and_second_derivatives(kinds: str) -> None:
    """Of all outputs by all inputs, also with steps of rows; no n is 0, where states have no derivative."""
    rows = Rows(CELLS[1], kinds, T=2)
    names = [name for name, _ in rows.lstm.named_parameters()]
    steps = {name: value for name, value in rows.steps.items() if name != "reset_to"}

    def call(x: Tensor, h: Tensor, c: Tensor, h_r: Tensor, c_r: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        options = {**steps, **({"reset_to": (h_r, c_r)} if kinds else {}), "record": True}
        y, (h_n, c_n), record = functional_call(
            rows.lstm, dict(zip(names, weights, strict=True)), (x, (h, c)), options
        )
        layer = record.layers[0].reverse
        return y, h_n, c_n, layer.forget_gate, layer.input_gate, layer.cell

    to = rows.reset_to if kinds else (each.detach() for each in rows.reset_to)
    values = (rows.x.requires_grad_(), *rows.hx, *to, *rows.lstm.parameters())
    assert torch.autograd.gradcheck(call, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, values, fast_mode=True)


def test_forms_of_input_are_the_same_numbers() -> None:
    cell = CELLS[2]
    lstm, x = layer_of(cell, num_layers=2, dropout=0.5), torch.randn(T, B, D, dtype=torch.float64)
    first = copy.deepcopy(lstm)
    first.batch_first = True
    kept = copy.deepcopy(lstm)
    kept.checkpoint = 2
    results = []
    for layer, given in ((lstm, x), (first, x.transpose(0, 1)), (kept, x), (pickle.loads(pickle.dumps(lstm)), x)):
        torch.manual_seed(3)
        y, state = layer(given)
        results.append((y.transpose(0, 1) if layer is first else y, *state))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            close(a, b, atol=1e-15)
    lstm.eval()
    y, (h_n, c_n) = lstm(x)
    alone, (h_row, c_row) = lstm(x[:, 1])
    close(alone, y[:, 1], atol=1e-15)
    close(c_row, c_n[:, 1], atol=1e-15)
    close(h_row, h_n[:, 1], atol=1e-15)
    lengths = torch.tensor([2, 5, 1])
    packed, (_, c_packed), record = lstm(pack_padded_sequence(x, lengths, enforce_sorted=False), record=True)
    y, (_, c_n) = lstm(x, lengths=lengths)
    close(pad_packed_sequence(packed)[0], y)
    close(c_packed, c_n)
    close(record.layers[1].hidden, y)

    nothing = x[:, :0].requires_grad_()
    y, (_, c_n), record = lstm(nothing, record=True)
    y.sum().backward()
    assert (c_n.shape, record.layers[0].cell.shape, nothing.grad.shape) == ((2, 0, 3 * H), (T, 0, H), (T, 0, D))

    chunks = [(part, state) for part, state in tbptt(lstm, x, 2)]
    close(torch.cat([part for part, _ in chunks]), lstm(x)[0], atol=1e-14)
    carry = Carry(lstm)
    for ids, part in (((1, 2, 3), slice(2)), ((3, 1, 2), slice(2, T))):
        place = [each - 1 for each in ids]
        out, state = lstm(x[part, place], carry.gather(ids))
        carry.store(ids, state)
    close(out[-1, [1, 2, 0]], lstm(x)[0][-1], atol=1e-14)
    twin = Carry(lstm)
    twin.load_state_dict(carry.state_dict())
    assert torch.equal(twin.gather((2,))[1], carry.gather((2,))[1])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch itself, at its first tangent
def test_transforms_and_compilation() -> None:
    lstm = layer_of(CELLS[1]).eval()
    names, x = dict(lstm.named_parameters()), torch.randn(T, B, D, dtype=torch.float64)
    expected = lstm(x)[0]
    rows = torch.func.vmap(lambda row: functional_call(lstm, names, (row,))[0], in_dims=1, out_dims=1)
    close(rows(x), expected, atol=1e-14)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        y, (_, c_n) = functional_call(lstm, parameters, (x,))
        return y.square().sum() + c_n.sin().sum()

    of_rows = torch.func.vmap(torch.func.grad(loss), (None, 1))(names, x)
    for b in range(B):
        leaves = {name: each.detach().requires_grad_() for name, each in names.items()}
        for name, each in zip(
            names, torch.autograd.grad(loss(leaves, x[:, b]), list(leaves.values())), strict=True
        ):
            close(of_rows[name][b], each)
    tangent = torch.randn_like(x)
    eps = 1e-6
    _, along = torch.func.jvp(lambda x: lstm(x)[0], (x,), (tangent,))
    close(along, (lstm(x + eps * tangent)[0] - lstm(x - eps * tangent)[0]) / (2 * eps), atol=1e-8)
    compiled = torch.compile(layer_of(CELLS[1]).eval(), backend="eager", fullgraph=True)
    close(compiled(x)[0], expected, atol=1e-14)


@pytest.mark.parametrize("way", ["compute", "bfloat16", "float16", "autocast"])
def test_narrow_types_keep_the_cell_state_in_float32(way: str) -> None:
    """A state that goes on is not rounded: two halves of a sequence are the whole."""
    exact = layer_of(CELLS[0], num_layers=2)
    lstm = layer_of(CELLS[0], num_layers=2, dtype=torch.float32)
    x, dtype = torch.randn(T, B, D), torch.float32
    if way == "compute":
        lstm.compute = "bf16"
    elif way != "autocast":
        dtype = getattr(torch, way)
    lstm, x = lstm.to(dtype), x.to(dtype)
    exact.load_state_dict({name: each.double() for name, each in lstm.state_dict().items()})
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        y, (_, c_n), record = lstm(x, record=True)
        first, state = lstm(x[:2])
        late, (_, c_late) = lstm(x[2:], state)
        carry = Carry(lstm)
        carry.store((0, 1, 2), state)
    expected, (_, c_expected) = exact(x.double())
    close(y.double(), expected, atol=0.03)
    assert c_n.dtype == c_late.dtype == torch.float32
    close(c_n.double(), c_expected, atol=0.1)
    assert torch.equal(carry.gather((0, 1, 2))[1], state[1])
    close(late.double(), y[2:].double(), atol=0.02)
    close(c_late.double(), c_n.double(), atol=0.05)
    assert record.layers[0].cell.shape == (T, B, H)
    if way == "compute":
        assert torch.equal(torch.cat([first, late]), y)
        judged, _ = equations.forward(
            x.numpy(), LayerWeights(*(None if W is None else W.detach().numpy() for W in lstm.layer_weights(0))),
            cell=CELLS[0], compute="bf16",
        )  # fmt: skip
        close(record.layers[0].hidden, judged, atol=2e-3)


def test_weights_names_and_biases() -> None:
    cell = CellSpec(kind="slstm", heads=2, weight_drop=0.3)
    lstm = LSTM(D, H, 2, bidirectional=True, cell=cell)
    assert lstm.state_dict()["weight_hh_l1_reverse"].shape == (4 * H, H // 2)
    assert repr(lstm).endswith("cell=CellSpec(weight_drop=0.3, kind='slstm', heads=2))")
    assert lstm.cell == cell
    assert 0 < lstm.weight_hh_l0.abs().max() <= H**-0.5
    forget_bias_(lstm, 2.0)
    assert torch.equal(lstm.bias_ih_l1[H : 2 * H], torch.full((H,), 2.0))
    chrono_(lstm, 50)
    assert torch.equal(lstm.bias_ih_l0[:H], -lstm.bias_ih_l0[H : 2 * H])
    x = torch.randn(T, B, D)
    torch.manual_seed(0)
    y = lstm(x)[0]
    torch.manual_seed(0)
    assert torch.equal(lstm(x)[0], y)
    assert not torch.equal(lstm(x)[0], y)
    lstm(x)[0].sum().backward()
    assert 0.1 < (lstm.weight_hh_l0.grad == 0).float().mean() < 0.5


def test_what_an_slstm_does_not_have_is_refused_by_name() -> None:
    cell = CellSpec(kind="slstm", heads=2)
    for arguments, error, message in (
        ({"proj_size": 2}, SpecError, r"^proj_size: expected 0 with kind='slstm'"),
        ({"initial_state": "learned"}, GatewrightError, r"^initial_state: expected \"zeros\" for an sLSTM"),
        ({"hidden_size": 5}, SpecError, r"^heads: expected a number that divides 5 units"),
    ):
        with pytest.raises(error, match=message):
            LSTM(**{"input_size": D, "hidden_size": H, "cell": cell, **arguments})  # type: ignore[arg-type]
    lstm, x = LSTM(D, H, cell=cell), torch.ones(T, B, D)
    zeros = torch.zeros(1, B, H)
    with pytest.raises(RuntimeError, match=r"Expected hidden\[1\] size \(1, 3, 18\)"):
        lstm(x, (zeros, zeros))
    with pytest.raises(GatewrightError, match=r"^reset_to: expected .*\(1, 18\)|^reset_to"):
        lstm(x, reset=torch.ones(T, B, dtype=torch.bool), reset_to=(zeros[0, 0], zeros[0, 0]))
    with pytest.raises(GatewrightError, match=r"^compute: expected"), torch.no_grad():
        LSTM(D, H, cell=cell, compute="int8")(x)


@pytest.mark.parametrize("kinds", ["", "packed", "checkpoint"])
def test_the_operators_keep_what_torch_asks_of_them(kinds: str) -> None:
    """Their shapes where they are traced, too: the last state is kept at the end of the cell states."""
    cell, layer = CELLS[1], layer_of(CELLS[1]).layer_weights(0)
    sizes = torch.tensor([3, 3, 1]) if kinds == "packed" else None
    checkpoint = int(kinds == "checkpoint")
    rows = (T, B) if sizes is None else (7,)
    inputs = [torch.randn(*rows, D, dtype=torch.float64), *(each.detach() for each in states(B))]
    weights = [W.detach().requires_grad_() for W in layer.present()]
    args = (*inputs, weights, cell.code(), sizes, [0, 1, checkpoint, 0])
    torch.library.opcheck(operators.lstm, args, test_utils=SHAPES)
    y, h_n, c_n, gates, cells = (each.detach() for each in operators.lstm(*args))
    assert cells.shape == {"": (T + 3, B, H), "packed": (7 + 3 * B, H), "checkpoint": (2, B, 3 * H)}[kinds]
    d = [torch.randn_like(each) for each in (y, h_n, c_n)]
    d += [None, None] if checkpoint else [torch.randn_like(gates), torch.randn_like(cells)]
    plain = [W.detach() for W in weights]
    rest = (plain, cell.code(), sizes, [y, gates, cells], [0, checkpoint, 1, 1, 0])
    torch.library.opcheck(operators.lstm_backward, (d, inputs, *rest), test_utils=SHAPES)


@pytest.mark.parametrize("checkpoint", [0, 2])
def test_checkpoints_packed_steps_and_batches_of_gradients_are_those_of_operations(
    checkpoint: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels next to torch's operations, in both directions, with adjoints of all outputs."""
    x, lengths = torch.randn(T, B, D, dtype=torch.float64), torch.tensor([5, 1, 3])
    found = []
    for alone in (False, True):
        if alone:
            monkeypatch.setattr(precision, "arithmetic", lambda *_: None)
        lstm = layer_of(CELLS[0], bidirectional=True, checkpoint=checkpoint)
        torch.manual_seed(5)
        hx, inputs = states(2, B), x.clone().requires_grad_()
        packed = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
        wrt = [inputs, *hx, *lstm.parameters()]
        for given in (inputs, packed):
            y, (h_n, c_n) = lstm(given, hx)
            outputs = [y if given is inputs else y.data, h_n, c_n]
            d = [torch.randn_like(each) for each in outputs]
            found.append(torch.autograd.grad(outputs, wrt, d, retain_graph=True))
            two = [torch.stack([each, each.cos()]) for each in d]
            found.append(torch.autograd.grad(outputs, wrt, two, is_grads_batched=True))
    for ours, judge in zip(found[:4], found[4:], strict=True):
        for a, b in zip(ours, judge, strict=True):
            close(a, b)


def test_a_negative_normaliser_of_a_caller_is_refused() -> None:
    layer, x = LSTM(3, 4, cell=CellSpec(kind="slstm", heads=2)), torch.ones(5, 2, 3)
    h, c = torch.zeros(1, 2, 4), torch.zeros(1, 2, 12)
    c[0, 1, 5] = -1
    with pytest.raises(GatewrightError, match=r"^hx: expected normalisers n of at least 0"):
        layer(x, (h, c))
    with pytest.raises(GatewrightError, match=r"^reset_to: expected normalisers n of at least 0"):
        layer(x, reset=torch.ones(5, 2, dtype=torch.bool), reset_to=(h, c))
    with pytest.raises(RuntimeError, match="size"):  # a state of another width is no matter of normalisers
        LSTM(3, 6, cell=CellSpec(kind="slstm"))(x, (torch.zeros(1, 2, 6), torch.full((1, 2, 6), -1.0)))
    c[0, 1, 8:] = -1  # m may be anything
    c[0, 1, 5] = 1
    layer(x, (h, c))
