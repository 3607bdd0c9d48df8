"""The layer under `torch.compile` and `torch.export`: whole, for any number of steps and rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from gatewright.nn import LSTM

if TYPE_CHECKING:
    from torch._dynamo.testing import CompileCounterWithBackend

# What torch itself warns of while it compiles and exports.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
]

D, H = 4, 6
#: No size is one that another dimension has too, or 1: torch compiles those anew.
SIZES = [(5, 3), (9, 2), (500, 8), (2, 7), (33, 5)]


def counting(backend: str) -> CompileCounterWithBackend:
    """A backend that counts its graphs; its module is slow to import, for the collection of all tests."""
    from torch._dynamo.testing import CompileCounterWithBackend

    return CompileCounterWithBackend(backend)


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Labeller(nn.Module):
    """A bigger module: an embedding, a stack, an average over time, a head.

    No normalization: torch traces a graph with such a constant twice.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Linear(D, D, dtype=torch.float64)
        self.lstm = LSTM(D, H, dtype=torch.float64, **options)
        width = (options.get("proj_size") or H) * (2 if options.get("bidirectional") else 1)
        self.head = nn.Linear(width, 2, dtype=torch.float64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, (_, c_n) = self.lstm(self.embedding(x).relu())
        return self.head(y.mean(0).tanh()), c_n


def results(module: Any, x: Tensor, wrt: list[Tensor]) -> list[Tensor]:
    outputs = module(x)
    return [*outputs, *torch.autograd.grad(sum(output.square().sum() for output in outputs), [x, *wrt])]


def example(T: int, B: int) -> Tensor:
    torch.manual_seed(T)
    return torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)


STACKS = [{}, {"num_layers": 2, "bidirectional": True, "proj_size": 3, "checkpoint": 2}]


@pytest.mark.parametrize("options", STACKS)
def test_a_compiled_module_is_compiled_once_for_all_sizes(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = Labeller(**options)
    counter = counting("aot_eager")
    compiled = torch.compile(module, backend=counter, fullgraph=True, dynamic=True)
    compiled(example(*SIZES[0]))
    graphs = counter.frame_count
    for T, B in SIZES:
        x, wrt = example(T, B), list(module.parameters())
        for a, b in zip(results(compiled, x, wrt), results(module, x, wrt), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    assert counter.frame_count == graphs


@pytest.mark.parametrize("options", STACKS)
def test_the_graph_does_not_grow_with_the_steps(options: dict[str, Any]) -> None:
    module = Labeller(**options)
    nodes = []
    for T in (2, 500):
        torch._dynamo.reset()
        counter = counting("eager")  # the graph is made before a backend gets it
        torch.compile(module, backend=counter, fullgraph=True, dynamic=False)(example(T, 3))
        (graph,) = counter.graphs
        nodes.append([str(node.target) for node in graph.graph.nodes])
    assert nodes[0] == nodes[1]
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    assert nodes[0].count("gatewright.lstm.default") == layers


def test_inductor_compiles_it_too() -> None:
    torch.manual_seed(0)
    layer = LSTM(D, H, 2, bidirectional=True, dtype=torch.float64)
    compiled = torch.compile(lambda x: layer(x)[0].unsqueeze(0), fullgraph=True, dynamic=True)
    for T, B in SIZES[:3]:
        x, wrt = example(T, B), list(layer.parameters())
        expected = results(lambda x: layer(x)[0].unsqueeze(0), x, wrt)
        for a, b in zip(results(compiled, x, wrt), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("what", ["no grad", "record", "state", "batch first", "unbatched"])
def test_every_way_to_call_it_compiles_whole(what: str) -> None:
    torch.manual_seed(0)
    layer = LSTM(D, H, 2, batch_first=what == "batch first")
    state = (torch.randn(2, 3, H), torch.randn(2, 3, H)) if what == "state" else None

    def call(x: Tensor) -> list[Tensor]:
        if what == "record":
            y, (h_n, c_n), record = layer(x, record=True)
            return [y, h_n, c_n, record.layers[1].forget_gate, record.layers[0].cell]
        y, (h_n, c_n) = layer(x, state)
        return [y, h_n, c_n]

    counter = counting("aot_eager" if what == "record" else "eager")
    compiled = torch.compile(call, backend=counter, fullgraph=True, dynamic=True)
    graphs = None
    with torch.set_grad_enabled(what != "no grad"):
        for T in (5, 9, 30):
            x = torch.randn((T, D) if what == "unbatched" else (3, T, D) if what == "batch first" else (T, 3, D))
            for a, b in zip(compiled(x), call(x), strict=True):
                assert torch.equal(a, b)
            graphs = graphs or counter.frame_count
    assert counter.frame_count == graphs


def test_packed_rows_compile() -> None:
    torch.manual_seed(0)
    layer = LSTM(D, H, 2, bidirectional=True, dtype=torch.float64)

    def call(packed: PackedSequence) -> Tensor:
        return layer(packed)[0].data

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True, dynamic=True)
    for T in (5, 8):
        packed = pack_padded_sequence(example(T, 3).detach(), [2, T, 3], enforce_sorted=False)
        wrt = [packed.data.requires_grad_(), *layer.parameters()]
        found = [torch.autograd.grad(f(packed).square().sum(), wrt) for f in (compiled, call)]
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_runs_at_other_sizes(options: dict[str, Any], strict: bool) -> None:
    torch.manual_seed(0)
    module = Labeller(**options).eval()
    dims = {0: torch.export.Dim("T", min=1), 1: torch.export.Dim("B", min=1)}
    program = torch.export.export(module, (example(5, 3),), dynamic_shapes=({**dims},), strict=strict)
    targets = [str(node.target) for node in program.graph.nodes]
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    assert targets.count("gatewright.lstm.default") == layers
    # As earlier versions wrote it, which is what they load, and what they wrote is what this one loads.
    arguments = {len(node.args) for node in program.graph.nodes if "gatewright.lstm" in str(node.target)}
    assert arguments == {7}
    exported, decomposed = program.module(), program.run_decompositions().module()
    for T, B in [*SIZES, (1, 1)]:
        x = example(T, B)
        for a, b in zip(exported(x), module(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    for a, b in zip(decomposed(example(7, 2)), module(example(7, 2)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_an_exported_program_survives_a_file(tmp_path: Any) -> None:
    torch.manual_seed(0)
    module = Labeller().eval()
    dims = {0: torch.export.Dim("T", min=1), 1: torch.export.Dim("B", min=1)}
    torch.export.save(torch.export.export(module, (example(5, 3),), dynamic_shapes=(dims,)), tmp_path / "m.pt2")
    loaded = torch.export.load(tmp_path / "m.pt2").module()
    for a, b in zip(loaded(example(8, 2)), module(example(8, 2)), strict=True):
        assert torch.equal(a, b)
