"""The benchmarks time the same work for everyone, and say what they timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import (
    bars,
    busy,
    cases,
    contender_process,
    contenders,
    engine_calls,
    engines,
    large_table,
    machine,
    memory,
    messages,
    onnx_peer,
    peers,
    processes,
    readme,
    sequences,
    small_calls,
    step,
    timing,
    training,
    variants,
    verdicts,
)
from benchmarks.__main__ import main
from benchmarks.cases import Case
from benchmarks.contenders import (
    BY_NAME,
    OPENVINO,
    OPENVINO_BF16,
    OURS_BF16,
    OURS_BF16_SAVING_FLOAT32,
    TORCH_AUTOCAST,
    TORCH_BF16,
)
from benchmarks.messages import Message
from benchmarks.outcomes import Outcome, Row, implementations
from benchmarks.peers import ORT, OURS, TORCH
from benchmarks.settings import Settings, torch_threads
from benchmarks.timing import Plan, Timed

from gatewright import equations
from gatewright.data.table import Roles, read_table
from gatewright.errors import GatewrightError

pytestmark = pytest.mark.slow

TINY = Case("tiny", 5, 3, 7, 9)


def seconds(of: dict[str, float], flops: int = 10**9, peak: float = 1e9) -> Outcome:
    return Outcome({name: Timed(value, 0, 5) for name, value in of.items()}, flops, peak)


def work(passed: str, threads: int = 1) -> engines.Work:
    x, dy = peers.inputs(TINY)
    return engines.Work(TINY, passed, x.numpy(), dy.numpy(), peers.weights(peers.torch_layer(TINY)), threads)


def judged(x: np.ndarray, weights: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """y, h_n, c_n by the equations, in float64."""
    y, record = equations.forward(
        x.astype(np.float64), equations.Weights(*(w.astype(np.float64) for w in weights))
    )
    return y, record.h_n, record.c_n


@pytest.fixture
def in_threads(monkeypatch):
    """Contenders in threads of this process, which start at once."""

    def start(contender: contenders.Contender, threads: int) -> processes.Process:
        (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
        outgoing, incoming = os.fdopen(to_write, "wb"), os.fdopen(from_read, "rb")

        def serve() -> None:
            with os.fdopen(to_read, "rb") as reading, os.fdopen(from_write, "wb") as writing:
                contender_process.serve(contender, threads, reading, writing)

        thread = threading.Thread(target=serve)
        thread.start()
        return processes.Process(contender, outgoing, incoming, thread.join)

    monkeypatch.setattr(processes, "start", start)
    monkeypatch.setattr(sequences, "plan", lambda _: Plan(0.0, 2, turn=0.001))


def test_flops_are_those_of_two_products_a_step():
    # (B, D) x (D, 4H) and (B, H) x (H, 4H), a multiplication and an addition each
    assert TINY.flops == 5 * (2 * 3 * 7 * 36 + 2 * 3 * 9 * 36)
    outcome = seconds({OURS: 2.0, TORCH: 6.0, ORT: 3.0}, flops=4 * 10**9, peak=8e9)
    assert (outcome.over(TORCH), outcome.over(ORT), outcome.over_best()) == (3.0, 1.5, 1.5)
    assert (outcome.gflops, outcome.of_peak) == (2.0, 0.25)
    assert np.isnan([outcome.over(OPENVINO), outcome.over(TORCH, OURS_BF16), outcome.over_best([OPENVINO])]).all()


def test_the_thirteen_cases_keep_their_shapes_and_quick_cuts_only_long_ones():
    assert len({case.name for case in cases.CASES}) == 13
    short = {case.name: case.shortened().T for case in cases.CASES}
    assert (short["large"], short["hydro"], short["forecast"]) == (16, 91, 96)
    assert [case.name for case in cases.named(["hydro", "amp"])] == ["amp", "hydro"]
    with pytest.raises(GatewrightError, match="did you mean 'hydro'"):
        cases.named(["hydor"])


def test_contenders_compute_the_same_thing():
    layers, (x, dy) = peers.layers(TINY), peers.inputs(TINY)
    weights = peers.weights(layers[TORCH])
    forward = {name: peers.forward(layer, x)() for name, layer in layers.items()}
    forward[ORT] = onnx_peer.forward(weights, x.numpy(), 1)()
    peers.agree(forward)
    peers.agree({name: peers.training(layer, x, dy)() for name, layer in layers.items()})
    peers.agree({name: call() for name, call in step.contenders(8, steps=3).items()})
    small = small_calls.contenders(8)
    for calls in small.values():
        peers.agree({name: call(3) for name, call in calls.items()})
    assert list(small_calls.least(small[small_calls.STATE], rounds=1)) == [OURS, TORCH]
    for result, expected in zip(forward[ORT], judged(x.numpy(), weights), strict=True):
        np.testing.assert_allclose(np.reshape(result, expected.shape), expected, atol=1e-6)


@pytest.mark.parametrize("name", [OURS_BF16, TORCH_BF16, TORCH_AUTOCAST])
@pytest.mark.parametrize("passed", [contenders.FORWARD, contenders.TRAINING])
def test_contenders_in_bfloat16_compute_the_same_thing_less_exactly(name, passed):
    exact = engines.engine(BY_NAME[TORCH], work(passed)).call()
    first = engines.engine(BY_NAME[name], work(passed)).watched()
    errors = peers.compare(TORCH, exact, name, [result.float() for result in first.results], bf16=True)
    assert all(1e-4 < error < 0.01 for error in errors)
    ran = first.implementation
    assert ran.endswith("products in bf16") if name == OURS_BF16 else ran == "ATen" or ran.startswith("oneDNN ")
    with pytest.raises(peers.DisagreementError, match=f"result 0 of torch and {name} differ by 0.00"):
        peers.compare(TORCH, exact, name, [result.float() for result in first.results])
    with pytest.raises(peers.DisagreementError, match=r"result 1 of torch and half differ by 0.5"):
        peers.compare(TORCH, exact, "half", [exact[0], exact[1] * 0.5, *exact[2:]], bf16=True)


@pytest.mark.parametrize("name", [OPENVINO, OPENVINO_BF16])
def test_openvino_computes_the_same_thing(name):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    engine = engines.engine(BY_NAME[name], work(contenders.FORWARD))
    first = engine.watched()
    expected = judged(work(contenders.FORWARD).x, work(contenders.FORWARD).weights)
    for result, values in zip(first.results, expected, strict=True):
        np.testing.assert_allclose(result.reshape(values.shape), values, atol=1e-6 if name == OPENVINO else 0.01)
    assert first.implementation in ("f32, 1 thread(s)", "bf16, 1 thread(s)")


def test_a_contender_that_cannot_run_is_left_out_with_the_reason(monkeypatch):
    monkeypatch.setattr(contenders, "find_spec", lambda _: None)
    present, left_out = contenders.available()
    assert {TORCH, OURS, TORCH_BF16, TORCH_AUTOCAST} <= {contender.name for contender in present}
    assert left_out[OPENVINO] == "onnx and openvino not installed (pip install 'gatewright[bench]')"
    unknown = BY_NAME[OURS_BF16]._replace(options=(("compute", "bf16"), ("holds", "bf16")))
    assert contenders.reason_to_leave_out(unknown).endswith("holds")


def test_messages_carry_what_was_sent(tmp_path):
    arrays = [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.zeros((0, 4), np.float32),
        np.float32(7.5).reshape(()),
    ]
    with (tmp_path / "messages").open("wb") as stream:
        messages.send(stream, Message({"do": "prepare"}, arrays))
        messages.send(stream, Message({"settled": True}))
    with (tmp_path / "messages").open("rb") as stream:
        message = messages.receive(stream)
        assert message is not None
        assert message.fields == {"do": "prepare"}
        for array, sent in zip(message.arrays, arrays, strict=True):
            np.testing.assert_array_equal(array, sent, strict=True)
        assert messages.receive(stream) == Message({"settled": True}, [])
        assert messages.receive(stream) is None
    content = (tmp_path / "messages").read_bytes()
    (tmp_path / "cut").write_bytes(content[: content.index(b"\n") + 9])
    with (tmp_path / "cut").open("rb") as stream:
        assert messages.receive(stream) is None


@pytest.mark.skipif(not memory.MEASURABLE, reason="there is no /proc to read the states of threads from")
def test_a_contender_runs_in_a_process_of_its_own_and_rests_between_turns():
    asked = work(contenders.FORWARD, threads=2)
    with processes.started([BY_NAME[ORT]], threads=2) as running:
        process = running[ORT]
        prepared = process.prepare(TINY, contenders.FORWARD, (asked.x, asked.dy, *asked.weights))
        for result, expected in zip(prepared.results, judged(asked.x, asked.weights), strict=True):
            np.testing.assert_allclose(result.reshape(expected.shape), expected, atol=1e-6)
        assert process.turn(0.001, True) > 0
        assert process.settled
        [child] = children()
        assert pool_states(child) == {"S"}  # the pool of ONNX Runtime would spin for longer
        process.drop()
    assert not children()


def children() -> list[Path]:
    """The processes that this thread has started and that have not ended."""
    return [
        path
        for path in Path("/proc").glob("[0-9]*")
        if f"\nPPid:\t{os.getpid()}\n" in status(path) and "contender_process" in (path / "cmdline").read_text()
    ]


def status(path: Path) -> str:
    try:
        return (path / "status").read_text()
    except OSError:  # it has just ended
        return ""


def pool_states(process: Path) -> set[str]:
    """Those of all threads but the first: R where one runs or waits for a core, S where it sleeps."""
    stats = [path.read_text() for path in process.glob("task/*/stat") if path.parts[-2] != process.name]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def test_a_contender_that_ended_is_an_error():
    reading, writing = os.pipe()
    os.close(reading)
    with Path(os.devnull).open("rb") as nothing:
        process = processes.Process(BY_NAME[ORT], os.fdopen(writing, "wb"), nothing, lambda: None)
        with pytest.raises(processes.EndedError, match="the process of onnxruntime ended"):
            process.turn(0.0, False)
        process.close()


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


def test_a_slow_call_is_timed_less_often():
    asked: list[str] = []

    class Fake:
        def ask(self, message: Message) -> Message:
            asked.append(message.fields["key"])
            return Message({"seconds": 0.5})

    first = {"quick": (0.5, 0.1), "slow": (3.0, 3.0), "slowest": (20.0, 19.0)}
    prepared = {name: engine_calls.Prepared((), *seconds) for name, seconds in first.items()}
    calls = {name: engine_calls.EngineCall("engine", {}) for name in first}
    engines = engine_calls.Engines({"engine": Fake()})  # type: ignore[dict-item]
    timed = engines.timed(calls, prepared, Plan(0.0, 2))
    assert timed == {"quick": [0.5, 0.5], "slow": [0.5], "slowest": [20.0]}
    assert asked == ["slow", "quick", "quick"]
    assert engines.timed(calls, prepared, Plan(0.0, 1), cpu=True)["slowest"] == [19.0]


@pytest.mark.parametrize("cell", ["zoneout", "weight drop", variants.SLSTM])
def test_loops_of_other_cells_compute_what_our_layers_do(cell):
    case = vars(Case("tiny", 5, 3, 7, 8))
    calls = {what: variants.contender(what, cell, 1, case, steps=4) for what in ("expectation", "loop")}
    peers.agree({what: call() for what, call in calls.items()})


def test_waiting_for_a_core_is_counted_over_all_threads(tmp_path):
    for task, content in (("1", "900 1500000000 7\n"), ("2", "800 250000000 9\n")):
        (tmp_path / task).mkdir()
        (tmp_path / task / "schedstat").write_text(content)
    (tmp_path / "3").mkdir()  # has just ended
    assert timing.waited(tmp_path) == 1.75
    assert timing.waited(tmp_path / "none") == 0


def test_a_short_call_is_warmed_up_and_repeated(clock):
    calls: list[int] = []

    def call() -> list[int]:
        calls.append(1)
        clock.sleep(0.001)
        return calls

    assert timing.interleaved({"a": call}, Plan(0.0, 1))["a"].seconds == pytest.approx(0.001)
    assert len(calls) in (1 + 1 + 20, 1 + 1 + 21)  # a turn of 20 ms, up to rounding


def test_bars_know_their_direction():
    assert [bars.BF16_TRAINING_MEAN.verdict(value) for value in (2.5, 2.2, 2.19, float("nan"))] == [
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
    assert layer.compute == gatewright.nn.model.LSTM(2, 3).compute  # the trainer sets it
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


def test_rows_are_held_against_the_bars_of_their_threads():
    def row(name: str, ours: float, bf16: float) -> Row:
        peers_ms = {TORCH: 4.0, ORT: 3.0, OPENVINO: 6.0, TORCH_BF16: 2.0, TORCH_AUTOCAST: 1.0, OPENVINO_BF16: 1.5}
        outcome = seconds({**peers_ms, OURS: ours, OURS_BF16: bf16})
        outcome.errors.update({TORCH_BF16: [0.003, 0.004, 0.005], OURS_BF16: [0.006, 0.002, 0.005 * bf16]})
        outcome.errors[OURS_BF16_SAVING_FLOAT32] = [0.001, 0.002, 0.001 * ours]
        return Row(Case(name, 1, 1, 1, 1), outcome, outcome)

    rows = [row("amp", 2.0, 0.25), row("rl", 1.0, 1.0)]
    one, two = ({value.bar: value for value in verdicts.judge(rows, threads)} for threads in (1, 2))
    assert one[bars.TRAINING_MEAN_ONE].value == pytest.approx(8**0.5)
    assert (one[bars.TRAINING_LOWEST_ONE].value, one[bars.TRAINING_LOWEST_ONE].note) == (2.0, "amp")
    assert two[bars.FORWARD_MEAN].value == pytest.approx(4.5**0.5)
    assert two[bars.FORWARD_MEAN].note == "only amp, rl"
    assert bars.FORWARD_MEAN not in one
    assert bars.TRAINING_MEAN_ONE not in two
    for found in (one, two):
        assert found[bars.BF16_FORWARD_MEAN].value == pytest.approx(2.0)
        assert (found[bars.BF16_TRAINING_LOWEST].value, found[bars.BF16_TRAINING_LOWEST].note) == (1.0, "rl")
        assert found[bars.BF16_TRAINING_FLOAT32].value == pytest.approx(8.0)
        assert (found[bars.BF16_ERROR].value, found[bars.BF16_ERROR].note) == (1.0, "rl")
        assert found[bars.BF16_ERROR_SAVING_FLOAT32].value == pytest.approx(0.5)
    without = [Row(row.case, seconds({OURS: 1.0, TORCH: 2.0}), seconds({OURS: 1.0, TORCH: 2.0})) for row in rows]
    assert verdicts.judge(without, 2)[0].note == "only amp, rl, without OpenVINO"
    assert not any("bf16" in value.bar.what for value in verdicts.judge(without, 2))


def test_instructions_are_those_of_the_processor(tmp_path):
    (tmp_path / "x86").write_text("model name\t: X\nflags\t\t: fpu avx2 amx_bf16 avx512_bf16\n\nflags\t\t: fma\n")
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert machine.instructions(tmp_path / "x86") == ["avx2", "avx512_bf16", "amx_bf16"]
    assert machine.instructions(tmp_path / "arm") == ["asimd", "bf16"]
    assert machine.instructions(tmp_path / "none") == []


def test_figures_go_to_a_file(tmp_path, capsys, monkeypatch, in_threads):
    monkeypatch.setattr(cases, "CASES", (TINY,))
    path = tmp_path / "found.json"
    told = ["--no-tests", "--quick", "--cases", "tiny", "--threads", "1", "--only", "cases", "--json", str(path)]
    assert main(told) == 0
    found = json.loads(path.read_text())
    row, means = found["cases"]
    assert (row["name"], row["T"], row["threads"]) == ("tiny", 5, 1)
    assert {OURS, TORCH, ORT, OURS_BF16, TORCH_BF16, TORCH_AUTOCAST} <= set(row["forward"]["ms"])
    both = {OURS, TORCH, OURS_BF16, OURS_BF16_SAVING_FLOAT32, TORCH_BF16, TORCH_AUTOCAST}
    assert set(row["training"]["ms"]) == both
    assert row["forward"]["rounds"] == 2
    assert max(row["training"]["errors"][OURS]) < 1e-5 < min(row["training"]["errors"][TORCH_BF16])
    assert means["geometric_means"]["forward over torch"] == pytest.approx(row["forward"]["over"][TORCH])
    assert means["restless"] == []
    assert means["waited"].keys() == row["forward"]["ms"].keys() | row["training"]["ms"].keys()
    assert {"target", "processor", "versions", "instructions", "torch_capability"} <= found.keys()
    assert [bars.TRAINING_MEAN_ONE.what, bars.TRAINING_LOWEST_ONE.what] == [bar["bar"] for bar in found["bars"]][
        :2
    ]
    said = capsys.readouterr().out
    assert "tiny" in said
    for name, reason in means["left_out"].items():
        assert f"{name} is left out: {reason}" in said
    page = readme.page(found)
    ms = row["training"]["ms"][OURS]
    assert f"| tiny | 5, 3, 7, 9 | **{ms:.3g}** |" in page
    assert page.count("| tiny |") == 2


def test_what_ran_is_named_once_for_each_contender():
    forward = Outcome({}, 1, 1.0, {}, {TORCH: "oneDNN brgemm", OURS: "avx512"})
    training = Outcome({}, 1, 1.0, {}, {TORCH: "oneDNN ref", OURS: "avx512"})
    assert implementations([Row(TINY, forward, training)] * 2) == {
        TORCH: "oneDNN brgemm (forward), oneDNN ref (training)",
        OURS: "avx512",
    }


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
