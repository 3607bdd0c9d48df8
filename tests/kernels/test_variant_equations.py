"""Finite differences, torch's modules, ONNX Runtime and formulas written out judge the variants of the cell."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from gatewright import equations
from gatewright.equations import Masks, Place, Record
from gatewright.equations.record import FIELDS
from gatewright.errors import GatewrightError
from gatewright.spec import CellSpec, LayerWeights
from tests.support.variant_cells import CELLS, CLIPPED, TOGETHER, label

T, B, D, H = 3, 3, 2, 5
NAMES = LayerWeights._fields


class Layer:
    """A layer of any cell, an input, a first state, and an adjoint of each output."""

    def __init__(self, cell: CellSpec, seed: int = 0, dtype: type = np.float64) -> None:
        random = np.random.default_rng(seed)

        def draw(*shape: int) -> np.ndarray:
            return random.normal(size=shape).astype(dtype)

        self.cell, P = cell, cell.proj_size or H
        shapes = cell.weights(D, H)
        arrays = [draw(*shape) * (0.7 if len(shape) > 1 else 0.4) for shape in shapes.values()]
        self.weights = LayerWeights.of(cell.code(), [array.astype(dtype) for array in arrays])
        self.x, self.h_0, self.c_0 = draw(T, B, D), draw(B, P), draw(B, H)
        self.dy, self.dh_n, self.dc_n = draw(T, B, P), draw(B, P), draw(B, H)
        of_steps = [draw(T, B, H) for _ in range(5)]
        self.d_record = Record(*of_steps, draw(T, B, P), cell_initial=draw(B, H), hidden_initial=draw(B, P))
        drops = cell.rates()[1:] if cell.rates() else []
        self.masks = Masks(Place(seed=11, layer=1, direction=1)) if any(drops) else None

    def forward(self, masks: Masks | None = None) -> tuple[np.ndarray, Record]:
        return equations.forward(self.x, self.weights, self.h_0, self.c_0, cell=self.cell, masks=masks)

    def loss(self, masks: Masks | None) -> float:
        y, record = self.forward(masks)
        loss = np.sum(self.dy * y) + np.sum(self.dh_n * record.h_n) + np.sum(self.dc_n * record.c_n)
        return float(loss + sum(np.sum(getattr(self.d_record, name) * getattr(record, name)) for name in FIELDS))

    def backward(self, masks: Masks | None) -> equations.Gradients:
        record = self.forward(masks)[1]
        adjoints = self.dy, self.dh_n, self.dc_n
        return equations.backward(
            equations.OutputGradients(*adjoints, self.d_record),
            record,
            self.x,
            self.weights,
            cell=self.cell,
            masks=masks,
        )

    def inputs(self) -> dict[str, np.ndarray]:
        weights = {f"d{name}": W for name, W in zip(NAMES, self.weights, strict=True) if W is not None}
        return {"dx": self.x, "dh_0": self.h_0, "dc_0": self.c_0, **weights}


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED], ids=label)
def test_backward_is_the_slope_of_forward(cell: CellSpec) -> None:
    """Along a random direction in each input; a training where the cell has random choices, and an evaluation."""
    layer, random, eps = Layer(cell), np.random.default_rng(5), 1e-6
    for masks in {layer.masks, None}:
        gradients = layer.backward(masks)
        for name, array in layer.inputs().items():
            got, whole = getattr(gradients, name), array.copy()
            assert got.shape == array.shape, name
            direction = random.normal(size=array.shape)
            array += eps * direction
            above = layer.loss(masks)
            array -= 2 * eps * direction
            slope = (above - layer.loss(masks)) / (2 * eps)
            array[...] = whole
            scale = np.linalg.norm(got) * np.linalg.norm(direction) + 1e-3
            assert abs(slope - np.sum(got * direction)) < 1e-7 * scale, (name, masks)
        for name in NAMES:
            assert (getattr(gradients, f"d{name}") is None) == (getattr(layer.weights, name) is None)


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED], ids=label)
def test_a_cell_state_is_what_is_kept_and_what_is_written(cell: CellSpec) -> None:
    layer = Layer(cell)
    for masks in {layer.masks, None}:
        record = layer.forward(masks)[1]
        before = np.concatenate([layer.c_0[None], record.cell[:-1]])
        np.testing.assert_allclose(record.keep() * before + record.write(), record.cell, rtol=0, atol=5e-15)
        np.testing.assert_array_equal(record.at(2).keep(), record.keep()[2])
        assert (record.kept is None) == (not (cell.cell_clip or cell.zoneout_cell))
        if cell.cell_clip and not cell.zoneout_cell:
            assert np.abs(record.cell).max() == cell.cell_clip


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED], ids=label)
def test_chunks_and_rows_are_parts_of_the_whole(cell: CellSpec) -> None:
    """Also in training, where the numbers of rows and steps say which units are met."""
    layer = Layer(cell)
    y, record = layer.forward(layer.masks)
    part = layer.masks and dataclasses.replace(layer.masks, place=Place(11, 1))
    y, record = layer.forward(part)
    some = {"cell": cell, "masks": part and dataclasses.replace(part, rows=(2, 0))}
    rows, _ = equations.forward(layer.x[:, [2, 0]], layer.weights, layer.h_0[[2, 0]], layer.c_0[[2, 0]], **some)
    np.testing.assert_allclose(rows, y[:, [2, 0]], rtol=0, atol=1e-15)
    some["masks"] = part and dataclasses.replace(part, first_step=1)
    late, _ = equations.forward(layer.x[1:], layer.weights, record.hidden[0], record.cell[0], **some)
    np.testing.assert_array_equal(late, y[1:])
    some["masks"] = part
    alone, _ = equations.forward(layer.x[:, 0], layer.weights, layer.h_0[0], layer.c_0[0], **some)
    np.testing.assert_allclose(alone, y[:, 0], rtol=0, atol=1e-15)


def by_torch(layer: Layer, masks: Masks | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y, h_n and c_n by torch's functions, gate after gate, with the order of a step written out."""
    cell, code = layer.cell, layer.weights
    W = {name: None if each is None else torch.from_numpy(each) for name, each in zip(NAMES, code, strict=True)}
    letters = {"input_gate": "i", "forget_gate": "f", "candidate": "g", "output_gate": "o"}
    gates = [letters[name] for name in cell.gates()]
    rows = {gate: slice(H * k, H * (k + 1)) for k, gate in enumerate(gates)}
    reading = [gate for gate in gates if gate != "g"]
    w_c = {gate: W["w_ch"][H * k : H * (k + 1)] for k, gate in enumerate(reading)} if cell.peephole else {}
    of_gates = {"sigmoid": torch.sigmoid, "hard_sigmoid": functional.hardsigmoid}[cell.gate_activation]
    of_states = {"tanh": torch.tanh, "hard_tanh": functional.hardtanh, "identity": lambda z: z}
    chosen = None if masks is None else masks.of(cell, T, B, H, cell.proj_size or H, np.float64)
    x, h, c, ys = torch.from_numpy(layer.x), torch.from_numpy(layer.h_0), torch.from_numpy(layer.c_0), []
    for t in range(T):
        of_step = chosen[t] if chosen else None
        read = h if of_step is None or of_step.hidden is None else h * torch.tensor(of_step.hidden)
        z = {}
        for gate in gates:
            z[gate] = functional.linear(x[t], W["W_ih"][rows[gate]]) + functional.linear(
                read, W["W_hh"][rows[gate]]
            )
            if cell.layer_norm:
                z[gate] = functional.layer_norm(z[gate], (H,), W["w_ln"][rows[gate]])
            for bias in ("b_ih", "b_hh"):
                z[gate] = z[gate] if W[bias] is None else z[gate] + W[bias][rows[gate]]
        f = of_gates(z["f"] + w_c.get("f", 0) * c) if "f" in z else torch.ones_like(c)
        i = of_gates(z["i"] + w_c.get("i", 0) * c) if "i" in z else torch.ones_like(c)
        i = 1 - f if cell.coupled else i
        g = of_states[cell.candidate_activation](z["g"])
        if of_step is not None and of_step.candidate is not None:
            g = g * torch.from_numpy(of_step.candidate)
        new = f * c + i * g
        new = new.clamp(-cell.cell_clip, cell.cell_clip) if cell.cell_clip else new
        new = zoned(c, new, cell.zoneout_cell, of_step and of_step.zoneout_cell)
        o = of_gates(z["o"] + w_c.get("o", 0) * new) if "o" in z else torch.ones_like(c)
        out = functional.layer_norm(new, (H,), W["w_ln_cell"], W["b_ln_cell"]) if cell.layer_norm else new
        out = o * of_states[cell.output_activation](out)
        out = functional.linear(out, W["W_hr"]) if cell.proj_size else out
        h, c = zoned(h, out, cell.zoneout_hidden, of_step and of_step.zoneout_hidden), new
        ys.append(h)
    return torch.stack(ys).numpy(), h.numpy(), c.numpy()


