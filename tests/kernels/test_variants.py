"""The kernels of cells other than the plain one: every target against the equations, and the same bits."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gatewright import equations, kernels
from gatewright.equations import Masks, Place
from gatewright.errors import GatewrightError
from gatewright.spec import CellSpec, LayerWeights
from tests.support.kernel_cases import BF16_TARGETS, TARGETS, assert_same_bits
from tests.support.variant_cells import CELLS, CLIPPED, label

Array = np.ndarray
PLACE = Place(seed=-5, layer=2, direction=0)
ROWS = np.array([4, 0, 7])
EVERYTHING = CellSpec(
    peephole=True, layer_norm=True, cell_clip=0.9, zoneout_cell=0.2, zoneout_hidden=0.3, hidden_dropout=0.2,
    candidate_dropout=0.3,
)  # fmt: skip
DROPPED = CellSpec(coupled=True, candidate_activation="hard_tanh", candidate_dropout=0.3, hidden_dropout=0.3)
BACKWARD = ("dx", "dh_0", "dc_0", *(f"d{name}" for name in LayerWeights._fields))


@pytest.fixture(params=BF16_TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


class Layer:
    """A layer of any cell, its input and adjoints, as the equations take them and as the kernels do."""

    def __init__(self, cell: CellSpec, T: int, B: int, D: int, H: int, dtype: Any, trained: bool = True) -> None:
        draw = np.random.default_rng(3)
        self.cell, self.H, P = cell, H, cell.proj_size or H
        shapes = cell.weights(D, H).items()
        arrays = [draw.uniform(-1, 1, shape) / np.sqrt(shape[-1] if len(shape) > 1 else 1) for _, shape in shapes]
        self.weights = LayerWeights.of(cell.code(), [array.astype(dtype) for array in arrays])
        self.x = draw.normal(size=(T, B, D)).astype(dtype)
        sizes = {"dy": (T, B, P), "dh_n": (B, P), "dc_n": (B, H), "dgates": (T, B, 4 * H), "dcell": (T, B, H)}
        self.h_0, self.c_0 = (draw.normal(size=(B, width)).astype(dtype) for width in (P, H))
        self.d = kernels.OutputGradients(
            **{name: draw.normal(size=size).astype(dtype) for name, size in sizes.items()}
        )
        random = trained and any(cell.rates()[1:])
        self.rows = ROWS[:B] if random else None
        self.masks = Masks(PLACE, rows=self.rows, first_step=2) if random else None
        self.draws = kernels.Draws(PLACE.seed, self.rows, 2, PLACE.stream(0)) if random else None

    def args(self, **options: Any) -> kernels.SequenceArgs:
        return kernels.SequenceArgs(cell=self.cell.code(), rates=self.cell.rates(), draws=self.draws, **options)

    def four_gates(self) -> LayerWeights:
        """The weights as the kernels take them: NaN in the rows of the gates that the cell does not have."""
        names, present = CellSpec().gates(), self.cell.gates()

        def expanded(W: Array | None, rows: list[str], missing: float) -> Array | None:
            if W is None:
                return None
            blocks = iter(np.split(W, len(W) // self.H))
            absent = np.full_like(W[: self.H], missing)
            return np.concatenate([next(blocks) if name in present else absent for name in rows])

        W, gated = self.weights, [name for name in names if name != "candidate"]
        rows = {
            name: expanded(getattr(W, name), list(names), 0.0) for name in ("W_ih", "W_hh", "b_ih", "b_hh", "w_ln")
        }
        return W._replace(**rows, w_ch=expanded(W.w_ch, gated, 0.0))

    def of_present(self, name: str, d: Array) -> Array:
        """Of a gradient with four gates the rows of those that the cell has; the others are zero."""
        names = CellSpec().gates()
        if name == "dw_ch":
            names = tuple(each for each in names if each != "candidate")
        elif name not in ("dW_ih", "dW_hh", "db", "dw_ln"):
            return d
        blocks = dict(zip(names, np.split(d, len(names)), strict=True))
        assert not any(block.any() for each, block in blocks.items() if each not in self.cell.gates())
        return np.concatenate([block for each, block in blocks.items() if each in self.cell.gates()])

    def run(self, **options: Any) -> dict[str, Array]:
        """Forward and backward by the kernels."""
        args, weights = self.args(**options), self.four_gates()
        kept = kernels.forward(self.x, self.h_0, self.c_0, weights, args, keep=True)
        back = kernels.backward(self.d, kernels.Inputs(self.x, self.h_0, self.c_0), kept, weights, args)
        results = {**kept._asdict(), **back._asdict()}
        if args.checkpoint:
            del results["cell"]
        return {name: self.of_present(name, each) for name, each in results.items() if each is not None}

    def judged(self) -> dict[str, Array]:
        """The same by the equations in float64."""
        wide = LayerWeights(*(None if W is None else W.astype(float) for W in self.weights))
        x, h_0, c_0, dy, dh_n, dc_n, dgates, dcell = (
            each.astype(float) for each in (self.x, self.h_0, self.c_0, *self.d)
        )
        options: dict[str, Any] = {"cell": self.cell, "masks": self.masks}
        y, record = equations.forward(x, wide, h_0, c_0, **options)
        zeros = np.zeros_like(y)
        d_record = equations.Record(*np.split(dgates, 4, axis=-1), dcell, zeros, 0 * c_0, 0 * h_0)
        back = equations.backward(equations.OutputGradients(dy, dh_n, dc_n, d_record), record, x, wide, **options)
        gates = np.concatenate([getattr(record, name) for name in equations.GATES], axis=-1)
        forward = {"y": y, "h_n": record.h_n, "c_n": record.c_n, "gates": gates, "cell": record.cell}
        gradients = {name: getattr(back, name) for name in BACKWARD}
        return {**forward, **gradients, "db": gradients["db_ih"]}


@functools.cache
def judged(cell: CellSpec, *sizes: int) -> dict[str, Array]:
    return Layer(cell, *sizes, np.float64).judged()


def assert_near(got: dict[str, Array], expected: dict[str, Array], tolerance: float) -> None:
    for name, array in got.items():
        if name == "extra" or expected[name] is None:  # nothing to compare with
            continue
        scale = max(1.0, np.abs(expected[name]).max(initial=0))
        assert array.shape == expected[name].shape, name
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED, EVERYTHING, DROPPED], ids=label)
def test_values_and_gradients_are_those_of_the_equations(cell: CellSpec, target: str) -> None:
    for sizes in ((4, 3, 3, 33), (1, 1, 1, 1)):
        expected = judged(cell, *sizes)
        if target in TARGETS:
            assert_near(Layer(cell, *sizes, np.float64).run(), expected, 1e-12)
            assert_near(Layer(cell, *sizes, np.float32).run(), expected, 3e-5)
        bf16 = Layer(cell, *sizes, np.float32).run(compute="bf16", kept="float32")
        assert_near(bf16, expected, 0.1)


@pytest.mark.parametrize("cell", [CLIPPED, EVERYTHING], ids=label)
def test_an_evaluation_has_expectations(cell: CellSpec) -> None:
    layer = Layer(cell, 4, 3, 3, 9, np.float64, trained=False)
    assert_near(layer.run(), layer.judged(), 1e-12)


@pytest.mark.parametrize("compute", ["full", "bf16"])
@pytest.mark.parametrize("cell", [EVERYTHING, DROPPED, CellSpec(layer_norm=True)], ids=label)
def test_no_bit_depends_on_batch_chunks_threads_or_checkpoint(cell: CellSpec, target: str, compute: str) -> None:
    layer = Layer(cell, 9, 3, 9, 17, np.float32)
    options: dict[str, Any] = {"compute": compute, "kept": "float32"}
    whole = layer.run(**options)
    assert_same_bits(layer.run(threads=3, **options), whole)
    checkpoints = layer.run(checkpoint=2, **options)
    for name, array in checkpoints.items():
        np.testing.assert_array_equal(array, whole[name], err_msg=name)
    weights, args = layer.four_gates(), layer.args(**options)
    alone = args if layer.draws is None else args._replace(draws=layer.draws._replace(row_ids=ROWS[1:2]))
    one = kernels.forward(layer.x[:, 1:2], layer.h_0[1:2], layer.c_0[1:2], weights, alone)
    np.testing.assert_array_equal(one.y, whole["y"][:, 1:2])
    first = kernels.forward(layer.x[:4], layer.h_0, layer.c_0, weights, args)
    late = args if layer.draws is None else args._replace(draws=layer.draws._replace(first_step=6))
    second = kernels.forward(layer.x[4:], first.h_n, first.c_n, weights, late)
    np.testing.assert_array_equal(np.concatenate([first.y, second.y]), whole["y"])
    np.testing.assert_array_equal(second.h_n, whole["h_n"])
    np.testing.assert_array_equal(second.c_n, whole["c_n"])


@pytest.mark.parametrize("reverse", [False, True])
def test_packed_steps_are_rows_on_their_own(reverse: bool) -> None:
    cell, sizes = CellSpec(peephole=True, layer_norm=True, zoneout_hidden=0.4, candidate_dropout=0.3), [3, 3, 2, 1]
    layer, starts = Layer(cell, 4, 3, 3, 9, np.float64), np.cumsum([0, *sizes])
    weights, args = layer.four_gates(), layer.args(reverse=reverse)
    x = np.concatenate([layer.x[t, :size] for t, size in enumerate(sizes)])
    packed = kernels.forward(x, layer.h_0, layer.c_0, weights, args._replace(batch_sizes=sizes))
    for b in range(3):
        T = sum(size > b for size in sizes)
        own = args._replace(draws=layer.draws._replace(row_ids=ROWS[b : b + 1]))
        row = slice(b, b + 1)
        alone = kernels.forward(layer.x[:T, row], layer.h_0[row], layer.c_0[row], weights, own)
        np.testing.assert_array_equal(packed.y[starts[:T] + b], alone.y[:, 0])
        np.testing.assert_array_equal(packed.h_n[row], alone.h_n)


def test_what_does_not_fit_is_refused() -> None:
    layer = Layer(EVERYTHING, 2, 2, 3, 5, np.float64)
    weights, args = layer.four_gates(), layer.args()
    for name, wrong in (("w_ch", np.zeros(7)), ("w_ln", None), ("w_ln_cell", np.zeros(5, np.float32))):
        with pytest.raises(GatewrightError, match=name):
            kernels.forward(layer.x, None, None, weights._replace(**{name: wrong}), args)
    for name, wrong in (("rates", [0.5]), ("rates", [0, 1.0, 0, 0, 0]), ("cell", 3 * 256), ("cell", 32768)):
        with pytest.raises(GatewrightError, match=name):
            kernels.forward(layer.x, None, None, weights, args._replace(**{name: wrong}))
    three = args._replace(draws=kernels.Draws(0, np.arange(3)))
    with pytest.raises(GatewrightError, match="row_ids"):
        kernels.forward(layer.x, None, None, weights, three)
