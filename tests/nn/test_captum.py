"""Captum's integrated gradients runs on `gatewright.LSTM` as it does on torch's, which is its judge."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewright import LSTM
from tests.support.small_models import language_model

pytestmark = pytest.mark.slow

T, B, D, H = 9, 3, 4, 6


class Reader(nn.Module):
    """An LSTM and a head on its last output; the batch comes first, as Captum has it."""

    def __init__(self, lstm: nn.Module, outputs: int) -> None:
        super().__init__()
        self.lstm, self.head = lstm, nn.Linear(outputs, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def pair(dtype: torch.dtype = torch.float32, **options: Any) -> tuple[Reader, Reader]:
    """Our layers and torch's, with the same weights, in evaluation mode."""
    torch.manual_seed(0)
    outputs = H * (2 if options.get("bidirectional") else 1)
    ours = Reader(LSTM(D, H, batch_first=True, **options), outputs).to(dtype)
    theirs = Reader(nn.LSTM(D, H, batch_first=True, **options), outputs).to(dtype)
    theirs.load_state_dict(ours.state_dict())
    return ours.eval(), theirs.eval()


def integrated_gradients(model: Any) -> Any:
    """Captum imports matplotlib, which the collection of other tests does not wait for."""
    from captum.attr import IntegratedGradients

    return IntegratedGradients(model)


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "dropout": 0.5}, {"num_layers": 2, "bidirectional": True}]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_attributions_are_those_of_torch_and_complete(
    options: dict[str, Any], dtype: torch.dtype, tolerance: float
) -> None:
    ours, theirs = pair(dtype, **options)
    x, baseline = torch.randn(2, B, T, D, dtype=dtype)
    for target in (0, 1):
        found, judge = (
            integrated_gradients(model).attribute(x, baseline, target=target, n_steps=100)
            for model in (ours, theirs)
        )
        assert found.shape == x.shape
        assert (found - judge).abs().max() <= tolerance * judge.abs().max()
        with torch.no_grad():
            apart = (ours(x) - ours(baseline))[:, target]
        torch.testing.assert_close(found.sum(dim=(1, 2)), apart, rtol=0, atol=1e-3)
    assert all(value.grad is None for value in ours.parameters())


def test_the_convergence_delta_is_small() -> None:
    ours, _ = pair()
    _, delta = integrated_gradients(ours).attribute(
        torch.randn(B, T, D), target=1, n_steps=100, return_convergence_delta=True
    )
    assert delta.abs().max() < 1e-3


def test_it_attributes_to_the_embeddings_of_a_language_model() -> None:
    model = language_model(sharp=0.5)
    vectors = model.encoder(torch.tensor([[1, 4, 2, 5, 3, 3, 1]])).detach()

    def last(vectors: Tensor) -> Tensor:
        return model.head(model.lstm(vectors.transpose(0, 1))[0][-1])

    found = integrated_gradients(last).attribute(vectors, target=2, n_steps=100)
    with torch.no_grad():
        apart = (last(vectors) - last(torch.zeros_like(vectors)))[0, 2]
    assert float(found.sum()) == pytest.approx(float(apart), abs=1e-3)