def zoned(before: torch.Tensor, after: torch.Tensor, rate: float, hit: Any) -> torch.Tensor:
    if hit is None:
        return rate * before + (1 - rate) * after
    return torch.where(torch.from_numpy(hit), before, after)


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED], ids=label)
def test_torchs_functions_agree(cell: CellSpec) -> None:
    layer = Layer(cell, seed=3)
    for masks in {layer.masks, None}:
        y, record = layer.forward(masks)
        for got, expected in zip((y, record.h_n, record.c_n), by_torch(layer, masks), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=2e-14)


def test_a_cell_without_features_is_the_plain_one_to_the_bit() -> None:
    for cell in (CellSpec(), CellSpec(proj_size=2), CellSpec(bias=False), CellSpec(weight_drop=0.5)):
        layer = Layer(cell)
        y, record = layer.forward()
        plain, _ = equations.forward(layer.x, layer.weights, layer.h_0, layer.c_0)
        np.testing.assert_array_equal(y, plain)
        general = equations.variants.step(layer.x[0], layer.h_0, layer.c_0, layer.weights, cell)
        np.testing.assert_array_equal(general.hidden, record.hidden[0])


ACTIVATIONS: dict[str, dict[str, Any]] = {
    "sigmoid": {"name": "Sigmoid"},
    "hard_sigmoid": {"name": "HardSigmoid", "alpha": 1 / 6, "beta": 0.5},
    "tanh": {"name": "Tanh"},
    "identity": {"name": "Affine", "alpha": 1.0, "beta": 0.0},
}


