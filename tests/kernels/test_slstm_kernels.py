"""The kernels of the sLSTM: every target against the equations in float64, and the same bits."""

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

Array = np.ndarray
PLACE = Place(seed=-5, layer=2, direction=0)
ROWS = np.array([4, 0, 7, 9, 2])
#: T, B, D, H and heads: these end where vectors do, between them, and many in one.
SIZES = [
    (5, 3, 3, 32, 2),
    (4, 2, 9, 33, 3),
    (3, 2, 5, 24, 8),
    (4, 5, 2, 48, 1),
    (3, 2, 4, 160, 2),
    (1, 1, 1, 1, 1),
]


@pytest.fixture(params=BF16_TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.use_target(request.param):
        yield request.param


class Layer:
    """A layer, its input and adjoints, as the equations take them and as the kernels do."""

    def __init__(self, sizes: tuple[int, ...], dtype: Any = np.float64, **options: Any) -> None:
        T, B, D, H, heads = sizes
        fresh, self.reverse = options.pop("fresh", False), options.pop("reverse", False)
        hidden_alone = options.pop("hidden_alone", False)
        draw = np.random.default_rng(3)

        def normal(*shape: int) -> Array:
            return draw.normal(size=shape).astype(dtype)

        self.H, self.cell = H, CellSpec(kind="slstm", heads=heads, **options)
        shapes = self.cell.weights(D, H).values()
        weights = [
            (normal(*shape) / np.sqrt(shape[-1] if len(shape) > 1 else 1)).astype(dtype) for shape in shapes
        ]
        self.weights = LayerWeights.of(self.cell.code(), weights)
        self.x, self.h_0 = normal(T, B, D), normal(B, H)
        n = 0.5 + draw.random((B, H))
        self.c_0 = np.concatenate([n * draw.uniform(-1, 1, (B, H)), n, draw.normal(size=(B, H))], axis=1).astype(
            dtype
        )
        if fresh:  # one row of two, and in the others one unit of two, have read nothing yet
            self.c_0[::2] = self.c_0[:, ::2] = 0
            if H % 2:
                self.c_0[:, : 2 * H] = 0
        sizes = {"dy": (T, B, H), "dh_n": (B, H), "dc_n": (B, 3 * H), "dgates": (T, B, 4 * H), "dcell": (T, B, H)}
        self.d = kernels.OutputGradients(**{name: normal(*size) for name, size in sizes.items()})
        if hidden_alone:  # where the maximum takes the other branch, the gradient of m goes another way
            self.d = self.d._replace(dc_n=0 * self.d.dc_n)
        drawn = self.cell.hidden_dropout > 0
        self.masks = Masks(PLACE, rows=ROWS[:B], first_step=2) if drawn else None
        self.draws = kernels.Draws(PLACE.seed, ROWS[:B], 2, PLACE.stream(0)) if drawn else None

    def args(self, **options: Any) -> kernels.SequenceArgs:
        options = {"reverse": self.reverse, **options}
        return kernels.SequenceArgs(cell=self.cell.code(), rates=self.cell.rates(), draws=self.draws, **options)

    def run(self, **options: Any) -> dict[str, Array]:
        """Forward and backward by the kernels, the gates as they are kept."""
        args = self.args(**options)
        kept = kernels.forward(self.x, self.h_0, self.c_0, self.weights, args, keep=True)
        back = kernels.backward(self.d, kernels.Inputs(self.x, self.h_0, self.c_0), kept, self.weights, args)
        results = {**kept._asdict(), **back._asdict()}
        if args.checkpoint:
            del results["cell"]
        return {name: each for name, each in results.items() if each is not None}

    def shown(self, **options: Any) -> dict[str, Array]:
        """The same with keep and share in the place of the gates."""
        results = self.run(**options)
        w, slope, z, o = np.split(results["gates"], 4, axis=-1)
        keep, share = np.where(np.signbit(w), 1 + w, w), np.where(np.signbit(w), -w, 1 - w)
        assert (np.abs(w) <= 0.5).all()
        assert (np.abs(slope) <= 1).all()
        return {**results, "gates": np.concatenate([share, keep, z, o], axis=-1)}

    def judged(self) -> dict[str, Array]:
        """The same by the equations in float64."""
        wide = LayerWeights(*(None if W is None else W.astype(float) for W in self.weights))
        back_and_forth = slice(None, None, -1 if self.reverse else 1)
        x, h_0, c_0, dy, dh_n, dc_n, dgates, dcell = (
            each.astype(float) for each in (self.x, self.h_0, self.c_0, *self.d)
        )
        x, dy, dgates, dcell = (each[back_and_forth] for each in (x, dy, dgates, dcell))
        options: dict[str, Any] = {"cell": self.cell, "masks": self.masks}
        y, record = equations.forward(x, wide, h_0, c_0, **options)
        dkeep, _, dz, do = np.split(dgates, 4, axis=-1)
        zeros = np.zeros_like(y)
        d_record = equations.Record(zeros, dkeep, dz, do, dcell, zeros, np.zeros_like(h_0), np.zeros_like(h_0))
        back = equations.backward(equations.OutputGradients(dy, dh_n, dc_n, d_record), record, x, wide, **options)
        gates = np.concatenate([getattr(record, name) for name in equations.GATES], axis=-1)
        of_steps = {"y": y, "gates": gates, "cell": record.cell, "dx": back.dx}
        of_rows = {"h_n": record.h_n, "c_n": record.c_n, "dh_0": back.dh_0, "dc_0": back.dc_0}
        of_weights = {"dW_ih": back.dW_ih, "dW_hh": back.dW_hh, "db": back.db_ih}
        return {**{name: each[back_and_forth] for name, each in of_steps.items()}, **of_rows, **of_weights}


OPTIONS: list[dict[str, Any]] = [
    {},
    {"forget_gate_activation": "exponential", "fresh": True, "reverse": True},
    {"hidden_dropout": 0.4, "fresh": True},
]


@functools.cache
def judged(sizes: tuple[int, ...], options: int, hidden_alone: bool = False) -> dict[str, Array]:
    return Layer(sizes, **OPTIONS[options], hidden_alone=hidden_alone).judged()


def assert_near(got: dict[str, Array], expected: dict[str, Array], tolerance: float) -> None:
    assert set(expected) <= set(got)
    for name, wanted in expected.items():
        scale = max(1.0, np.abs(wanted).max(initial=0))
        assert got[name].shape == wanted.shape, name
        np.testing.assert_allclose(got[name], wanted, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("options", range(len(OPTIONS)))
def test_values_and_gradients_are_those_of_the_equations(options: int, target: str) -> None:
    for sizes in SIZES:
        expected = judged(sizes, options)
        if target in TARGETS:
            assert_near(Layer(sizes, np.float64, **OPTIONS[options]).shown(), expected, 1e-12)
            assert_near(Layer(sizes, np.float32, **OPTIONS[options]).shown(), expected, 5e-5)
        expected = judged(sizes, options, hidden_alone=True)
        layer = Layer(sizes, np.float32, **OPTIONS[options], hidden_alone=True)
        assert_near(layer.shown(compute="bf16", kept="float32"), expected, 0.1)
        narrow = layer.run(compute="bf16", kept="bf16")
        assert_near(narrow, {name: each for name, each in expected.items() if name not in ("gates", "cell")}, 0.1)


@pytest.mark.parametrize("compute", ["full", "bf16"])
@pytest.mark.parametrize("sizes", [(9, 5, 9, 33, 3), (9, 5, 9, 64, 2)])
def test_no_bit_depends_on_batch_chunks_threads_or_checkpoint(
    sizes: tuple[int, ...], target: str, compute: str
) -> None:
    layer = Layer(sizes, np.float32, hidden_dropout=0.3, fresh=True)
    options: dict[str, Any] = {"compute": compute, "kept": "float32"}
    whole = layer.run(**options)
    for split in ("rows", "units"):
        assert_same_bits(layer.run(threads=3, split=split, **options), whole)
        for name, array in layer.run(checkpoint=2, threads=2, split=split, **options).items():
            np.testing.assert_array_equal(array, whole[name], err_msg=name)
    weights, args = layer.weights, layer.args(**options)
    assert layer.draws is not None
    alone = args._replace(draws=layer.draws._replace(row_ids=ROWS[1:2]))
    one = kernels.forward(layer.x[:, 1:2], layer.h_0[1:2], layer.c_0[1:2], weights, alone)
    np.testing.assert_array_equal(one.y, whole["y"][:, 1:2])
    np.testing.assert_array_equal(one.c_n, whole["c_n"][1:2])
    h, c, steps = layer.h_0, layer.c_0, []
    for t in range(len(layer.x)):
        late = args._replace(draws=layer.draws._replace(first_step=2 + t))
        step = kernels.forward(layer.x[t : t + 1], h, c, weights, late)
        h, c, steps = step.h_n, step.c_n, [*steps, step.y]
    np.testing.assert_array_equal(np.concatenate(steps), whole["y"])
    np.testing.assert_array_equal(h, whole["h_n"])
    np.testing.assert_array_equal(c, whole["c_n"])


@pytest.mark.parametrize("reverse", [False, True])
def test_packed_steps_are_rows_on_their_own(reverse: bool) -> None:
    sizes, layer = [3, 3, 2, 1], Layer((4, 3, 3, 12, 2), fresh=True)
    starts, args = np.cumsum([0, *sizes]), layer.args(reverse=reverse, threads=2)
    x = np.concatenate([layer.x[t, :size] for t, size in enumerate(sizes)])
    packed = kernels.forward(x, layer.h_0, layer.c_0, layer.weights, args._replace(batch_sizes=sizes))
    for b in range(3):
        T, row = sum(size > b for size in sizes), slice(b, b + 1)
        alone = kernels.forward(layer.x[:T, row], layer.h_0[row], layer.c_0[row], layer.weights, args)
        np.testing.assert_array_equal(packed.y[starts[:T] + b], alone.y[:, 0])
        np.testing.assert_array_equal(packed.c_n[row], alone.c_n)


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_with_steps_of_their_own_are_rows_on_their_own(reverse: bool) -> None:
    """Lengths, a mask and resets: each row in pieces between its resets, without what the mask leaves out."""
    T, B, H = 7, 5, 12
    layer, draw = Layer((T, B, 3, H, 2), fresh=True), np.random.default_rng(8)
    lengths, mask, reset = np.array([7, 0, 4, 6, 7]), draw.random((T, B)) < 0.7, draw.random((T, B)) < 0.3
    h_reset, c_reset = layer.h_0[::-1].copy(), layer.c_0[::-1].copy()
    steps = kernels.Steps(lengths, mask, reset, h_reset, c_reset)
    args = layer.args(steps=steps, reverse=reverse, fill=True, threads=2)
    whole = kernels.forward(layer.x, layer.h_0, layer.c_0, layer.weights, args, keep=True)
    w, _, z, o = np.split(whole.gates, 4, axis=-1)
    keep, share = np.where(np.signbit(w), 1 + w, w), np.where(np.signbit(w), -w, 1 - w)
    for b in range(B):
        h, c = layer.h_0[b : b + 1], layer.c_0[b : b + 1]
        for t in sorted(range(lengths[b]), reverse=reverse):
            if reset[t, b]:
                h, c = h_reset[b : b + 1], c_reset[b : b + 1]
            before = np.divide(c[0, :H], c[0, H : 2 * H], out=np.zeros(H), where=c[0, H : 2 * H] != 0)
            if mask[t, b]:
                step = kernels.forward(layer.x[t : t + 1, b : b + 1], h, c, layer.weights, layer.args())
                h, c = step.h_n, step.c_n
            np.testing.assert_array_equal(whole.y[t, b], h[0])
            average = np.divide(c[0, :H], c[0, H : 2 * H], out=np.zeros(H), where=c[0, H : 2 * H] != 0)
            np.testing.assert_array_equal(whole.cell[t, b], average)
            np.testing.assert_allclose(keep[t, b] * before + share[t, b] * z[t, b], average, rtol=0, atol=1e-14)
            np.testing.assert_allclose(o[t, b] * average, h[0] if mask[t, b] else 0 * h[0], rtol=0, atol=1e-15)
        np.testing.assert_array_equal(whole.h_n[b], h[0])
        np.testing.assert_array_equal(whole.c_n[b], c[0])
        assert not whole.y[lengths[b] :, b].any()


def test_gradients_of_rows_with_steps_of_their_own() -> None:
    """Each row's gradient is that of the row on its own, and of the state that a reset sets that of its pieces."""
    T, B, H = 6, 4, 10
    layer, cut = Layer((T, B, 3, H, 2)), 3
    lengths, mask, reset = np.array([6, 0, 2, 5]), np.ones((T, B), bool), np.zeros((T, B), bool)
    mask[1, 0] = mask[4, 3] = False
    reset[cut, 0] = reset[cut, 3] = True
    layer.d.dy[~mask] = 0
    h_reset, c_reset = layer.h_0[::-1].copy(), layer.c_0[::-1].copy()
    args = layer.args(steps=kernels.Steps(lengths, mask, reset, h_reset, c_reset))
    d = layer.d._replace(dgates=None, dcell=None)
    inputs = kernels.Inputs(layer.x, layer.h_0, layer.c_0)
    whole = kernels.forward(*inputs, layer.weights, args, keep=True)
    back = kernels.backward(d, inputs, whole, layer.weights, args)
    checked = args._replace(checkpoint=1, threads=2)
    again = kernels.backward(d, inputs, kernels.forward(*inputs, layer.weights, checked, keep=True),
                             layer.weights, checked)  # fmt: skip
    dW = np.zeros_like(back.dW_hh)
    for b in range(B):
        row = slice(b, b + 1)
        pieces = [(0, min(cut, lengths[b])), (cut, lengths[b])] if reset[:, b].any() else [(0, lengths[b])]
        dh, dc = d.dh_n[row], d.dc_n[row]
        for begin, end in reversed(pieces):
            times = [t for t in range(begin, end) if mask[t, b]]
            h, c = (h_reset[row], c_reset[row]) if begin else (layer.h_0[row], layer.c_0[row])
            own = kernels.Inputs(layer.x[times, row], h, c)
            kept = kernels.forward(*own, layer.weights, layer.args(), keep=True)
            outer = kernels.OutputGradients(d.dy[times, row], dh, dc)
            one = kernels.backward(outer, own, kept, layer.weights, layer.args())
            dh, dc, dW = one.dh_0, one.dc_0, dW + one.dW_hh
            np.testing.assert_allclose(back.dx[times, b], one.dx[:, 0], rtol=0, atol=1e-12)
            if begin:
                np.testing.assert_allclose(back.dh_reset[row], dh, rtol=0, atol=1e-12)
                np.testing.assert_allclose(back.dc_reset[row], dc, rtol=0, atol=1e-12)
                dh, dc = 0 * dh, 0 * dc
        np.testing.assert_allclose(back.dh_0[row], dh, rtol=0, atol=1e-12)
        np.testing.assert_allclose(back.dc_0[row], dc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(back.dW_hh, dW, rtol=0, atol=1e-12)
    for name, array in again._asdict().items():
        np.testing.assert_array_equal(array, getattr(back, name), err_msg=name)


def test_extreme_gates_neither_overflow_nor_cancel() -> None:
    """Gates from e^-200 to e^200 over float32: the average stays one, and keep and share have all digits."""
    H, T = 5, 6
    push = np.array([-200, -30, 0, 30, 200], np.float32)
    weights = LayerWeights(np.zeros((4 * H, 1), np.float32), np.zeros((4 * H, H), np.float32))
    bias = np.concatenate([push, -push, np.full(H, 0.5), np.zeros(H)]).astype(np.float32)
    weights = weights._replace(b_ih=bias, b_hh=np.zeros_like(bias))
    x = np.zeros((T, 1, 1), np.float32)
    for code in (8192, 8192 + 16384):
        kept = kernels.forward(x, None, None, weights, kernels.SequenceArgs(cell=code), keep=True)
        w = kept.gates[..., :H].astype(float)
        log_i, log_f = push.astype(float), -push.astype(float)
        if code == 8192:
            log_f = -np.logaddexp(0, -log_f)
        size = log_i.copy()  # log of e^m n after the first step
        np.testing.assert_array_equal(w[0], 0)
        for t in range(1, T):
            odds = log_f + size - log_i
            less = np.exp(-np.abs(odds)) / (1 + np.exp(-np.abs(odds)))
            ordinary = less > 1e-37
            np.testing.assert_allclose(np.abs(w[t, 0])[ordinary], less[ordinary], rtol=2e-5)
            np.testing.assert_array_equal(np.signbit(w[t, 0])[ordinary], (odds > 0)[ordinary])
            size = np.logaddexp(log_f + size, log_i)
        np.testing.assert_allclose(kept.cell[:, 0], np.tanh(0.5), rtol=1e-6)
        assert np.isfinite(kept.c_n).all()


def test_what_does_not_fit_is_refused() -> None:
    layer = Layer((2, 2, 3, 6, 2))
    x, h, c, weights, args = layer.x, layer.h_0, layer.c_0, layer.weights, layer.args()
    wrong_args = {
        "cell": [8192 + 8, 8192 + 4096, 8192 + 32768],
        "rates": [[0.5, 0, 0, 0, 0], [0, 0.1, 0, 0, 0]],
        "clamps": [np.zeros((4, 6))],
    }
    for name, wrongs in wrong_args.items():
        for wrong in wrongs:
            with pytest.raises(GatewrightError, match=name):
                kernels.forward(x, h, c, weights, args._replace(**{name: wrong}))
    with pytest.raises(GatewrightError, match="c_0"):
        kernels.forward(x, h, c[:, :6], weights, args)
    with pytest.raises(GatewrightError, match="W_hh"):
        kernels.forward(x, h, c, weights._replace(W_hh=weights.W_hh[:, :2].repeat(2, 1)), args)
    with pytest.raises(GatewrightError, match="W_hr"):
        kernels.forward(x, h, c, weights._replace(W_hr=np.zeros((3, 6))), args)
    plain = kernels.LayerWeights(np.zeros((24, 3)), np.zeros((24, 6)))
    with pytest.raises(GatewrightError, match="cell"):
        kernels.forward(x, None, None, plain, kernels.SequenceArgs(cell=16384))
    narrow = LayerWeights(*(each.astype(np.float32) for each in weights[:4]))
    with pytest.raises(GatewrightError, match="cell"):
        kernels.forward(x.astype(np.float32), None, None, narrow, args._replace(compute="int8"))
    kept = kernels.forward(x, h, c, weights, args, keep=True)
    bare = kernels.Kept(kept.y, kept.gates, kept.cell)
    with pytest.raises(GatewrightError, match="c_n"):
        kernels.backward(layer.d, kernels.Inputs(x, h, c), bare, weights, args)
