"""The benchmarks time the same work for everyone, and say what they timed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from benchmarks import bars, busy, cases, large_table, memory, onnx_peer, peers, step, timing, training
from benchmarks.__main__ import main
from benchmarks.cases import Case
from benchmarks.peers import ORT, OURS, TORCH
from benchmarks.sequences import Outcome
from benchmarks.settings import Settings, torch_threads
from benchmarks.timing import Plan, Timed

from gatewright import equations
from gatewright.data.table import Roles, read_table
from gatewright.errors import GatewrightError

pytestmark = pytest.mark.slow

TINY = Case("tiny", 5, 3, 7, 9)


def test_flops_are_those_of_two_products_a_step():
    # (B, D) x (D, 4H) and (B, H) x (H, 4H), a multiplication and an addition each
    assert TINY.flops == 5 * (2 * 3 * 7 * 36 + 2 * 3 * 9 * 36)
    outcome = Outcome({OURS: Timed(2.0, 0, 5), TORCH: Timed(6.0, 0, 5), ORT: Timed(3.0, 0, 5)}, 4 * 10**9, 8e9)
    assert (outcome.over(TORCH), outcome.over(ORT), outcome.over_best) == (3.0, 1.5, 1.5)
    assert (outcome.gflops, outcome.of_peak) == (2.0, 0.25)


def test_the_thirteen_cases_keep_their_shapes_and_quick_cuts_only_long_ones():
    assert len({case.name for case in cases.CASES}) == 13
    short = {case.name: case.shortened().T for case in cases.CASES}
    assert (short["large"], short["hydro"], short["forecast"]) == (16, 91, 96)
    assert [case.name for case in cases.named(["hydro", "amp"])] == ["amp", "hydro"]
    with pytest.raises(GatewrightError, match="did you mean 'hydro'"):
        cases.named(["hydor"])


def test_contenders_compute_the_same_thing():
    layers, (x, dy) = peers.layers(TINY), peers.inputs(TINY)
    forward = {name: peers.forward(layer, x)() for name, layer in layers.items()}
    forward[ORT] = onnx_peer.forward(layers[TORCH], x, 1)()
    peers.agree(forward)
    peers.agree({name: peers.training(layer, x, dy)() for name, layer in layers.items()})
    peers.agree({name: call() for name, call in step.contenders(8, steps=3).items()})

    weights = equations.Weights(*(p.detach().double().numpy() for p in layers[TORCH].parameters()))
    y, record = equations.forward(x.double().numpy(), weights)
    for found, expected in zip(forward[ORT], (y, record.h_n, record.c_n), strict=True):
        np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-6)


def test_a_training_call_starts_from_no_gradients():
    x, dy = peers.inputs(TINY)
    call = peers.training(peers.torch_layer(TINY), x, dy)
    for first, second in zip(call(), call(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("wrong", [torch.ones(2) + 1e-3, torch.tensor([1.0, torch.nan])])
def test_contenders_that_differ_are_not_timed(wrong):
    with pytest.raises(peers.DisagreementError, match="result 0 of torch and gatewright"):
        timing.interleaved({TORCH: lambda: (torch.ones(2),), OURS: lambda: (wrong,)}, Plan(0.0, 1), peers.agree)


class Clock:
    """Stands in for `time`: only sleeping takes time."""

    def __init__(self) -> None:
        self._now = 0.0

    def sleep(self, seconds: float) -> None:
        self._now += seconds

    def perf_counter(self) -> float:
        return self._now

    def process_time(self) -> float:
        return 0.0


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_turns_alternate_and_the_median_counts(clock):
    calls: list[str] = []

    def call(name: str, seconds: list[float]) -> timing.Call:
        def run() -> list[str]:
            calls.append(name)
            clock.sleep(seconds.pop())
            return [name]

        return run

    contenders = {"a": call("a", [0.1, 0.01, 0.01, 0.0]), "b": call("b", [0.03, 0.03, 0.2, 0.0])}
    timed = timing.interleaved(contenders, Plan(0.0, 3, turn=0.0))  # one timed call a turn
    assert "".join(calls) == "abababab"
    assert timed["a"].rounds == timed["b"].rounds == 3
    assert timed["a"].seconds == pytest.approx(0.01)
    assert timed["b"].seconds == pytest.approx(0.03)
    assert timing.geometric_mean([4.0, 1.0, 0.25]) == pytest.approx(1.0)


def test_a_short_call_is_warmed_up_and_repeated(clock):
    calls: list[int] = []

    def call() -> list[int]:
        calls.append(1)
        clock.sleep(0.001)
        return calls

    assert timing.interleaved({"a": call}, Plan(0.0, 1))["a"].seconds == pytest.approx(0.001)
    assert len(calls) in (1 + 1 + 20, 1 + 1 + 21)  # a turn of 20 ms, up to rounding


def test_bars_know_their_direction():
    assert [bars.TRAINING_MEAN.verdict(value) for value in (2.5, 2.0, 1.99, float("nan"))] == [
        "aim", "pass", "MISS", "MISS"
    ]  # fmt: skip
    assert [bars.MEMORY.verdict(value) for value in (0.6, 0.75, 0.76)] == ["aim", "pass", "MISS"]
    plain = bars.Judged(bars.MEMORY, 2, 0.7, "hydro").plain()
    assert json.loads(json.dumps(plain))["verdict"] == "pass"


@pytest.mark.skipif(not memory.MEASURABLE, reason="there is no /proc to read memory from")
def test_peak_memory_counts_what_a_step_needs_and_no_more():
    case = Case("tall", 500, 64, 32, 32)
    megabytes = memory.peak(TORCH, case, 1)
    y = case.T * case.B * case.H * 4 / 1e6
    # y, dx, four gates and the cell state at the least; everything twice or thrice at the most
    assert 6 * y < megabytes < 25 * y


def test_busy_processes_end():
    with busy.all_cores_busy():
        pass
    orphan = subprocess.Popen([sys.executable, "-S", "-c", busy.SPIN.replace("os.getppid()\n", "-1\n", 1)])
    assert orphan.wait(timeout=5) == 0


def test_models_are_built_with_torchs_layer_only_inside_the_switch():
    import gatewright.nn.model

    ours = gatewright.nn.model.LSTM
    with training.model_built_with(TORCH):
        assert gatewright.nn.model.LSTM is training.TorchLSTM
    assert gatewright.nn.model.LSTM is ours
    layer = training.TorchLSTM(2, 3)
    y, _ = layer(torch.zeros(4, 1, 2), None, record=False)
    assert y.shape == (4, 1, 3)


def test_parts_prefer_their_own_cases():
    settings = Settings(cases.named(["hydro", "rl"]), quick=True)
    assert [case.name for case in settings.some(["hydro", "amp"])] == ["hydro"]
    assert [case.name for case in settings.some(["amp"])] == ["hydro", "rl"]


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cases", "hydor"], "error: --cases: expected some of amp, "),
        (["--only", "steps"], "error: --only: expected some of cases, step"),
        (["--threads", "0"], "error: --threads: expected whole numbers of at least 1, got '0'"),
        (["--json", "nowhere/found.json"], "error: --json: expected a file in a directory that exists"),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments, said, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_an_unknown_option_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--case", "amp", "--fast"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_figures_go_to_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cases, "CASES", (TINY,))
    path = tmp_path / "found.json"
    told = ["--no-tests", "--quick", "--cases", "tiny", "--threads", "1", "--only", "cases", "--json", str(path)]
    assert main(told) == 0
    found = json.loads(path.read_text())
    row, means = found["cases"]
    assert (row["name"], row["T"], row["threads"]) == ("tiny", 5, 1)
    assert set(row["forward"]["ms"]) == {OURS, TORCH, ORT}
    assert set(row["training"]["ms"]) == {OURS, TORCH}
    assert means["geometric_means"]["forward over torch"] == pytest.approx(row["forward"]["over"][TORCH])
    assert {"target", "processor", "versions"} <= found.keys()
    assert [bar["bar"] for bar in found["bars"]] == [
        one.what for one in (bars.TRAINING_MEAN, bars.TRAINING_EACH, bars.FORWARD_MEAN, bars.FORWARD_EACH)
    ]
    assert "tiny" in capsys.readouterr().out


def test_the_large_table_is_read_and_its_commands_are_timed(tmp_path):
    large_table.write_table(tmp_path / "table.csv", rows=60, series=3)
    roles = Roles(("load",), past=("temperature",), static=("area",), series=("site",))
    table = read_table(tmp_path / "table.csv", roles)
    assert (len(table.series), table.step, table.series[2].values.shape) == (3, "1h", (60, 3))
    assert [len(set(series.values[:, 2])) for series in table.series] == [1, 1, 1]
    found = large_table.measured(["--version"], 1)
    [(when, _)] = found.lines
    assert 0 < when < found.seconds
    assert found.cpu_seconds > 0.01
    assert found.megabytes > 5
    with pytest.raises(RuntimeError, match="error: "):
        large_table.measured(["evaluate", tmp_path / "nothing"], 1)