@pytest.mark.parametrize(
    "cell",
    [
        CellSpec(peephole=True),
        CellSpec(peephole=True, gate_activation="hard_sigmoid", candidate_activation="identity"),
        CellSpec(output_activation="identity"),
    ],
    ids=label,
)
def test_onnx_runtime_agrees(cell: CellSpec) -> None:
    """Its LSTM has peepholes and other activations; its gates come in the order i, o, f, g."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    layer = Layer(cell, dtype=np.float32)
    i, f, g, o = range(4)

    def ordered(W: np.ndarray, order: tuple[int, ...] = (i, o, f, g)) -> np.ndarray:
        parts = np.split(W, len(W) // H)
        return np.concatenate([parts[k] for k in order])[None]

    w = layer.weights
    arrays = {"X": layer.x, "W": ordered(w.W_ih), "R": ordered(w.W_hh)}
    arrays["B"] = np.concatenate([ordered(w.b_ih), ordered(w.b_hh)], axis=1)
    arrays |= {"h": layer.h_0[None], "c": layer.c_0[None]}
    if cell.peephole:
        arrays["P"] = ordered(w.w_ch, (0, 2, 1))
    used = [
        ACTIVATIONS[name] for name in (cell.gate_activation, cell.candidate_activation, cell.output_activation)
    ]
    node = helper.make_node(
        "LSTM",
        ["X", "W", "R", "B", "", "h", "c", *(["P"] if cell.peephole else [])],
        ["Y", "Y_h", "Y_c"],
        hidden_size=H,
        activations=[each["name"] for each in used],
        activation_alpha=[each["alpha"] for each in used if "alpha" in each] or None,
        activation_beta=[each["beta"] for each in used if "beta" in each] or None,
    )
    inputs = [helper.make_tensor_value_info(name, kind, array.shape) for name, array in arrays.items()]
    outputs = [helper.make_tensor_value_info(name, kind, None) for name in ("Y", "Y_h", "Y_c")]
    graph = helper.make_graph([node], "lstm", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, record = layer.forward()
    Y, Y_h, Y_c = session.run(None, arrays)
    np.testing.assert_allclose(y, Y[:, 0], rtol=0, atol=2e-6)
    np.testing.assert_allclose(record.h_n, Y_h[0], rtol=0, atol=2e-6)
    np.testing.assert_allclose(record.c_n, Y_c[0], rtol=0, atol=2e-6)
    assert np.abs(y - equations.forward(layer.x, equations.Weights(*w[:4]), layer.h_0, layer.c_0)[0]).max() > 0.01


def test_float32_and_bf16_are_near_float64() -> None:
    for cell in (TOGETHER[0], TOGETHER[1], TOGETHER[3]):
        exact, narrow = Layer(CellSpec(**cell)), Layer(CellSpec(**cell), dtype=np.float32)
        gradients = exact.backward(exact.masks)
        for compute, bound in (("full", 1e-5), ("bf16", 0.06)):
            options: dict[str, Any] = {"cell": narrow.cell, "masks": narrow.masks, "compute": compute}
            y, record = equations.forward(narrow.x, narrow.weights, narrow.h_0, narrow.c_0, **options)
            d = narrow.dy, narrow.dh_n, narrow.dc_n
            got = equations.backward(
                equations.OutputGradients(*d, narrow.d_record), record, narrow.x, narrow.weights, **options
            )
            assert y.dtype == np.float32
            assert np.abs(y - exact.forward(exact.masks)[0]).max() < bound
            for name in exact.inputs():
                expected = getattr(gradients, name)
                assert getattr(got, name).dtype == np.float32
                error = np.linalg.norm(getattr(got, name) - expected) / np.linalg.norm(expected)
                assert error < 4 * bound, (name, compute)


def test_weights_of_another_cell_are_refused_by_name() -> None:
    layer = Layer(CellSpec(peephole=True, coupled=True))
    for cell, name in ((CellSpec(coupled=True), "w_ch"), (CellSpec(peephole=True), "W_ih|W_hh")):
        with pytest.raises(GatewrightError, match=rf"^({name}): expected"):
            equations.forward(layer.x, layer.weights, cell=cell)
    wrong = layer.weights._replace(w_ch=layer.weights.w_ch[1:])
    with pytest.raises(GatewrightError, match=r"^w_ch: expected a float64 array of shape \(10\)"):
        equations.step(layer.x[0], layer.h_0, layer.c_0, wrong, cell=layer.cell)
