"""Gradients by samples for Opacus: those of autograd, sample by sample, and of Opacus' own LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewright import LSTM, CellSpec
from gatewright.errors import GatewrightError

opacus = pytest.importorskip("opacus")

from gatewright.exchange.opacus import prepare  # noqa: E402

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
B, T, D, H = 5, 7, 3, 4


class Model(nn.Module):
    """Layers, and a head on what is read of them."""

    def __init__(self, read: Callable[[Any], Tensor], width: int, **options: Any) -> None:
        super().__init__()
        self.lstm, self.head, self.read = LSTM(D, batch_first=True, **options), nn.Linear(width, 2), read

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.lstm(x)))


def of_y(output: Any) -> Tensor:
    return output[0].mean(1)


def of_h_n(output: Any) -> Tensor:
    return output[1][0][-1]


def of_both(output: Any) -> Tensor:
    y, (h_n, _) = output
    return torch.cat([y[:, 2], h_n[-1]], dim=1)


def sample_by_sample(model: nn.Module, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    gradients: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_parameters()}
    for k in range(len(x)):
        loss = nn.functional.cross_entropy(model(x[k : k + 1]), labels[k : k + 1])
        for name, each in zip(gradients, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            gradients[name].append(each)
    return {name: torch.stack(each) for name, each in gradients.items()}


def of_unequal(output: Any) -> Tensor:
    y, (h_n, _) = output
    return torch.cat([y[:, 2], h_n[-1][-1]], dim=1)


CASES: dict[str, tuple[Callable[[Any], Tensor], int, dict[str, Any]]] = {
    "y": (of_y, H, {"hidden_size": H}),
    "h_n": (of_h_n, H, {"hidden_size": H}),
    "y and h_n of two layers": (of_both, 2 * H, {"hidden_size": H, "num_layers": 2}),
    "both directions": (of_both, 3 * H, {"hidden_size": H, "num_layers": 2, "bidirectional": True}),
    "unequal layers": (of_unequal, 6, {"hidden_size": [5, 3]}),
    "residual": (of_y, H, {"hidden_size": H, "num_layers": 3, "residual": True}),
    "peephole, learned start": (
        of_both, 2 * H, {"hidden_size": H, "cell": CellSpec(peephole=True), "initial_state": "learned"},
    ),
    "projection": (of_both, 4, {"hidden_size": H, "proj_size": 2}),
    "sLSTM": (of_both, 2 * H, {"hidden_size": H, "cell": CellSpec(kind="slstm", heads=2)}),
}  # fmt: skip


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_by_samples_are_those_of_one_sample_after_another(name: str, reduction: str) -> None:
    read, width, options = CASES[name]
    torch.manual_seed(0)
    model = Model(read, width, **options).double()
    x, labels = torch.randn(B, T, D).double(), torch.tensor([0, 1, 1, 0, 1])
    expected = sample_by_sample(model, x, labels)
    wrapped = opacus.GradSampleModule(prepare(model), loss_reduction=reduction)
    nn.functional.cross_entropy(wrapped(x), labels, reduction=reduction).backward()
    for key, each in model.named_parameters():
        torch.testing.assert_close(each.grad_sample, expected[key], rtol=0, atol=1e-12, msg=key)


def test_opacus_own_layer_has_the_same_gradients() -> None:
    from opacus.layers import DPLSTM

    torch.manual_seed(0)
    ours, theirs = LSTM(D, H, num_layers=2, batch_first=True), DPLSTM(D, H, num_layers=2, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x, found = torch.randn(B, T, D), []
    for layer in (prepare(ours), theirs):
        wrapped = opacus.GradSampleModule(layer)
        wrapped(x)[0].square().mean().backward()
        found.append({name: each.grad_sample for name, each in layer.named_parameters()})
    theirs_by_name = dict(zip(sorted(found[1]), (found[1][name] for name in sorted(found[1])), strict=True))
    for name, each in found[0].items():
        torch.testing.assert_close(each, theirs_by_name[name], rtol=1e-4, atol=1e-7)


def test_a_model_trains_with_differential_privacy() -> None:
    torch.manual_seed(0)
    model = prepare(Model(of_h_n, H, hidden_size=H))
    data = torch.utils.data.TensorDataset(torch.randn(32, T, D), torch.randint(2, (32,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    engine = opacus.PrivacyEngine(accountant="rdp")
    private, optimizer, loader = engine.make_private(
        module=model, optimizer=optimizer, data_loader=torch.utils.data.DataLoader(data, batch_size=8),
        noise_multiplier=1.0, max_grad_norm=0.5,
    )  # fmt: skip
    before = [each.clone() for each in model.parameters()]
    for x, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(private(x), labels).backward()
        optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert 0 < engine.get_epsilon(1e-3) < 100


@pytest.mark.parametrize(
    "read", [lambda output: output[1][1][-1], lambda output: output[1][0][0] + output[0].mean(1)]
)
def test_a_gradient_that_opacus_would_lose_is_an_error(read: Callable[[Any], Tensor]) -> None:
    model = opacus.GradSampleModule(prepare(Model(read, H, hidden_size=H, num_layers=2)))
    with pytest.raises(GatewrightError, match="loss: expected a loss of y and the last layer's h_n"):
        model(torch.randn(B, T, D)).sum().backward()


def test_what_opacus_cannot_do_is_refused() -> None:
    with pytest.raises(GatewrightError, match="batch_first of 'lstm'"):
        prepare(nn.ModuleDict({"lstm": LSTM(D, H)}))
    with pytest.raises(GatewrightError, match="without dropout or zoneout"):
        prepare(LSTM(D, H, num_layers=2, dropout=0.1, batch_first=True))
    with pytest.raises(GatewrightError, match="without dropout or zoneout"):
        prepare(LSTM(D, H, cell=CellSpec(zoneout_cell=0.1), batch_first=True))
    with pytest.raises(GatewrightError, match=r"gatewright\.LSTM layers"):
        prepare(nn.Linear(2, 2))
    with pytest.raises(GatewrightError, match="an LSTMCell, 'cell'"):
        prepare(nn.ModuleDict({"lstm": LSTM(D, H, batch_first=True), "cell": nn.LSTMCell(2, 2)}))
    lstm = prepare(LSTM(D, H, batch_first=True))
    x = torch.randn(B, T, D)
    with pytest.raises(GatewrightError, match="the input alone"):
        lstm(x, lengths=torch.tensor([7, 3, 2, 1, 5]))
    with pytest.raises(GatewrightError, match=r"a tensor \(B, T, D\)"):
        lstm(x[0])
    assert lstm.eval()(x, lengths=torch.tensor([7, 3, 2, 1, 5]))[0].shape == (B, T, H)  # as ever out of training


def test_samples_and_steps_exchanged_are_refused() -> None:
    model = opacus.GradSampleModule(prepare(LSTM(D, H, batch_first=True)), batch_first=False)
    with pytest.raises(GatewrightError, match="batch_first=True for Opacus too"):
        model(torch.randn(B, T, D))[0].mean().backward()
