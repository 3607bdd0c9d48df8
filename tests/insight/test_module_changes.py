"""What-if and patching in a caller's module: the whole module runs again, judged by modules with other weights."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gatewright import LSTM, CellSpec, GatewrightError, LSTMCell, look
from gatewright.equations import GATES, QUANTITIES
from gatewright.insight import intervene
from tests.insight.test_modules import NAMES, Around, called, doubled, loop, seeded
from tests.support.module_loop import largest_difference, ledger_error, patched_run, tensors
from tests.support.modules import architectures
from tests.support.other_device import run_as_elsewhere

#: A layer of each architecture that changes are made in.
LAYERS = {"CRNN": "rnn", "seq2seq": "decoder", "DeepAR": "lstm", "policy": "lstm_actor", "tagger": "lstm"}


def held_by_bias(module: nn.Module, layer: str, gate: int, unit: int, bias: float) -> nn.Module:
    """The module with a gate of the first layer that its bias holds at 0 or 1."""
    module = copy.deepcopy(module)
    lstm: Any = module.get_submodule(layer)
    with torch.no_grad():
        lstm.bias_ih_l0[gate * lstm.hidden_size + unit] = bias
    return module


@pytest.mark.parametrize("kind", [LSTM, nn.LSTM])
@pytest.mark.parametrize("name", NAMES)
def test_the_whole_module_runs_with_the_change(name, kind):
    module, inputs = architectures(kind)[name]
    module, inputs, layer = module.double(), doubled(inputs), LAYERS[name]
    recording = seeded(look, module, inputs)
    for change, (gate, bias) in {
        "ablate": (3, -1e9),
        "clamp": (1, 1e9),
    }.items():
        argument = {0: [2]} if change == "ablate" else {0: {"forget_gate": (2, 1.0)}}
        changed = recording.what_if(layer, **{change: argument})
        expected = seeded(called, held_by_bias(module, layer, gate, 2, bias), inputs)
        for ours, theirs in zip(tensors(changed.predictions), tensors(expected), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        assert changed[layer].about.note
        assert ledger_error(changed[layer]) < 1e-12
        assert changed.difference(recording).largest > 1e-4
        assert changed.baseline is recording
        assert changed.difference().largest == changed.difference(recording).largest
    assert recording.difference(recording).largest == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_modules_own_values_change_no_bit_and_all_values_are_the_sources(name):
    module, inputs = architectures()[name]
    layer = LAYERS[name]
    recording = seeded(look, module, inputs)
    patched = recording.patched(recording, layer, ("cell", "hidden", *GATES))
    for ours, theirs in zip(tensors(patched.predictions), tensors(recording.predictions), strict=True):
        assert torch.equal(ours, theirs)
    for each in recording:
        np.testing.assert_array_equal(patched[each].predictions, recording[each].predictions)
        np.testing.assert_array_equal(patched[each].layers[0].cell, recording[each].layers[0].cell)


@pytest.mark.parametrize("name", ["policy", "tagger"])
def test_on_devices_without_kernels_the_numbers_are_the_same(name, monkeypatch):
    module, inputs = architectures(nn.LSTM)[name]
    module, inputs, layer = module.double(), doubled(inputs), LAYERS[name]
    expected = look(module, inputs)
    run_as_elsewhere(monkeypatch)
    recording = look(module, inputs)
    assert recording.difference(expected).largest < 1e-12
    assert largest_difference(module.get_submodule(layer), recording[layer]) < 1e-12
    changed = recording.patched(recording, layer, ("cell", "hidden", *GATES))
    assert changed.difference(expected).largest < 1e-12
    ablated = recording.what_if(layer, ablate={0: [1]})
    assert ablated.difference(expected.what_if(layer, ablate={0: [1]})).largest < 1e-12
    assert ledger_error(ablated[layer]) < 1e-12


def test_all_that_a_head_reads_gives_the_predictions_of_the_source():
    module, (observations, starts) = architectures()["policy"]
    one, other = look(module, (observations, starts)), look(module, (-observations, starts))
    patched = one.patched(other, "lstm_actor", "hidden")
    assert torch.equal(patched.predictions[0], other.predictions[0])
    assert torch.equal(patched.predictions[1], one.predictions[1])
    module, (words, lengths) = architectures(nn.LSTM)["tagger"]
    one, other = look(module, (words, lengths)), look(module, (words.flip(1), lengths))
    both = one.patched(other, "lstm", "hidden").patched(other, "lstm", "hidden", direction="reverse")
    assert torch.equal(both.predictions, other.predictions)


@pytest.mark.parametrize("layer", [LSTM, nn.LSTM, LSTMCell, nn.LSTMCell])
def test_steps_of_a_loop_are_counted_over_its_calls(layer):
    module = Around(layer(3, 4), loop).double()
    x = torch.randn(2, 6, 2, 3).double()
    one, other = look(module, x[0]), look(module, x[1])
    changed = one.what_if("lstm", clamp={0: {"forget_gate": (1, 0.25, slice(2, 4))}}, edit_cell=(3, 2, 0.5))
    changed = changed.patched(other, "lstm", "cell", steps=[4, 5], units=0).patched(
        other, "lstm", ("hidden", "input"), steps=1, units=[2, 3], rows=1
    )
    source = other["lstm"].layers[0]
    for row in range(2):
        values: dict[Any, Any] = {(t, "forget_gate"): ([1], [0.25]) for t in (2, 3)}
        values |= {(t, "cell"): ([0], source.cell[t, row, [0]]) for t in (4, 5)}
        if row == 1:
            values |= {
                (1, quantity): ([2, 3], getattr(source, quantity)[1, 1, [2, 3]])
                for quantity in ("hidden", "input_gate")
            }
        first = patched_run(module.lstm, 0, False, x[0, :3, row].numpy(), np.zeros(4), np.zeros(4), values)
        c = first["cell"][-1].copy()
        c[2] = 0.5
        shifted = {(t - 3, quantity): each for (t, quantity), each in values.items()}
        rest = patched_run(module.lstm, 0, False, x[0, 3:, row].numpy(), first["hidden"][-1], c, shifted)
        record = changed["lstm"].layers[0]
        for name in QUANTITIES:
            expected = np.concatenate([first[name], rest[name]])
            np.testing.assert_allclose(getattr(record, name)[:, row], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(changed.predictions[:, row], record.hidden[:, row], rtol=0, atol=1e-12)
    assert ledger_error(changed["lstm"]) < 1e-12


def test_a_name_of_several_sequences_is_all_of_them():
    lstm, x = nn.LSTM(3, 4), torch.randn(5, 2, 3)
    module = Around(lstm, lambda layer, x: (layer(x)[0], layer(-x)[0]))
    recording = look(module, x)
    assert list(recording) == ["lstm#1", "lstm#2"]
    every, second = (recording.what_if(name, ablate={0: [1]}) for name in ("lstm", "lstm#2"))
    zero = [[bool((y[..., 1] == 0).all()) for y in each.predictions] for each in (every, second)]
    assert zero == [[True, True], [False, True]]
    patched = recording.patched(recording["lstm#1"], "lstm#2", "hidden")
    assert torch.equal(patched.predictions[1], recording.predictions[0])
    with pytest.raises(KeyError, match="lstm: there are"):
        recording.patched(recording, "lstm", "hidden")


def test_predictions_of_any_form_have_a_difference():
    module, inputs = architectures()["DeepAR"]
    recording = look(module, inputs)
    changed = recording.what_if("lstm", ablate={1: None})
    assert set(changed.difference(recording).predictions) == {"mean", "samples"}
    assert [each.shape for each in changed.difference(recording).cell["lstm"]] == [(11, 2, 6)] * 2
    with pytest.raises(GatewrightError, match=r"^baseline: expected names as in"):
        changed.difference(dataclasses.replace(recording, layers={"other": recording["lstm"]}))
    with pytest.raises(GatewrightError, match=r"^baseline: .*None, for one that is no change of another"):
        recording.difference()
    with pytest.raises(GatewrightError, match=r"^model: .*DeepAR; look at it, and call what_if of the recording"):
        intervene(module, inputs)


def test_the_state_that_a_module_keeps_is_that_of_the_recorded_run():
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.state = nn.LSTM(3, 4), None
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            y, self.state = self.lstm(x, self.state)
            return y

    module, x = Stateful(), torch.randn(5, 1, 3)
    module(x)  # a state of a graph
    recording = look(module, x)
    assert module.calls == 1
    assert recording["lstm"].layers[0].cell_initial.any()
    with torch.no_grad():
        torch.testing.assert_close(recording.predictions, module(x))
        module.lstm.weight_hh_l0.zero_()
    changed = recording.what_if("lstm", clamp={0: {"forget_gate": (0, 0.5, slice(4, 5))}})
    assert torch.equal(changed.predictions[:4], recording.predictions[:4])


@pytest.mark.parametrize(
    ("run", "lstm", "message"),
    [
        (lambda layer, x: layer(x, mask=torch.ones(5, 2, dtype=bool)), LSTM(3, 4), "without mask.*got lstm"),
        (lambda layer, x: layer(x), LSTM(3, 4, cell=CellSpec(kind="slstm")), "got lstm, an sLSTM"),
    ],
)
def test_changes_that_a_call_does_not_take_are_refused(run, lstm, message):
    recording = look(Around(lstm, run), torch.randn(5, 2, 3))
    with pytest.raises(GatewrightError, match=message):
        recording.what_if("lstm", clamp={0: {"forget_gate": (0, 0.5)}})


def test_packed_and_unbatched_input_with_changes_has_its_form():
    lstm = LSTM(3, 4, batch_first=True, num_layers=2, bidirectional=True)
    packed = nn.utils.rnn.pack_sequence([torch.randn(n, 3) for n in (2, 5, 3)], enforce_sorted=False)
    for x in (packed, torch.randn(5, 3), torch.randn(2, 5, 3)):
        module = Around(lstm, lambda layer, x: layer(x))
        recording = look(module, x)
        changed = recording.what_if("lstm", clamp={1: {"forget_gate": (0, 1.0)}})
        (y, state), (own, own_state) = changed.predictions, recording.predictions
        if x is packed:
            assert torch.equal(y.batch_sizes, own.batch_sizes)
            y, own = y.data, own.data
        assert y.shape == own.shape
        assert not torch.equal(y, own)
        assert [each.shape for each in state] == [each.shape for each in own_state]
        assert torch.equal(state[0][:2], own_state[0][:2])  # the layer below
