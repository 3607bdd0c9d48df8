"""Modules as users write them around LSTMs, with random weights; each with inputs that it reads."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright import LSTM


class CRNN(nn.Module):
    """Text recognition: convolutions, bidirectional LSTMs, log-probabilities for CTC (Shi et al. 2015)."""

    def __init__(self, lstm: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        self.rnn = lstm(16, 5, num_layers=2, bidirectional=True, dropout=0.3)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(10, 7)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)  # (B, 4, 4, W)
        sequence = features.flatten(1, 2).permute(2, 0, 1)  # (W, B, 16)
        return self.head(self.dropout(self.rnn(sequence)[0])).log_softmax(-1)


class Attention(nn.Module):
    """Additive attention (Bahdanau et al. 2015)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query, self.key, self.score = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, 1)

    def forward(self, h: Tensor, states: Tensor) -> Tensor:
        scores = self.score(torch.tanh(self.query(h)[:, None] + self.key(states)))
        return (scores.softmax(1) * states).sum(1)


class Seq2Seq(nn.Module):
    """Translation with attention: the decoder is called step by step, with teacher forcing drawn by chance."""

    def __init__(self, lstm: type[nn.Module] = nn.LSTM, cell: type[nn.Module] | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.encoder = lstm(6, 5, batch_first=True)
        self.decoder = lstm(11, 5, batch_first=True) if cell is None else cell(11, 5)
        self.attention = Attention(5)
        self.head = nn.Linear(10, 11)

    def forward(self, source: Tensor, target: Tensor, forcing: float = 0.5) -> dict[str, Tensor]:
        states, (h, c) = self.encoder(self.embedding(source))
        word, logits = target[:, 0], []
        for t in range(1, target.shape[1]):
            context = self.attention(h[-1], states)
            read = torch.cat([self.embedding(word), context], -1)
            if isinstance(self.decoder, nn.LSTMCell):
                h, c = (each[None] for each in self.decoder(read, (h[0], c[0])))
            else:
                _, (h, c) = self.decoder(read[:, None], (h, c))
            logits.append(self.head(torch.cat([h[-1], context], -1)))
            word = target[:, t] if random.random() < forcing else logits[-1].argmax(-1)
        return {"logits": torch.stack(logits, 1), "attended": context}


@dataclass
class Samples:
    """What `DeepAR` returns."""

    mean: Tensor
    samples: Tensor


class DeepAR(nn.Module):
    """Forecasts by sampled paths, each of which it reads again (Salinas et al. 2020)."""

    def __init__(self, lstm: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 2)
        self.lstm = lstm(1 + 2, 6, num_layers=2, dropout=0.1)
        self.mean, self.scale = nn.Linear(6, 1), nn.Linear(6, 1)

    def forward(self, series: Tensor, group: Tensor, horizon: int = 3) -> Samples:
        embedded = self.embedding(group)[None]
        y, state = self.lstm(torch.cat([series, embedded.expand(len(series), -1, -1)], -1))
        mean, samples = [self.mean(y)], []
        for _ in range(horizon):
            scale = nn.functional.softplus(self.scale(y[-1:]))
            samples.append(torch.normal(mean[-1][-1:], scale))
            y, state = self.lstm(torch.cat([samples[-1], embedded], -1), state)
            mean.append(self.mean(y))
        return Samples(torch.cat(mean), torch.cat(samples))


class Policy(nn.Module):
    """A recurrent policy whose states are reset where an episode starts, as in sb3-contrib's RecurrentPPO."""

    def __init__(self, lstm: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.features = nn.Linear(4, 3)
        self.lstm_actor, self.lstm_critic = lstm(3, 5), lstm(3, 5)
        self.action, self.value = nn.Linear(5, 2), nn.Linear(5, 1)

    def forward(self, observations: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(observations)
        actor, critic = (self._steps(each, features, starts) for each in (self.lstm_actor, self.lstm_critic))
        return self.action(actor), self.value(critic)

    @staticmethod
    def _steps(lstm: nn.Module, features: Tensor, starts: Tensor) -> Tensor:
        state = tuple(features.new_zeros(1, features.shape[1], 5) for _ in range(2))
        hidden = []
        for x, start in zip(features, starts, strict=True):
            keep = (1.0 - start).view(1, -1, 1)
            y, state = lstm(x[None], (keep * state[0], keep * state[1]))
            hidden.append(y)
        return torch.cat(hidden)


class Tagger(nn.Module):
    """Tags of words: a bidirectional LSTM over packed sentences of unequal length."""

    def __init__(self, lstm: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.embedding = nn.Embedding(13, 6, padding_idx=0)
        self.lstm = lstm(6, 4, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(words), lengths, batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0])


def architectures(lstm: type[nn.Module] = LSTM) -> dict[str, tuple[nn.Module, Any]]:
    """The five modules with an LSTM of one kind, each with its inputs, the same in every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        starts = torch.zeros(7, 2)
        starts[0], starts[3, 1], starts[5] = 1, 1, 1
        words = torch.randint(1, 13, (3, 6))
        return {
            "CRNN": (CRNN(lstm), torch.randn(2, 1, 8, 12)),
            "seq2seq": (Seq2Seq(lstm), (torch.randint(0, 11, (2, 5)), torch.randint(0, 11, (2, 6)))),
            "DeepAR": (DeepAR(lstm), {"series": torch.randn(8, 2, 1), "group": torch.tensor([0, 2])}),
            "policy": (Policy(lstm), (torch.randn(7, 2, 4), starts)),
            "tagger": (Tagger(lstm), (words, torch.tensor([4, 6, 2]))),
        }
