"""Rows of unequal length, masks and resets, next to the plainest loop over rows and steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright import kernels
from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, fast_path
from gatewright.nn.random_masks import new_seed
from tests.support.kernel_cases import TARGETS
from tests.support.rows_one_by_one import stack_of_rows

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


class Case:
    """A layer with input, states and steps of rows; NaN stands where no step reads."""

    def __init__(
        self, T: int = 7, B: int = 5, D: int = 3, H: int = 6, kinds: str = "lmr", seed: int = 0, **layer: Any
    ) -> None:
        torch.manual_seed(seed)
        dtype = layer.pop("dtype", torch.float64)
        self.layer = LSTM(D, H, dtype=dtype, **layer)
        self.cell = layer.get("cell")
        if self.cell is not None:
            with torch.no_grad():  # gains and shifts at other values than 1 and 0
                for weight in self.layer.parameters():
                    weight.add_(0.2 * torch.randn_like(weight))
        states, P = len(self.layer._all_weights), self.layer.proj_size or H

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=dtype).requires_grad_()

        self.x = random(T, B, D)
        self.hx = random(states, B, P), random(states, B, H)
        self.steps: dict[str, Any] = {}
        self.reset_to = (random(states, P), random(states, B, H)[:, :1].detach()[:, 0].requires_grad_())
        present = torch.ones(T, B, dtype=torch.bool)
        if "l" in kinds:
            lengths = torch.randint(0, T + 1, (B,))
            lengths[: 2 if B > 2 else 0] = torch.tensor([T, 0])[: 2 if B > 2 else 0]
            self.steps["lengths"] = lengths
            present &= torch.arange(T)[:, None] < lengths
        if "m" in kinds:
            mask = torch.rand(T, B) < 0.6
            mask[:, B - 1] = B == 1  # a row without any step
            self.steps["mask"] = mask
            present &= mask
        if "r" in kinds:
            self.steps["reset"] = torch.rand(T, B) < 0.3
        if "R" in kinds:
            self.steps["reset"] = torch.ones(T, B, dtype=torch.bool)
        if "t" in kinds:
            self.steps["reset_to"] = self.reset_to
        self.present = present
        width = (2 if self.layer.bidirectional else 1) * P
        self.d = [torch.randn(T, B, width), *(torch.randn_like(s) for s in self.hx)]
        self.past = torch.zeros(T, B, dtype=torch.bool)
        if "l" in kinds:
            self.past = torch.arange(T)[:, None] >= self.steps["lengths"]

    def wrt(self) -> list[Tensor]:
        return [self.x, *self.hx, *self.layer.parameters(), *(self.reset_to if "reset_to" in self.steps else ())]

    def given(self) -> Tensor:
        """The input with NaN where nothing may be read."""
        return torch.where(self.present[..., None], self.x, torch.nan)

    def results(self, **options: Any) -> list[Tensor]:
        """What the layer gives, and the gradients of all that it reads."""
        torch.manual_seed(5)  # of random choices
        y, (h_n, c_n), *_ = self.layer(self.given(), self.hx, **self.steps, **options)
        dy = self.d[0].to(y.dtype).masked_fill(self.past[..., None], torch.nan)
        outputs = [y, h_n, c_n]
        d = [dy, *(each.to(y.dtype) for each in self.d[1:])]
        return [*outputs, *torch.autograd.grad(outputs, self.wrt(), d)]

    def judged(self) -> list[Tensor]:
        wide = [each.detach().double().requires_grad_() for each in self.wrt()]
        count = len(list(self.layer.parameters()))
        x, h_0, c_0, *rest = wide
        copy = LSTM(
            self.layer.input_size,
            self.layer.hidden_size,
            self.layer.num_layers,
            bias=self.layer.bias,
            bidirectional=self.layer.bidirectional,
            proj_size=self.layer.proj_size,
            cell=self.cell,
        )
        stack = copy._stack(rest[:count])
        torch.manual_seed(5)
        random = {"seed": new_seed()} if self.cell is not None and self.cell.is_random else {}
        steps = {**self.steps}
        if "reset_to" in steps:
            steps["reset_to"] = rest[count:]
        directions = 2 if copy.bidirectional else 1
        y, h_n, c_n, _ = stack_of_rows(x, (h_0, c_0), stack, directions, **steps, cell=self.cell, **random)
        dy = self.d[0].double().masked_fill(self.past[..., None], 0)
        outputs = [y, h_n, c_n]
        gradients = torch.autograd.grad(
            outputs, wide, [dy, *(each.double() for each in self.d[1:])], allow_unused=True
        )
        return [
            *outputs,
            *(torch.zeros_like(w) if g is None else g for w, g in zip(wide, gradients, strict=True)),
        ]


def assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for n, (a, b) in enumerate(zip(found, expected, strict=True)):
        a, b = a.detach(), b.detach()
        scale = max(1.0, float(b.abs().max()) if b.numel() else 1.0)
        error = float((a.double() - b).abs().max()) / scale if b.numel() else 0.0
        assert error <= tolerance, (n, error)


CASES: list[dict[str, Any]] = [
    {"kinds": "l"},
    {"kinds": "m"},
    {"kinds": "r"},
    {"kinds": "rt"},
    {"kinds": "R"},
    {"kinds": "lmrt"},
    {"kinds": "lmRt", "proj_size": 2},
    {"kinds": "lmrt", "proj_size": 3, "bidirectional": True, "num_layers": 2},
    {"kinds": "lmrt", "num_layers": 2, "bidirectional": True, "bias": False},
    {"kinds": "rt", "bidirectional": True},
    {"kinds": "lmrt", "T": 1, "B": 4},
    {"kinds": "lmrt", "B": 1, "H": 1, "D": 1},
    {"kinds": "lrt", "T": 40, "B": 9, "H": 33, "D": 17},
    {"kinds": "lmrt", "T": 30, "B": 20, "H": 19, "D": 5, "bidirectional": True},
]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_steps_of_rows_are_those_of_a_loop(case: dict[str, Any]) -> None:
    problem = Case(**case)
    assert_close(problem.results(), problem.judged(), 1e-11)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_agrees_with_the_loop(target: str) -> None:
    with kernels.use_target(target):
        for case in (CASES[3], CASES[6], CASES[7], CASES[10]):
            problem = Case(**case, dtype=torch.float32)
            assert_close(problem.results(), problem.judged(), 1e-5)
        problem = Case(**CASES[7], dtype=torch.float32, compute="bf16", saved="float32")
        assert_close(problem.results(), problem.judged(), 0.05)


@pytest.mark.parametrize("options", [{}, {"compute": "bf16"}, {"proj_size": 3}], ids=str)
def test_no_bit_depends_on_threads_checkpoints_or_records(options: dict[str, Any], threads: None) -> None:
    problem = Case(T=40, B=9, D=17, H=33, kinds="lmrt", dtype=torch.float32, bidirectional=True, **options)
    torch.set_num_threads(1)
    expected = problem.results()
    torch.set_num_threads(3)
    found = [problem.results(), problem.results(record=True)]
    problem.layer.checkpoint = 5
    found.append(problem.results())
    for each in found:
        assert all(torch.equal(a, b) for a, b in zip(each, expected, strict=True))


@pytest.mark.parametrize("reverse", [False, True])
def test_no_bit_depends_on_what_threads_share_out(reverse: bool) -> None:
    """Rows, or hidden units with a barrier a step, which only few rows of wide layers get by themselves."""
    problem = Case(T=12, B=4, D=5, H=70, kinds="lmrt", dtype=torch.float32)
    x, (h_0, c_0), W = problem.given(), problem.hx, problem.layer.layer_weights(0)
    numbers = [each.detach().numpy() for each in (x, h_0[0], c_0[0])]
    weights = type(W)(*(None if each is None else each.detach().numpy() for each in W))
    states = [np.repeat(state.detach().numpy(), 4, axis=0) for state in problem.reset_to]
    steps = kernels.Steps(*(problem.steps[name].numpy() for name in ("lengths", "mask", "reset")), *states)
    d = kernels.OutputGradients(*(each.numpy() for each in (problem.d[0], problem.d[1][0], problem.d[2][0])))
    found = []
    for how in ({"threads": 1}, {"threads": 3, "split": "units"}, {"threads": 3, "split": "rows"}):
        args = kernels.SequenceArgs(steps=steps, reverse=reverse, **how)
        kept = kernels.forward(*numbers, weights, args, keep=True)
        back = kernels.backward(d, kernels.Inputs(*numbers), kept, weights, args)
        found.append([*kept[:3], *(each for each in back if each is not None)])
    for each in found[1:]:
        for a, b in zip(each, found[0], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", [{}, {"compute": "bf16"}, {"dtype": torch.float64}], ids=str)
def test_a_row_alone_without_padding_has_the_same_bits(options: dict[str, Any]) -> None:
    problem = Case(
        **{"T": 9, "B": 6, "H": 19, "kinds": "lm", "dtype": torch.float32, "bidirectional": True, **options}
    )
    found = problem.results()
    for b in range(6):
        there = problem.present[:, b]
        if not there.any():
            continue
        x = problem.x.detach()[there, b : b + 1].requires_grad_()
        hx = [state.detach()[:, b : b + 1].requires_grad_() for state in problem.hx]
        y, (h_n, c_n) = problem.layer(x, hx)
        for n, (alone, whole) in enumerate(zip((y, h_n, c_n), found[:3], strict=True)):
            assert torch.equal(alone[:, 0], whole[there, b] if n == 0 else whole[:, b])
        # Adjoints of y over gaps reach the state that is carried there: here there are none.
        d = [problem.d[0][there, b : b + 1], *(each[:, b : b + 1] for each in problem.d[1:])]
        problem_d = problem.d[0].masked_fill(~there[:, None, None], 0)
        outputs = problem.layer(problem.given(), problem.hx, **problem.steps)
        whole = torch.autograd.grad(
            [outputs[0], *outputs[1]], [problem.x, *problem.hx], [problem_d, *problem.d[1:]]
        )
        alone = torch.autograd.grad([y, h_n, c_n], [x, *hx], d)
        assert torch.equal(alone[0][:, 0], whole[0][there, b])
        assert all(torch.equal(a[:, 0], w[:, b]) for a, w in zip(alone[1:], whole[1:], strict=True))
        break


def test_lengths_are_those_of_a_packed_sequence() -> None:
    problem = Case(T=9, B=6, D=3, H=8, kinds="", dtype=torch.float32, num_layers=2, bidirectional=True)
    lengths = torch.tensor([3, 9, 1, 7, 7, 2])
    y, states = problem.layer(problem.x, problem.hx, lengths=lengths.int())
    packed = pack_padded_sequence(problem.x, lengths, enforce_sorted=False)
    y_packed, states_packed = problem.layer(packed, problem.hx)
    assert torch.equal(y, pad_packed_sequence(y_packed)[0])
    assert all(torch.equal(a, b) for a, b in zip(states, states_packed, strict=True))


def test_batch_first_and_unbatched_input() -> None:
    problem = Case(T=6, B=3, kinds="lmrt", bidirectional=True)
    y, (h_n, c_n) = problem.layer(problem.x, problem.hx, **problem.steps)
    first = LSTM(3, 6, bidirectional=True, batch_first=True, dtype=torch.float64)
    first.load_state_dict(problem.layer.state_dict())
    swapped = {name: problem.steps[name].t() for name in ("mask", "reset")}
    found, states = first(problem.x.transpose(0, 1), problem.hx, **{**problem.steps, **swapped})
    assert torch.equal(found.transpose(0, 1), y)
    assert torch.equal(states[0], h_n)
    b = 0
    single = {name: problem.steps[name][..., b] for name in ("lengths", "mask", "reset")}
    hx = [state[:, b] for state in problem.hx]
    found, states = first(problem.x[:, b], hx, **single, reset_to=problem.reset_to)
    assert torch.equal(found, y[:, b])
    assert torch.equal(states[1], c_n[:, b])


@pytest.mark.parametrize("options", [{}, {"proj_size": 2}, {"slowly": True}], ids=str)
def test_a_record_shows_absent_steps_and_its_ledger_is_exact(options: dict[str, Any], monkeypatch: Any) -> None:
    options = {**options}
    if options.pop("slowly", False):
        monkeypatch.setattr(fast_path, "looked_into", lambda *_: True)
        monkeypatch.setattr(fast_path, "step_by_step", lambda *_: True)
    problem = Case(T=9, B=6, kinds="lmrt", bidirectional=True, **options)
    y, (_, c_n), record = problem.layer(problem.given(), problem.hx, **problem.steps, record=True)
    stack = problem.layer._stack(problem.layer._flat_weights)
    *_, cells = stack_of_rows(problem.x, problem.hx, stack, 2, **problem.steps)
    layer = record.layers[0]
    assert torch.equal(record.mask, problem.steps["mask"])
    P = problem.layer.proj_size or 6
    for k, part in enumerate((layer.forward, layer.reverse)):
        assert_close([part.cell], [cells[k]], 1e-12)
        assert torch.equal(part.hidden, y[..., k * P : (k + 1) * P])
        gap = ~problem.present & ~problem.past
        for name in ("input_gate", "candidate", "output_gate", "forget_gate"):
            gate = getattr(part, name)
            assert torch.equal(gate[gap], torch.full_like(gate[gap], float(name == "forget_gate")))
            assert not gate[problem.past].any()
        c = part.cell_initial
        for t in reversed(range(9)) if k else range(9):
            inside = ~problem.past[t, :, None]
            c = torch.where(inside, part.kept[t] * c + part.written[t], c)
            assert_close([torch.where(inside, c, 0)], [torch.where(inside, part.cell[t], 0)], 1e-12)
        assert_close([c], [c_n[k]], 1e-12)
    # Losses may read the record like any other tensor, also over gaps.
    d = [torch.randn_like(each) for each in cells]
    wrt = [problem.x, *problem.hx, *problem.reset_to]
    found = torch.autograd.grad([layer.cell, layer.reverse.cell], wrt, d, allow_unused=True)
    expected = torch.autograd.grad(cells, wrt, d, allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        assert_close([a], [b], 1e-11)


@pytest.mark.filterwarnings("ignore::gatewright.errors.SlowPathWarning")
def test_second_derivatives() -> None:
    problem = Case(T=3, B=3, D=2, H=2, kinds="lmrt")
    names = [name for name, _ in problem.layer.named_parameters()]
    steps = {name: value for name, value in problem.steps.items() if name != "reset_to"}

    def call(x: Tensor, h: Tensor, c: Tensor, h_r: Tensor, c_r: Tensor, *weights: Tensor) -> Any:
        given = dict(zip(names, weights, strict=True))
        y, states = torch.func.functional_call(
            problem.layer, given, (x, (h, c)), {**steps, "reset_to": (h_r, c_r)}
        )
        return y, *states

    inputs = [
        problem.x,
        *problem.hx,
        *problem.reset_to,
        *(w.detach().requires_grad_() for w in problem.layer.parameters()),
    ]
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


def test_an_exported_program_takes_lengths_and_masks() -> None:
    problem = Case(T=6, B=4, kinds="lmr", num_layers=2, dtype=torch.float32)

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = problem.layer

        def forward(self, x: Tensor, lengths: Tensor, mask: Tensor, reset: Tensor) -> Tensor:
            return self.layer(x, lengths=lengths, mask=mask, reset=reset)[0]

    x, steps = problem.x.detach(), [problem.steps[name] for name in ("lengths", "mask", "reset")]
    program = torch.export.export(Module().eval(), (x, *steps), strict=False).module()
    with torch.no_grad():
        assert torch.equal(program(x, *steps), Module()(x, *steps))
        with pytest.raises(GatewrightError, match=r"lengths: expected numbers from 0 to 6.*got 7 for row 0"):
            program(x, steps[0] + 7 - steps[0], *steps[1:])


def test_autocast_and_dropout() -> None:
    problem = Case(kinds="lmrt", num_layers=2, dropout=0.5, dtype=torch.float32)
    torch.manual_seed(1)
    y, _ = problem.layer(problem.given(), problem.hx, **problem.steps)
    assert y.isfinite().all()
    assert not y[problem.past].any()
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = problem.layer.eval()(problem.given(), problem.hx, **problem.steps)
        assert y.dtype == problem.layer(problem.x, problem.hx)[0].dtype
    assert_close([y], [problem.judged()[0]], 0.05)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"lengths": [1, 2]}, "lengths: expected a tensor of whole numbers"),
    ({"lengths": torch.ones(2)}, "lengths: expected a tensor of whole numbers"),
    (
        {"lengths": torch.ones(3, dtype=torch.int64)},
        r"lengths: expected a tensor of whole numbers of shape \(2,\)",
    ),
    (
        {"lengths": torch.tensor([1, 6])},
        "lengths: expected numbers from 0 to 5, the steps of the input, got 1 to 6",
    ),
    ({"lengths": torch.tensor([-1, 5])}, "lengths: expected numbers from 0 to 5"),
    (
        {"lengths": torch.ones(2, dtype=torch.int64, device="meta")},
        "lengths: expected a tensor with values, for an input on cpu, got one on the meta device",
    ),
    ({"reset": torch.ones(5, 2, dtype=torch.bool, device="meta")}, "reset: expected a tensor with values"),
    ({"mask": torch.ones(5, 2)}, r"mask: expected a bool tensor of shape \(5, 2\), \(T, B\), got torch.float32"),
    ({"mask": torch.ones(2, 5, dtype=torch.bool)}, "mask: expected a bool tensor"),
    ({"reset": torch.ones(5, dtype=torch.bool)}, "reset: expected a bool tensor"),
    ({"reset_to": (torch.ones(1, 4), torch.ones(1, 4))}, "reset: expected the steps at which reset_to"),
    ({"reset": torch.ones(5, 2, dtype=torch.bool), "reset_to": torch.ones(1, 4)}, "reset_to: expected a pair"),
    (
        {"reset": torch.ones(5, 2, dtype=torch.bool), "reset_to": (torch.ones(1, 4), torch.ones(1, 3))},
        "reset_to: expected torch.float32 tensors",
    ),
]


@pytest.mark.parametrize(("steps", "message"), BAD, ids=lambda value: str(value)[:30])
def test_steps_that_do_not_fit_are_refused(steps: dict[str, Any], message: str) -> None:
    layer, x = LSTM(3, 4), torch.ones(5, 2, 3)
    with pytest.raises(GatewrightError, match=message):
        layer(x, **steps)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # by torch's forward mode
def test_lengths_are_looked_at_inside_of_a_transform_and_on_a_device_without_memory() -> None:
    lstm, x, lengths = LSTM(3, 4), torch.ones(5, 2, 3), torch.tensor([1, 6])
    with pytest.raises(GatewrightError, match="lengths: expected numbers from 0 to 5"):
        torch.func.jvp(lambda x: lstm(x, lengths=lengths)[0], (x,), (x,))
    y, _ = lstm.to("meta")(x.to("meta"), lengths=torch.tensor([1, 5]), reset=torch.ones(5, 2, dtype=torch.bool))
    assert y.shape == (5, 2, 4)


def test_a_packed_sequence_has_its_own_lengths_and_int8_has_none() -> None:
    packed = pack_padded_sequence(torch.ones(5, 2, 3), torch.tensor([5, 2]))
    layer: Any = LSTM(3, 4)
    with pytest.raises(GatewrightError, match="lengths: expected None next to a PackedSequence"):
        layer(packed, lengths=torch.tensor([5, 2]))
    with (
        torch.no_grad(),
        pytest.raises(GatewrightError, match='compute: expected "full" or "bf16" next to lengths'),
    ):
        LSTM(3, 4, compute="int8")(torch.ones(5, 2, 3), lengths=torch.tensor([5, 2]))
