"""The whole model: how it begins, what it computes, what it needs, and that its file gives it back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gatewright.equations import forward as equations_forward
from gatewright.errors import GatewrightError, SpecError
from gatewright.nn.model import Model, load
from gatewright.spec import LayerWeights, SeriesEncoder, StackSpec
from tests.support.small_models import forecaster, language_model, write_sites

# torch says so once, where it runs a projection.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


@pytest.fixture(scope="module")
def series_model(tmp_path_factory):
    return forecaster(write_sites(tmp_path_factory.mktemp("sites") / "sites.csv"))[1]


@pytest.fixture(params=["series", "projected", "variant", "symbols"])
def model(request, series_model):
    if request.param == "symbols":
        return language_model()
    if request.param in ("projected", "variant"):
        stack = StackSpec(7, num_layers=3, proj_size=3, dropout=0.5)
        if request.param == "variant":
            features = {
                "peephole": True,
                "coupled": True,
                "cell_clip": 0.5,
                "zoneout_cell": 0.2,
                "layer_norm": True,
            }
            stack = replace(stack, **features)
        spec = replace(series_model.spec, lstm=stack)
        torch.manual_seed(2)
        built = Model(spec, scaler=series_model.scaler).eval()
        torch.nn.init.normal_(built.head.weight)
        return built
    return series_model


def inputs(model, steps=9, batch=4):
    draw = torch.Generator().manual_seed(1)
    if model.vocabulary is not None:
        return torch.randint(len(model.vocabulary.symbols), (steps, batch), generator=draw)
    return torch.randn(steps, batch, model.spec.input_size, generator=draw)


@torch.no_grad()
def test_a_model_file_gives_the_same_model_back(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert load(tmp_path).spec == again.spec
    assert (again.spec, again.scaler, again.vocabulary) == (model.spec, model.scaler, model.vocabulary)
    assert not again.training
    before, after = model(inputs(model)), again(inputs(model))
    assert torch.equal(before.y, after.y)
    for one, other in zip(before.state, after.state, strict=True):
        assert torch.equal(one, other)
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    for refused in (again.bfloat16().stream, lambda: again.save(tmp_path / "model.safetensors")):
        with pytest.raises(GatewrightError, match=r"expected float32, .*got bfloat16"):
            refused()


@torch.no_grad()
def test_a_model_is_its_equations(model):
    x = inputs(model)
    values = {name: value.double().numpy() for name, value in model.state_dict().items()}
    hidden = values["encoder.weight"][x] if model.vocabulary is not None else x.double().numpy()
    stack = model.spec.lstm
    for layer in range(stack.num_layers):
        names = stack.cell.weights(1, stack.hidden_size)
        weights = LayerWeights.of(stack.cell.code(), [values[f"lstm.{name}_l{layer}"] for name in names])
        hidden, _ = equations_forward(hidden, weights, cell=stack.cell)
    expected = hidden @ values["head.weight"].T + values["head.bias"]
    y = model(x).y
    if model.vocabulary is None:
        assert y.shape[2:] == (3, 2, 3)
    np.testing.assert_allclose(y.flatten(2), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_sequence_in_pieces_is_the_sequence(model):
    x = inputs(model)
    whole = model(x, record=True)
    first = model(x[:4])
    second = model(x[4:], first.state, last=2)
    torch.testing.assert_close(second.y, whole.y[-2:])
    torch.testing.assert_close(first.y, whole.y[:4])
    torch.testing.assert_close(second.state, whole.state)
    assert whole.record is not None
    assert first.record is None


def test_biases_of_other_cells_begin_in_their_own_rows(series_model):
    for features, rows in (({"coupled": True}, slice(0, 5)), ({"output_gate": False}, slice(5, 10))):
        built = Model(replace(series_model.spec, lstm=StackSpec(5, **features)), scaler=series_model.scaler)
        total = built.lstm.bias_ih_l0 + built.lstm.bias_hh_l0
        assert torch.equal(total == 1, (torch.arange(15) >= rows.start) & (torch.arange(15) < rows.stop))
    spec = replace(series_model.spec, lstm=StackSpec(5, forget_gate=False))
    assert (Model(spec, scaler=series_model.scaler).lstm.bias_hh_l0 != 0).all()
    with pytest.raises(GatewrightError, match=r"^cell: expected a plain LSTM cell .*'int8', got forget_gate"):
        Model(spec, scaler=series_model.scaler).stream(weights="int8")


@pytest.mark.parametrize("bias", [1.0, 0.0, 2.5])
def test_the_forget_gates_biases_begin_at_their_sum_in_every_layer(series_model, bias):
    spec = replace(series_model.spec, lstm=StackSpec(5, num_layers=3, proj_size=2))
    built = Model(spec, scaler=series_model.scaler, forget_bias=bias)
    others = []
    for layer in range(3):
        total = built.lstm.get_parameter(f"bias_ih_l{layer}") + built.lstm.get_parameter(f"bias_hh_l{layer}")
        assert torch.equal(total[5:10], torch.full((5,), bias))
        others += [total[:5], total[10:]]
    assert (torch.cat(others).abs() > 0).all()
    assert (torch.cat(others).abs() < 2 / 5**0.5).all()


def test_chrono_initialization_has_its_distribution_in_every_layer(series_model):
    spec = replace(series_model.spec, lstm=StackSpec(400, num_layers=2))
    built = Model(spec, scaler=series_model.scaler, chrono=1000)
    for layer in range(2):
        i, f = (built.lstm.get_parameter(f"bias_ih_l{layer}") + built.lstm.get_parameter(f"bias_hh_l{layer}"))[
            :800
        ].chunk(2)
        assert torch.equal(i, -f)
        steps = f.exp()  # uniform from 1 to 999
        assert 1 <= steps.min() < 20
        assert 980 < steps.max() <= 999.1
        assert abs(steps.mean() - 500) < 50


def test_chrono_initialization_needs_a_forget_gate(series_model):
    spec = replace(series_model.spec, lstm=StackSpec(4, forget_gate=False))
    Model(spec, scaler=series_model.scaler)
    with pytest.raises(GatewrightError, match="layer: expected one with a forget gate, got a cell without"):
        Model(spec, scaler=series_model.scaler, chrono=10)


def test_the_default_forget_bias_is_1(series_model):
    built = Model(series_model.spec, scaler=series_model.scaler)
    total = built.lstm.get_parameter("bias_ih_l1") + built.lstm.get_parameter("bias_hh_l1")
    assert torch.equal(total[6:12], torch.ones(6))


def test_a_forecaster_begins_with_no_change(series_model):
    built = Model(series_model.spec, scaler=series_model.scaler).eval()
    assert not built(inputs(built)).y.any()
    nothing = replace(series_model.spec, encoder=replace(series_model.spec.encoder, reads="nothing"))
    built = Model(nothing, scaler=series_model.scaler).eval()
    assert built(inputs(built)).y.any()


def test_a_model_needs_what_its_encoder_needs(series_model):
    text = language_model()
    spec, scaler = series_model.spec, series_model.scaler
    for wrong in (
        lambda: Model(spec),
        lambda: Model(spec, vocabulary=text.vocabulary),
        lambda: Model(spec, scaler=scaler, vocabulary=text.vocabulary),
        lambda: Model(text.spec),
        lambda: Model(text.spec, scaler=scaler),
    ):
        with pytest.raises(
            SpecError, match="model: expected a scaler for numeric columns, a vocabulary for symbols"
        ):
            wrong()


def test_dropout_works_while_training_only(series_model):
    spec = replace(series_model.spec, lstm=StackSpec(6, dropout=0.5))
    built = Model(spec, scaler=series_model.scaler)
    torch.nn.init.normal_(built.head.weight)
    x = inputs(built)
    assert not torch.equal(built(x).y, built(x).y)
    built.eval()
    assert torch.equal(built(x).y, built(x).y)


def test_the_width_of_the_input_is_what_the_encoder_lists():
    encoder = SeriesEncoder(("a", "b"), past=("p",), known=("k", "l"), static=("s",), calendar=("hour_of_day",))
    for reads, width in {"nothing": 0, "change": 4, "level": 4, "both": 6}.items():
        assert replace(encoder, reads=reads).input_size(3) == width + 1 + 2 * 3 + 1 + 2
