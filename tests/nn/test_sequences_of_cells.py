"""Lengths, masks and resets of cells with features, next to the plainest loop over rows and steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gatewright import CellSpec, kernels
from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, fast_path
from tests.nn.test_sequences import Case, assert_close
from tests.support.kernel_cases import TARGETS
from tests.support.rows_one_by_one import stack_of_rows
from tests.support.variant_cells import CELLS, TOGETHER, label

RANDOM = {"zoneout_cell": 0.3, "zoneout_hidden": 0.3, "hidden_dropout": 0.4, "candidate_dropout": 0.4}
TOGETHER_CELLS = [CellSpec(**features) for features in TOGETHER]
ALL_RANDOM = CellSpec(peephole=True, cell_clip=0.5, **RANDOM)
NORMED = CellSpec(layer_norm=True, peephole=True, **RANDOM)


def case(cell: CellSpec, **options: Any) -> Case:
    return Case(**{"kinds": "lmrt", "cell": cell, "proj_size": cell.proj_size, **options})


@pytest.mark.parametrize("cell", [*CELLS, ALL_RANDOM, NORMED], ids=label)
def test_steps_of_rows_are_those_of_a_loop(cell: CellSpec) -> None:
    """Both directions, in training where the cell makes random choices."""
    problem = case(cell, bidirectional=True)
    assert_close(problem.results(), problem.judged(), 1e-11)


@pytest.mark.parametrize("kinds", ["l", "m", "r", "rt", "R"])
def test_each_kind_of_steps_alone(kinds: str) -> None:
    for cell in (ALL_RANDOM, TOGETHER_CELLS[3]):
        problem = case(cell, kinds=kinds, num_layers=2)
        assert_close(problem.results(), problem.judged(), 1e-11)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_agrees_with_the_loop(target: str) -> None:
    with kernels.use_target(target):
        for cell in (CellSpec(peephole=True, **RANDOM), NORMED):  # no bound that rounding could move a number over
            problem = case(cell, dtype=torch.float32, H=19, B=6, bidirectional=True)
            expected = problem.judged()
            assert_close(problem.results(), expected, 2e-6)
            problem.layer.compute, problem.layer.saved = "bf16", "float32"
            assert_close(problem.results(), expected, 0.03)
        clipped = case(ALL_RANDOM, dtype=torch.float32, H=19, B=6)
        assert_close(clipped.results(), clipped.judged(), 2e-6)


@pytest.mark.parametrize("options", [{}, {"compute": "bf16"}], ids=str)
@pytest.mark.parametrize("cell", [ALL_RANDOM, NORMED, TOGETHER_CELLS[0]], ids=label)
def test_no_bit_depends_on_threads_checkpoints_or_records(cell: CellSpec, options: dict[str, Any]) -> None:
    problem = case(cell, T=40, B=9, D=17, H=33, dtype=torch.float32, bidirectional=True, **options)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = problem.results()
        torch.set_num_threads(3)
        found = [problem.results(), problem.results(record=True)]
        problem.layer.checkpoint = 5
        found.append(problem.results())
    finally:
        torch.set_num_threads(threads)
    for each in found:
        assert all(torch.equal(a, b) for a, b in zip(each, expected, strict=True))


@pytest.mark.parametrize("cell", [ALL_RANDOM, NORMED], ids=label)
@pytest.mark.parametrize("reverse", [False, True])
def test_no_bit_depends_on_the_split_of_a_batch(cell: CellSpec, reverse: bool) -> None:
    """Rows by threads, hidden units by threads, and each row in a call of its own with its number."""
    problem = case(cell, T=12, B=4, D=5, H=70, dtype=torch.float32)
    x, (h_0, c_0), W = problem.given(), problem.hx, problem.layer.layer_weights(0)
    numbers = [each.detach().numpy() for each in (x, h_0[0], c_0[0])]
    weights = type(W)(*(None if each is None else each.detach().numpy() for each in W))
    of_steps = [problem.steps[name].numpy() for name in ("lengths", "mask", "reset")]
    states = [np.repeat(state.detach().numpy(), 4, axis=0) for state in problem.reset_to]
    d = [each.numpy() for each in (problem.d[0], problem.d[1][0], problem.d[2][0])]

    def run(rows: slice, **how: Any) -> list[Any]:
        lengths, mask, reset = of_steps
        steps = kernels.Steps(
            lengths[rows], mask[:, rows].copy(), reset[:, rows].copy(), *(state[rows] for state in states)
        )
        draws = kernels.Draws(9, np.arange(4, dtype=np.int64)[rows], first_step=3, stream=16)
        args = kernels.SequenceArgs(
            steps=steps, reverse=reverse, cell=cell.code(), rates=cell.rates(), draws=draws, **how
        )
        inputs = kernels.Inputs(numbers[0][:, rows].copy(), *(each[rows] for each in numbers[1:]))
        kept = kernels.forward(*inputs, weights, args, keep=True)
        of_rows = kernels.OutputGradients(d[0][:, rows].copy(), *(each[rows] for each in d[1:]))
        return [*kept[:3], *kernels.backward(of_rows, inputs, kept, weights, args)]

    everything = slice(0, 4)
    expected = run(everything, threads=1)
    for how in ({"threads": 3, "split": "units"}, {"threads": 3, "split": "rows"}):
        for a, b in zip(run(everything, **how), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    alone = [run(slice(b, b + 1), threads=1) for b in range(4)]
    by_rows = {0: 1, 1: 0, 2: 0, 3: 1, 4: 0, 5: 0, -2: 0, -1: 0}  # y, h_n, c_n, dx, dh_0, dc_0, those of resets
    for n, axis in by_rows.items():
        np.testing.assert_array_equal(np.concatenate([each[n] for each in alone], axis), expected[n])


@pytest.mark.parametrize("slowly", [False, True])
@pytest.mark.parametrize("cell", [ALL_RANDOM, TOGETHER_CELLS[0], CellSpec(zoneout_cell=0.2)], ids=label)
def test_a_record_shows_absent_steps_and_its_ledger_is_exact(
    cell: CellSpec, slowly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slowly:
        monkeypatch.setattr(fast_path, "looked_into", lambda *_: True)
        monkeypatch.setattr(fast_path, "step_by_step", lambda *_: True)
    problem = case(cell, T=9, B=6, bidirectional=True)
    if cell.zoneout_cell == 0.2:
        problem.layer.eval()
    with torch.no_grad():
        problem.hx[1].mul_(3)  # states past the bound of clipping
    y, (_, c_n), record = problem.layer(problem.given(), problem.hx, **problem.steps, record=True)
    P = problem.layer.proj_size or 6
    gap = ~problem.present & ~problem.past
    for k, part in enumerate((record.layers[0].forward, record.layers[0].reverse)):
        assert torch.equal(part.hidden, y[..., k * P : (k + 1) * P])
        for name in ("input_gate", "candidate", "output_gate", "forget_gate"):
            gate = getattr(part, name)
            assert torch.equal(gate[gap], torch.full_like(gate[gap], float(name == "forget_gate")))
            assert not gate[problem.past].any()
        assert not part.kept[problem.past].any()
        c = part.cell_initial
        for t in reversed(range(9)) if k else range(9):
            inside = ~problem.past[t, :, None]
            c = torch.where(inside, part.kept[t] * c + part.written[t], c)
            assert_close([torch.where(inside, c, 0)], [torch.where(inside, part.cell[t], 0)], 1e-12)
        assert_close([c], [c_n[k]], 1e-12)


def test_losses_read_a_record_over_gaps() -> None:
    problem = case(ALL_RANDOM, T=9, B=6, bidirectional=True)
    torch.manual_seed(5)
    record = problem.layer(problem.given(), problem.hx, **problem.steps, record=True)[2].layers[0]
    torch.manual_seed(5)
    seed = torch.randint(2**63 - 1, (), dtype=torch.int64)
    stack = problem.layer._stack(problem.layer._flat_weights)
    *_, cells = stack_of_rows(problem.x, problem.hx, stack, 2, **problem.steps, cell=problem.cell, seed=seed)
    d = [torch.randn_like(each) for each in cells]
    wrt = [problem.x, *problem.hx, *problem.reset_to, *problem.layer.parameters()]
    found = torch.autograd.grad([record.cell, record.reverse.cell], wrt, d, allow_unused=True)
    expected = torch.autograd.grad(cells, wrt, d, allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        assert_close([a], [b], 1e-11)


@pytest.mark.filterwarnings("ignore::gatewright.errors.SlowPathWarning")
def test_second_derivatives() -> None:
    problem = case(CellSpec(layer_norm=True, peephole=True, **RANDOM), T=3, B=3, D=2, H=2)
    names = [name for name, _ in problem.layer.named_parameters()]
    steps = {name: value for name, value in problem.steps.items() if name != "reset_to"}

    def call(x: Any, h: Any, c: Any, h_r: Any, c_r: Any, *weights: Any) -> Any:
        torch.manual_seed(3)
        given = dict(zip(names, weights, strict=True))
        options = {**steps, "reset_to": (h_r, c_r)}
        y, states = torch.func.functional_call(problem.layer, given, (x, (h, c)), options)
        return y, *states

    parameters = [w.detach().requires_grad_() for w in problem.layer.parameters()]
    inputs = [problem.x, *problem.hx, *problem.reset_to, *parameters]
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


def test_batches_of_calls_and_programs_have_steps_of_rows_and_refuse_lengths_that_do_not_fit() -> None:
    cell = CellSpec(peephole=True, coupled=True, zoneout_cell=0.2)
    layer, (N, T, B) = LSTM(3, 6, cell=cell, dtype=torch.float64).eval(), (3, 5, 2)
    x, lengths = torch.randn(N, T, B, 3, dtype=torch.float64), torch.tensor([[5, 2], [0, 4], [3, 3]])
    reset, wrong = torch.rand(N, T, B) < 0.3, "lengths: expected numbers from 0 to 5.*got 6 for row"

    def call(x: Any, lengths: Any, reset: Any) -> Any:
        return layer(x, lengths=lengths, reset=reset)[0]

    found = torch.func.vmap(call)(x, lengths, reset)
    for n in range(N):
        assert torch.equal(found[n], call(x[n], lengths[n], reset[n]))
    with pytest.raises(GatewrightError, match=wrong):
        torch.func.vmap(call)(x, lengths + 1, reset)

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Any, lengths: Any, reset: Any) -> Any:
            return self.layer(x, lengths=lengths, reset=reset)[0]

    program = torch.export.export(Module().eval(), (x[0], lengths[0], reset[0]), strict=False).module()
    with torch.no_grad():
        assert torch.equal(program(x[1], lengths[1], reset[1]), found[1])
        with pytest.raises(GatewrightError, match=wrong):
            program(x[0], lengths[0] + 1, reset[0])
