"""`look` on architectures of other packages, as they are, with random weights: predictions, records and ledgers.

`make interop` brings sb3-contrib only; tests of doctr, gluonts, joeynmt and stanza run where these are installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gatewright

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore"),
]


def crnn() -> tuple[nn.Module, Any]:
    """Convolutions and two layers in both directions (Shi et al. 2015)."""
    pytest.importorskip("doctr", exc_type=Exception)
    from doctr.models.classification import mobilenet_v3_small_r
    from doctr.models.recognition.crnn.pytorch import CRNN

    features = mobilenet_v3_small_r(pretrained=False).features
    module = CRNN(features, vocab="abcdefghij", rnn_units=64, input_shape=(3, 32, 128), exportable=True)
    return module, (torch.randn(2, 3, 32, 128),)


def deepar() -> tuple[nn.Module, Any]:
    """Forecasts as sample paths, step by step (Salinas et al. 2020)."""
    pytest.importorskip("gluonts")
    from gluonts.torch.model.deepar.module import DeepARModel

    module = DeepARModel(
        freq="h", context_length=24, prediction_length=6, num_feat_dynamic_real=2, num_feat_static_real=1,
        num_feat_static_cat=1, cardinality=[5], hidden_size=32, num_layers=2, num_parallel_samples=7,
    )  # fmt: skip
    inputs = {}
    for name, shape in module.describe_inputs(batch_size=3).shapes.items():
        inputs[name] = torch.randint(0, 5, shape) if "cat" in name else torch.randn(shape).abs()
    return module, inputs


class Translator(nn.Module):
    """An encoder in both directions, and a decoder that attends to it at each step (Bahdanau et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        from joeynmt.decoders import RecurrentDecoder
        from joeynmt.encoders import RecurrentEncoder

        sizes = {"rnn_type": "lstm", "hidden_size": 24, "emb_size": 16, "num_layers": 1}
        self.source, self.target = nn.Embedding(20, 16), nn.Embedding(20, 16)
        self.encoder = RecurrentEncoder(bidirectional=True, **sizes)
        self.decoder = RecurrentDecoder(
            encoder=self.encoder, attention="bahdanau", vocab_size=20, init_hidden="bridge", **sizes
        )

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Any:
        mask = (torch.arange(source.shape[1])[None] < lengths[:, None])[:, None]
        output, hidden = self.encoder(self.source(source), lengths, mask)
        return self.decoder(
            self.target(target), encoder_output=output, encoder_hidden=hidden, src_mask=mask,
            unroll_steps=target.shape[1], trg_mask=None,
        )  # fmt: skip


def translator() -> tuple[nn.Module, Any]:
    pytest.importorskip("joeynmt")
    return Translator(), (torch.randint(0, 20, (3, 9)), torch.tensor([9, 7, 4]), torch.randint(0, 20, (3, 6)))


class Evaluation(nn.Module):
    """The actions of a rollout, judged by a policy."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy: Any = policy

    def forward(self, *inputs: Any) -> Any:
        return self.policy.evaluate_actions(*inputs)


def recurrent_ppo() -> tuple[nn.Module, Any]:
    """Actor and critic, whose states begin anew with each episode."""
    pytest.importorskip("sb3_contrib")
    from sb3_contrib import RecurrentPPO
    from sb3_contrib.common.recurrent.type_aliases import RNNStates

    B, T = 3, 8
    agent = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", device="cpu", policy_kwargs={"lstm_hidden_size": 32})
    states = [(torch.randn(1, B, 32), torch.randn(1, B, 32)) for _ in range(2)]
    starts = (torch.rand(B * T) < 0.3).float()
    actions = torch.randint(0, 2, (B * T,))
    return Evaluation(agent.policy), (torch.randn(B * T, 4), actions, RNNStates(*states), starts)


class Tagger(nn.Module):
    """Words in both directions, packed, from learned states, with highways between the layers."""

    def __init__(self) -> None:
        super().__init__()
        from stanza.models.common.hlstm import HighwayLSTM

        options = {"batch_first": True, "bidirectional": True, "dropout": 0.3, "rec_dropout": 0}
        self.words, self.head = nn.Embedding(30, 12), nn.Linear(40, 7)
        self.lstm = HighwayLSTM(12, 20, 2, highway_func=torch.tanh, **options)
        self.h_0, self.c_0 = (nn.Parameter(torch.randn(4, 1, 20)) for _ in range(2))

    def forward(self, words: Tensor, lengths: list[int]) -> Tensor:
        x = nn.utils.rnn.pack_padded_sequence(self.words(words), lengths, batch_first=True)
        states = [state.expand(4, len(lengths), 20).contiguous() for state in (self.h_0, self.c_0)]
        return self.head(self.lstm(x, lengths, hx=tuple(states))[0].data)


def tagger() -> tuple[nn.Module, Any]:
    pytest.importorskip("stanza")
    return Tagger(), (torch.randint(0, 30, (4, 11)), [11, 8, 8, 3])


#: Each architecture, and what `look` records of it.
ARCHITECTURES: list[tuple[Callable[[], tuple[nn.Module, Any]], dict[str, tuple[int, int]]]] = [
    (crnn, {"decoder": (32, 2)}),
    (deepar, {"rnn#1": (24, 3), "rnn#2": (5, 21)}),
    (translator, {"encoder.rnn": (9, 3), "decoder.rnn": (6, 3)}),
    (recurrent_ppo, {"policy.lstm_actor": (8, 3), "policy.lstm_critic": (8, 3)}),
    (tagger, {"lstm.lstm.0.lstm": (11, 4), "lstm.lstm.1.lstm": (11, 4)}),
]


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | tuple | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from tensors(each)


@pytest.mark.parametrize(
    ("architecture", "recorded"), ARCHITECTURES, ids=lambda each: getattr(each, "__name__", "")
)
def test_look_at_an_architecture(architecture: Any, recorded: dict[str, tuple[int, int]]) -> None:
    torch.manual_seed(0)
    module, inputs = architecture()
    module.eval()
    torch.manual_seed(1)  # what it draws
    with torch.no_grad():
        expected = module(**inputs) if isinstance(inputs, dict) else module(*inputs)
    torch.manual_seed(1)
    found = gatewright.look(module, inputs)
    pairs = list(zip(tensors(found.predictions), tensors(expected), strict=True))
    assert pairs
    for prediction, own in pairs:
        torch.testing.assert_close(prediction, own, rtol=1e-5, atol=1e-6)
    assert {name: each.inputs.shape[:2] for name, each in found.items()} == recorded
    for name, recording in found.items():
        for layer in range(len(recording.layers)):
            ledger = found.ledger(name, layer, -1)
            assert np.abs(np.asarray(ledger.total) - np.asarray(ledger.cell)).max() < 1e-6
