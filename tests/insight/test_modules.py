"""`look` at a caller's own module: every LSTM in it, judged by the equations and by the module itself."""

from __future__ import annotations

import copy
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright import LSTM, GatewrightError, LSTMCell, look
from gatewright.insight import ModuleRecording, Recording
from gatewright.nn.reverse import ReverseLSTM
from tests.support.module_loop import largest_difference, ledger_error, tensors
from tests.support.modules import Seq2Seq, architectures

NAMES = list(architectures())


def doubled(value: Any) -> Any:
    """The same in float64."""
    if isinstance(value, dict):
        return {name: doubled(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(doubled, value))
    return value.double() if value.is_floating_point() else value


def called(module: nn.Module, inputs: Any) -> Any:
    """What the module itself returns in evaluation mode."""
    module = copy.deepcopy(module).eval()
    with torch.no_grad():
        if isinstance(inputs, dict):
            return module(**inputs)
        return module(*inputs) if isinstance(inputs, tuple) else module(inputs)


def seeded(run: Any, *arguments: Any) -> Any:
    random.seed(3)
    torch.manual_seed(3)
    return run(*arguments)


@pytest.mark.parametrize("kind", [LSTM, nn.LSTM])
@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_those_of_the_module_and_records_those_of_the_equations(name, kind):
    module, inputs = architectures(kind)[name]
    bits = [seeded(called, module, inputs), seeded(look, module, inputs).predictions]
    for ours, theirs in zip(*map(tensors, bits), strict=True):
        if kind is LSTM:
            assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    module, inputs = module.double(), doubled(inputs)
    recording = seeded(look, module, inputs)
    for ours, theirs in zip(tensors(recording.predictions), tensors(seeded(called, module, inputs)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    layers = {name for name, each in module.named_modules() if isinstance(each, LSTM | nn.LSTM)}
    assert set(recording) == layers
    for layer, each in recording.items():
        assert largest_difference(module.get_submodule(layer), each) < 1e-12
        assert ledger_error(each) < 1e-12


def test_the_loops_of_a_decoder_and_of_a_policy_are_one_sequence_each():
    module, inputs = architectures()["policy"]
    record = look(module, inputs)["lstm_actor"].layers[0].forward
    np.testing.assert_array_equal((record.keep() == 0).all(-1)[1:], inputs[1].numpy()[1:] == 1)
    module, inputs = architectures()["seq2seq"]
    recording = look(module, inputs)
    np.testing.assert_array_equal(
        recording["decoder"].layers[0].cell_initial, recording["encoder"].layers[0].cell[-1]
    )
    assert recording["decoder"].steps == 5


@pytest.mark.parametrize("name", NAMES)
def test_the_module_the_inputs_and_the_random_numbers_stay_as_they_were(name):
    module, inputs = architectures(nn.LSTM)[name]
    module.train()
    module.hidden = nn.Linear(2, 2)(torch.ones(1, 2))  # of a graph, which deepcopy refuses
    fired = []
    module.register_forward_hook(lambda *_: fired.append(1))
    kept = {name: (value, value.clone()) for name, value in module.state_dict(keep_vars=True).items()}
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    read = copy.deepcopy(inputs)
    look(module, inputs)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002
    after = module.state_dict(keep_vars=True)
    assert all(after[name] is value and torch.equal(value, copied) for name, (value, copied) in kept.items())
    assert all(each.training and type(each).__module__ != "gatewright" for each in module.modules())
    assert {type(each) for each in module.modules() if isinstance(each, nn.RNNBase)} == {nn.LSTM}
    assert len(module._forward_hooks) == 1
    assert module.hidden.requires_grad
    for ours, theirs in zip(tensors(read), tensors(inputs), strict=True):
        assert torch.equal(ours, theirs)


class Around(nn.Module):
    """Any function around one layer."""

    def __init__(self, lstm: nn.Module, run: Any) -> None:
        super().__init__()
        self.lstm, self.run = lstm, run

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.run(self.lstm, *inputs, **named)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_layer_and_any_call_of_it(data):
    draw = data.draw
    T, B, D, H = (draw(st.integers(1, 4)) for _ in range(4))
    directions = draw(st.booleans())
    proj = draw(st.integers(0, H - 1))
    options = {"batch_first": draw(st.booleans()), "bidirectional": directions, "proj_size": proj}
    options |= {"num_layers": draw(st.integers(1, 2)), "bias": draw(st.booleans()), "dtype": torch.float64}
    with torch.random.fork_rng():
        torch.manual_seed(draw(st.integers(0, 99)))
        lstm = draw(st.sampled_from([nn.LSTM, LSTM]))(D, H, **options)
        S = options["num_layers"] * (1 + directions)
        state = torch.randn(S, B, proj or H).double(), torch.randn(S, B, H).double()
        form = draw(st.sampled_from(["padded", "unbatched", "packed", "sorted"]))
        x = torch.randn(T, B, D).double()
    lengths = torch.tensor(draw(st.lists(st.integers(1, T), min_size=B, max_size=B)))
    with_state = draw(st.booleans())
    if form == "unbatched":
        x, lengths, state = x[:, 0], torch.tensor([T]), tuple(each[:, 0] for each in state)
    elif form == "padded":
        x, lengths = (x.transpose(0, 1) if options["batch_first"] else x), torch.full((B,), T)
    else:
        lengths = lengths.sort(descending=True).values if form == "sorted" else lengths
        x = pack_padded_sequence(x[: int(lengths.max())], lengths, enforce_sorted=form == "sorted")
    inputs = (x, state) if with_state else (x,)
    module = Around(lstm, lambda layer, *inputs: layer(*inputs))
    recording = look(module, inputs)
    (y, ours), (expected, theirs) = recording.predictions, called(module, inputs)
    if form not in ("padded", "unbatched"):
        assert torch.equal(y.batch_sizes, expected.batch_sizes)
        y, expected = pad_packed_sequence(y)[0], pad_packed_sequence(expected)[0]
    for a, b in zip((y, *ours), (expected, *theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(recording["lstm"].lengths, lengths)
    assert largest_difference(lstm, recording["lstm"]) < 1e-12
    assert ledger_error(recording["lstm"]) < 1e-12


def loop(layer: nn.Module, x: torch.Tensor, state: Any = None) -> Any:
    """A caller's loop over steps (T, B, D)."""
    ys = []
    for step in x:
        if isinstance(layer, nn.LSTMCell):
            state = layer(step, state)
            ys.append(state[0].clone())
        else:
            y, state = layer(step[None], state)
            ys.append(y[0].clone())
            y.zero_()  # the caller's own memory
    return torch.stack(ys)


@pytest.mark.parametrize("layer", [LSTM, nn.LSTM, LSTMCell, nn.LSTMCell])
def test_a_loop_over_steps_is_the_recording_of_the_whole_sequence(layer):
    module, x = Around(layer(3, 4), loop).double(), torch.randn(6, 2, 3, dtype=torch.float64)
    recording = look(module, x)
    assert list(recording) == ["lstm"]
    assert largest_difference(module.lstm, recording["lstm"]) < 1e-12
    torch.testing.assert_close(recording.predictions, called(module, x), rtol=0, atol=1e-12)
    assert len(recording.diagnosis("lstm").layers) == 1
    state = (torch.randn(2, 4).double(), torch.randn(2, 4).double())
    inputs = (x, state if issubclass(layer, nn.LSTMCell) else tuple(each[None] for each in state))
    started = look(module, inputs)["lstm"]
    np.testing.assert_array_equal(started.layers[0].cell_initial, state[1])
    assert largest_difference(module.lstm, started) < 1e-12
    one = look(Around(module.lstm, lambda cell, x: loop(cell, x)), x[:, 0])
    assert largest_difference(module.lstm, one["lstm"]) < 1e-12


def test_calls_that_do_not_continue_each_other_have_recordings_of_their_own():
    lstm = nn.LSTM(3, 4).double()
    x = torch.randn(8, 2, 3).double()

    def siamese(lstm: nn.Module, x: torch.Tensor) -> Any:
        first, state = lstm(x[:3])
        second, other = lstm(x[3:5])
        third, _ = lstm(x[5:6], state)  # continues the first
        fourth, _ = lstm(x[6:7], state)  # so does this one, but the first is longer by now
        lstm(x[7:], tuple(each.flip(1) for each in other))  # rows in another order
        return first, second, third, fourth

    recording = look(Around(lstm, siamese), x)
    assert [(name, each.steps) for name, each in recording.items()] == [
        ("lstm#1", 4), ("lstm#2", 2), ("lstm#3", 1), ("lstm#4", 1)
    ]  # fmt: skip
    assert all(largest_difference(lstm, each) < 1e-12 for each in recording.values())
    with pytest.raises(KeyError, match="lstm: there are lstm#1, lstm#2"):
        recording["lstm"]


class Forget(nn.LSTM):
    """A subclass with a forward of its own."""

    def forward(self, x: torch.Tensor, hx: Any = None) -> Any:
        y, state = super().forward(2 * x, hx)
        return y + 1, state


@pytest.mark.parametrize(
    "change", ["plain", "weight_norm", "functional", "tied", "compiled", "parallel", "subclass"]
)
def test_layers_as_users_change_them(change):
    lstm = Forget(3, 4) if change == "subclass" else nn.LSTM(3, 4)
    module: nn.Module = Around(lstm, lambda layer, x: layer(x)[0])
    x = torch.randn(5, 2, 3)
    if change == "weight_norm":
        nn.utils.parametrizations.weight_norm(lstm, "weight_hh_l0")
    elif change == "functional":
        module = Functional(module, {"lstm.weight_hh_l0": torch.zeros(16, 4)})
    elif change == "tied":
        module.again = lstm
    elif change in ("compiled", "parallel"):
        module = torch.compile(module, backend="eager") if change == "compiled" else nn.DataParallel(module)
    recording = look(module, x)
    layer = "inner.lstm" if change == "functional" else "lstm"
    assert list(recording) == [layer]
    expected = called(getattr(module, "_orig_mod", module), x)
    torch.testing.assert_close(recording.predictions, expected, rtol=1e-5, atol=1e-6)
    assert ledger_error(recording[layer]) < 1e-6


@pytest.mark.parametrize("kind", [nn.LSTM, LSTM])
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.spectral_norm,
        lambda layer, name: prune.l1_unstructured(layer, name, amount=0.5),
    ],
)
def test_weights_that_are_computed_are_those_of_the_call(kind, change):
    lstm, x = kind(3, 4), torch.randn(5, 2, 3)
    change(lstm, "weight_hh_l0")
    module = Around(lstm, lambda layer, x: layer(x)[0]).eval()
    recording = look(module, x)
    with torch.no_grad():
        expected = module(x)
    torch.testing.assert_close(recording.predictions, expected, rtol=1e-5, atol=1e-6)
    assert kind is nn.LSTM or torch.equal(recording.predictions, expected)
    assert recording.what_if("lstm", ablate={0: [0]}).difference().largest > 1e-4
    if kind is LSTM:
        assert (look(lstm, x).what_if(ablate={0: [0]}).predictions[..., 0] == 0).all()


class Functional(nn.Module):
    """A module that runs another one with other weights."""

    def __init__(self, inner: nn.Module, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.weights = inner, weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(self.inner, self.weights, (x,))


def test_hooks_do_what_they_do_in_the_module():
    lstm, x = LSTM(3, 4), torch.randn(5, 2, 3)
    module = Around(lstm, lambda layer, x: layer(x)[0])
    plain = called(module, x)
    lstm.register_forward_hook(lambda _, __, result: (2 * result[0], result[1]))
    module.register_forward_pre_hook(lambda _, inputs: (inputs[0] + 1,))
    recording = look(module, x)
    assert torch.equal(recording.predictions, called(module, x))
    assert torch.equal(recording.predictions, 2 * torch.from_numpy(recording["lstm"].predictions))
    assert not torch.equal(recording.predictions, 2 * plain)


def test_a_layer_that_reads_from_the_end_is_recorded_in_its_order():
    lstm, x = ReverseLSTM(3, 4).double(), torch.randn(5, 2, 3).double()
    recording = look(lstm, x)
    assert list(recording) == ["ReverseLSTM"]
    np.testing.assert_array_equal(recording["ReverseLSTM"].inputs, x.flip(0))
    assert torch.equal(recording.predictions[0], called(lstm, x)[0])
    assert largest_difference(lstm, recording["ReverseLSTM"]) < 1e-12


@pytest.mark.parametrize("layer", [LSTM, nn.LSTM, nn.LSTMCell])
def test_states_of_16_bits_between_calls_keep_the_ledger_exact(layer):
    module, x = Around(layer(3, 4), loop).bfloat16(), torch.randn(9, 2, 3).bfloat16()
    recording = look(module, x)
    assert recording["lstm"].steps == 9
    assert ledger_error(recording["lstm"]) < 1e-6
    torch.testing.assert_close(recording.predictions, called(module, x), rtol=0.02, atol=0.02)


def replaced(lstm: nn.Module) -> nn.Module:
    lstm.forward = lambda x: (x, None)
    return lstm


def in_a_list(lstm: nn.Module) -> nn.Module:
    module = Around(nn.LSTM(3, 4), lambda layer, x: layer(x))
    module.plain = [lstm]
    return module


class Past(nn.LSTM):
    def forward(self, x: torch.Tensor) -> Any:
        return nn.LSTM.forward(self, x)


def quantized(lstm: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(lstm), {nn.LSTM})


def scripted(lstm: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(lstm))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: nn.Sequential(nn.GRU(3, 4)), "that holds a gatewright.LSTM, .* of GRU"),
        (lambda lstm: Around(lstm, lambda _, x: x), "none of lstm called"),
        (lambda lstm: nn.Sequential(replaced(lstm)), "0, whose forward was replaced on the instance"),
        (in_a_list, r"plain\[0\], a LSTM in a plain Python object"),
        (scripted, "0, a LSTM in TorchScript"),
        (quantized, "before its quantization, got 0, a torch.ao.nn.quantized"),
        (lambda _: nn.Sequential(Past(3, 4)), "super.*calls torch.nn.LSTM.forward"),
        (lambda _: nn.Sequential(nn.LSTM(3, 4, device="meta")), "0.weight_ih_l0 on the meta device"),
        (lambda lstm: Around(lstm, lambda lstm, x: torch.vmap(lstm)(x[:, None])), "lstm inside of one"),
        (lambda lstm: Around(lstm, lambda lstm, x: lstm(x / 0)), "^lstm, layer 0 forward, .*nan at step 0"),
    ],
)
def test_what_cannot_be_recorded_is_refused_by_name(make, message):
    with pytest.raises(GatewrightError, match=message):
        look(make(nn.LSTM(3, 4)), torch.ones(5, 1, 3))


def test_a_layer_that_is_not_called_is_named():
    module = Around(nn.LSTM(3, 4), lambda layer, x: layer(x)[0])
    module.spare = nn.LSTM(3, 4)
    with pytest.warns(UserWarning, match="did not call it: spare"):
        recording = look(module, torch.ones(5, 1, 3))
    assert recording.not_called == ("spare",)
    assert repr(recording) == "ModuleRecording(lstm: T=5, B=1, H=4; spare: not called)"


def test_arguments_that_no_module_takes_are_refused():
    module = Seq2Seq()
    for name, value in (("state", ()), ("start", 1), ("steps", 3), ("title", 1)):
        with pytest.raises(GatewrightError, match=f"^{name}: "):
            look(module, torch.ones(5, 1, 3), **{name: value})
    for inputs in (None, {1: torch.ones(1)}):
        with pytest.raises(GatewrightError, match=r"^inputs: "):
            look(module, inputs)


def test_a_layer_of_torch_alone_is_recorded_as_one_of_ours():
    lstm, x = nn.LSTM(3, 4, batch_first=True).double(), torch.randn(2, 5, 3).double()
    state = torch.randn(1, 2, 4).double(), torch.randn(1, 2, 4).double()
    recording = look(lstm, x, state=state, steps=4)
    assert isinstance(recording, Recording)
    assert type(lstm) is nn.LSTM
    assert recording.steps == 4
    assert largest_difference(lstm, recording) < 1e-12
    assert isinstance(look(Forget(3, 4), torch.ones(5, 1, 3)), ModuleRecording)


def test_weights_whose_data_is_replaced_between_two_calls():
    class Halved(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(2, 3)

        def forward(self, x):
            first, weight = self.lstm(x)[0], self.lstm.weight_hh_l0.data
            self.lstm.weight_hh_l0.data = weight / 2
            second = self.lstm(x)[0]
            self.lstm.weight_hh_l0.data = weight
            return first, second

    module, x = Halved(), torch.randn(4, 2, 2)
    for ours, expected in zip(look(module, x).predictions, module(x), strict=True):
        torch.testing.assert_close(ours, expected)
