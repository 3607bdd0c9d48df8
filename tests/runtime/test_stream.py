"""Streams against whole sequences, bit for bit."""

from __future__ import annotations

import copy
import datetime
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import LSTM, Stream, equations, kernels
from gatewright.errors import GatewrightError
from gatewright.spec.cell import LayerWeights
from tests.support import int8
from tests.support.kernel_cases import BF16_TARGETS
from tests.support.stream_models import SYMBOLS, rows_of, series_model, table, text_model, whole_forecast


@pytest.mark.parametrize("stack", [{}, {"num_layers": 3, "hidden_size": 7}, {"num_layers": 2, "proj_size": 9}])
def test_a_text_model_gives_the_bits_of_the_whole_sequence(stack: dict[str, int], tmp_path: Path) -> None:
    model = text_model(**stack)
    model.save(tmp_path / "model.safetensors")
    stream = Stream.load(tmp_path / "model.safetensors")
    text = "abba hags the bed\nzzz"
    numbers = [SYMBOLS.index(symbol) if symbol in SYMBOLS else 0 for symbol in text]
    with torch.no_grad():
        expected = model(torch.tensor(numbers)[:, None]).y[:, 0].numpy()
    assert np.array_equal(stream.run(text), expected)
    stream.reset()
    assert np.array_equal(np.stack([stream.step(symbol) for symbol in text]), expected)
    stream.reset()
    assert np.array_equal(np.stack([stream.step(number) for number in numbers]), expected)
    assert stream.state().steps == len(text)
    assert stream.symbols == SYMBOLS
    assert stream.output_shape == (len(SYMBOLS),)


@pytest.mark.parametrize("reads", ["both", "change", "level", "nothing"])
def test_a_forecaster_gives_the_bits_of_the_whole_series(reads: str, tmp_path: Path) -> None:
    model = series_model(reads=reads)
    model.save(tmp_path / "model.safetensors")
    stream = Stream.load(tmp_path)
    series, rows = table(model, 43), 40
    expected, xs = whole_forecast(model, series, rows), rows_of(model, series, rows)
    assert stream.columns[:4] == ("flow", "level", "rain", "area")
    assert stream.columns[4:] == ("holiday+1", "holiday+2", "holiday+3", "price+1", "price+2", "price+3")
    assert series.times is not None
    times = series.times[:rows]
    assert np.array_equal(stream.run(xs, times=times), expected)
    stream.reset()
    steps = [stream.step(x, time=when) for x, when in zip(xs, times, strict=True)]
    assert np.array_equal(np.stack(steps), expected)
    stream.reset()
    parts = [stream.run(xs[part], times=times[part]) for part in (slice(0, 7), slice(7, 8), slice(8, rows))]
    assert np.array_equal(np.concatenate(parts), expected)


def test_a_forecaster_without_a_calendar_reads_plain_rows() -> None:
    model = series_model(calendar=(), known=(), static=())
    stream, series = model.stream(), table(model, 43)
    expected, xs = whole_forecast(model, series, 40), rows_of(model, series, 40)
    out = np.empty(stream.output_shape)
    for x, y in zip(xs, expected, strict=True):
        stream.step_into(x, out)
        assert np.array_equal(out, y)
    stream.reset()
    assert np.array_equal(stream.step([float(each) for each in xs[0]]), expected[0])


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 9, 1), (8, 16, 2), (40, 33, 3), (64, 100, 1)])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"proj_size": 5}])
def test_layers_give_the_bits_of_the_whole_sequence(sizes: tuple[int, int, int], options: dict[str, Any]) -> None:
    D, H, L = sizes
    if options.get("proj_size", 0) >= H:
        options = {"proj_size": H - 1}
    torch.manual_seed(0)
    layer = LSTM(D, H, L, **options)
    x = torch.randn(700, D)
    with torch.no_grad():
        y, (h_n, c_n), record = layer(x, record=True)
    stream = layer.stream()
    got, gates = stream.run(x.numpy(), record=True)
    assert np.array_equal(got, y.numpy())
    assert np.array_equal(stream.state().hidden, h_n.numpy())
    assert np.array_equal(stream.state().cell, c_n.numpy())
    for n, one in enumerate(record.layers):
        for name in gates._fields[:5]:
            assert np.array_equal(getattr(gates, name)[:, n], getattr(one, name)[:, 0].numpy())
    stream.reset()
    assert np.array_equal(np.stack([stream.step(each) for each in x[:30].numpy()]), y[:30].numpy())
    step, gates = stream.step(x[30].numpy(), record=True)
    assert np.array_equal(step, y[30].numpy())
    assert gates.cell.shape == (L, H)
    assert np.array_equal(gates.forget_gate[0], record.layers[0].forget_gate[30, 0].numpy())


def test_it_does_what_the_equations_say() -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 9)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    W = {name: value.detach().double().numpy() for name, value in layer.named_parameters()}
    weights = equations.Weights(W["weight_ih_l0"], W["weight_hh_l0"], W["bias_ih_l0"], W["bias_hh_l0"])
    expected, _ = equations.forward(x.astype(np.float64), weights)
    assert np.abs(layer.stream().run(x) - expected).max() < 1e-6


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_sessions_stand_beside_it_a_session_gets_the_same_bits(data: st.DataObject) -> None:
    torch.manual_seed(0)
    D, H, sessions = 3, data.draw(st.sampled_from([4, 17])), 70
    layer = LSTM(D, H, 2)
    stream = layer.stream(sessions=sessions, threads=data.draw(st.sampled_from([1, 2, 3, 8])))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    read: list[list[Any]] = [[] for _ in range(sessions)]
    given_: list[list[Any]] = [[] for _ in range(sessions)]
    for _ in range(data.draw(st.integers(1, 6))):
        chosen = rng.permutation(sessions)[: data.draw(st.integers(1, sessions))]
        T = data.draw(st.integers(1, 12))
        xs = rng.normal(size=(T, len(chosen), D)).astype(np.float32)
        ys = stream.run(xs, sessions=chosen)
        for place, session in enumerate(chosen):
            read[session].extend(xs[:, place])
            given_[session].extend(ys[:, place])
    for session in range(sessions):
        assert stream.state(session).steps == len(read[session])
        if read[session]:
            alone = layer.stream().run(np.stack(read[session]))
            assert np.array_equal(alone, np.stack(given_[session]))


@pytest.mark.parametrize("B", [1, 2, 7, 9, 47, 48, 49, 64, 97])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_sessions_over_many_steps(B: int, threads: int) -> None:
    model = text_model()
    numbers = np.random.default_rng(0).integers(0, len(SYMBOLS), (600, B))
    ys = model.stream(sessions=B, threads=threads).run(numbers if B > 1 else numbers[:, 0])
    with torch.no_grad():
        expected = model(torch.from_numpy(numbers)).y.numpy()
    assert np.array_equal(ys.reshape(expected.shape), expected)


@pytest.mark.parametrize("target", [name for name, runs in kernels.info().targets.items() if runs])
def test_each_target_gives_its_own_bits(target: str) -> None:
    torch.manual_seed(0)
    layer, x = LSTM(5, 19, 2), torch.randn(40, 5)
    model, numbers = text_model(), torch.arange(11)[:, None]
    with kernels.use_target(target), torch.no_grad():
        assert np.array_equal(layer.stream().run(x.numpy()), layer(x)[0].numpy())
        assert np.array_equal(model.stream().run(numbers[:, 0].numpy()), model(numbers).y[:, 0].numpy())


#: Widths of input, hidden units and projection (0: none), and layers: on and off a vector's width, and odd ones.
STACKS = [(1, 1, 1, 0), (3, 9, 2, 0), (40, 33, 3, 7), (17, 64, 1, 0)]


def arrays_of(D: int, H: int, L: int, P: int) -> dict[str, np.ndarray[Any, Any]]:
    torch.manual_seed(0)
    return {name: value.detach().numpy() for name, value in LSTM(D, H, L, proj_size=P).named_parameters()}


@pytest.mark.parametrize("sizes", STACKS)
@pytest.mark.parametrize("target", BF16_TARGETS)
def test_products_of_bfloat16_give_the_bits_of_whole_sequences(
    sizes: tuple[int, int, int, int], target: str
) -> None:
    """Step by step, session by session, restored or with a record: as the kernels and the equations."""
    D, H, L, P = sizes
    arrays = arrays_of(*sizes)
    xs = np.random.default_rng(0).normal(size=(30, 11, D)).astype(np.float32)
    with kernels.use_target(target):
        stream, alone = (Stream.from_weights(arrays, sessions=n, weights="bf16") for n in (11, 1))
        y, record = stream.run(xs, record=True)
        expected = xs
        args = kernels.SequenceArgs(compute="bf16", kept="float32")
        for n in range(L):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
            weights = equations.Weights(*(arrays.get(f"{name}_l{n}") for name in names))
            judge, _ = equations.forward(expected[:3], weights, compute="bf16")
            after = kernels.forward(expected, None, None, weights, args, keep=True)
            expected = after.y
            assert np.abs(expected[:3] - judge).max() < 4e-3  # a number between two may be rounded either way
            for b in (0, 10):
                state = stream.state(b)
                assert np.array_equal(state.hidden[n, : P or H], after.h_n[b])
                assert np.array_equal(state.cell[n], after.c_n[b])
            assert np.array_equal(record.cell[:, :, n], after.cell)
            assert np.array_equal(record.output_gate[:, :, n], after.gates[..., 3 * H :])
        layer = LSTM(D, H, L, proj_size=P, compute="bf16")
        layer.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        with torch.no_grad():
            assert np.array_equal(layer(torch.from_numpy(xs))[0].numpy(), y)
    assert np.array_equal(y, expected)
    assert np.array_equal(np.stack([alone.step(x) for x in xs[:7, 4]]), y[:7, 4])
    other = alone.copy()
    other.reset()
    other.restore(alone.snapshot())
    for each in (alone, other):
        assert np.array_equal(each.run(xs[7:, 4]), y[7:, 4])
    full, widened = (Stream.from_weights(arrays, weights=weights) for weights in ("float32", "bf16-float32"))
    assert alone.weight_bytes * 2 == full.weight_bytes
    assert len({each.fingerprint for each in (alone, full, widened)}) == 3


@pytest.mark.parametrize("kind", ["numbers", "symbols", "projected"])
@pytest.mark.parametrize("target", [name for name, runs in kernels.info().targets.items() if runs])
def test_weights_of_int8_multiply_whole_numbers(kind: str, target: str) -> None:
    draw = np.random.default_rng(0)
    with kernels.use_target(target):
        if kind == "symbols":
            model = text_model(num_layers=2, hidden_size=21)
            tensors = model.file().tensors
            arrays = {name[5:]: array for name, array in tensors.items() if name.startswith("lstm.")}
            numbers = draw.integers(0, len(SYMBOLS), (12, 7))
            xs, inputs = numbers, tensors["encoder.weight"][numbers]
            stream, alone = (model.stream(sessions=n, weights="int8") for n in (7, 1))
        else:
            arrays = arrays_of(5, 19, 2, 0 if kind == "numbers" else 6)
            arrays["weight_hh_l0"][0] = 0
            xs = inputs = draw.normal(size=(12, 7, 5)).astype(np.float32)
            inputs[3] = 0
            stream, alone = (Stream.from_weights(arrays, sessions=n, weights="int8") for n in (7, 1))
        ys = stream.run(xs)
        for x, read, y in zip(xs[:, 4], inputs[:, 4], ys[:, 4], strict=True):
            before = alone.state()
            assert np.array_equal(alone.step(x), y)
            after = alone.state()
            for n in range(2):
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
                weights = LayerWeights(*(arrays.get(f"{name}_l{n}") for name in names))
                h, c, _ = int8.step(weights, read, before.hidden[n], before.cell[n])
                read = after.hidden[n]
                np.testing.assert_allclose(read, h, atol=2e-6)
                np.testing.assert_allclose(after.cell[n], c, atol=2e-6)
    assert np.array_equal(stream.state(4).cell, alone.state().cell)
    assert alone.weight_bytes * 4 == Stream.from_weights(arrays).weight_bytes


def narrowed(W: np.ndarray[Any, Any], weights: str) -> np.ndarray[Any, Any]:
    """What weights of fewer bits stand for."""
    if weights == "bf16-float32":
        return torch.from_numpy(W).bfloat16().float().numpy()
    scale = np.abs(W).max(axis=1, keepdims=True) / np.float32(127)
    return np.rint(W / np.where(scale > 0, scale, 1)).astype(np.float32) * scale


@pytest.mark.parametrize("weights", ["bf16-float32", "int8-float32"])
@pytest.mark.parametrize("sizes", STACKS)
@pytest.mark.parametrize("target", [name for name, runs in kernels.info().targets.items() if runs])
def test_weights_in_fewer_bits_give_the_bits_of_those_weights(
    weights: Any, sizes: tuple[int, int, int, int], target: str
) -> None:
    D = sizes[0]
    arrays = arrays_of(*sizes)
    arrays["weight_hh_l0"][0] = 0
    gates = {
        name: narrowed(array, weights) for name, array in arrays.items() if name[:9] in ("weight_ih", "weight_hh")
    }
    xs = np.random.default_rng(0).normal(size=(30, 11, D)).astype(np.float32)
    with kernels.use_target(target):
        full = Stream.from_weights({**arrays, **gates}, sessions=11)
        narrow = Stream.from_weights(arrays, sessions=11, weights=weights)
        alone = Stream.from_weights(arrays, weights=weights)
    expected, got = full.run(xs), narrow.run(xs)
    if weights == "bf16-float32":
        assert np.array_equal(got, expected)
    else:  # a row's scale multiplies its sum
        assert np.abs(got - expected).max() < 2e-6
    assert np.array_equal(np.stack([alone.step(x) for x in xs[:, 4]]), got[:, 4])
    assert narrow.state(4).cell.tobytes() == alone.state().cell.tobytes()
    assert narrow.weight_bytes * {"bf16-float32": 2, "int8-float32": 4}[weights] == full.weight_bytes
    with pytest.raises(GatewrightError, match="a state of the model"):
        full.restore(narrow.snapshot())


def test_a_batch_of_sessions_may_be_stepped_by_number() -> None:
    model = text_model()
    stream = model.stream(sessions=3)
    alone = [model.stream().step(symbol) for symbol in "abc"]
    assert np.array_equal(stream.step(["a", "b", "c"]), np.stack(alone))
    stream.reset([2, 0])
    assert np.array_equal(stream.step([SYMBOLS.index("c"), SYMBOLS.index("a")], sessions=[0, 2]), alone[2::-2])
    assert [stream.state(n).steps for n in range(3)] == [1, 1, 1]
    assert stream.step("a", sessions=1).shape == (len(SYMBOLS),)
    assert stream.run("abc", sessions=np.int64(1)).shape == (3, len(SYMBOLS))
    assert stream.run([["a", "b"], ["c", "d"]], sessions=[1, 0]).shape == (2, 2, len(SYMBOLS))
    assert stream.run([], sessions=0).shape == (0, len(SYMBOLS))
    assert stream.step([], sessions=[]).shape == (0, len(SYMBOLS))
    calendar = series_model()
    two = calendar.stream(sessions=2)
    row = rows_of(calendar, table(calendar, 5), 1)[0]
    times = ["2024-02-29T12:00", "2024-03-01"]
    both = two.step([row, row], time=times)
    for n, when in enumerate(times):
        assert np.array_equal(both[n], calendar.stream().step(row, time=when))


def test_a_time_may_name_its_zone() -> None:
    model = series_model(time_zone="UTC")
    row = rows_of(model, table(model, 5), 1)[0]
    expected = model.stream().step(row, time=np.datetime64("2024-02-29T22:30"))
    zone = datetime.timezone(datetime.timedelta(hours=2))
    same: list[Any] = [
        "2024-02-29T22:30Z",
        "2024-03-01T00:30+02:00",
        "2024-02-29T22:30:00.000Z",
        "2024-02-29 22:30",
    ]
    same += [datetime.datetime(2024, 3, 1, 0, 30, tzinfo=zone), datetime.datetime(2024, 2, 29, 22, 30)]
    for time in same:
        assert np.array_equal(model.stream().step(row, time=time), expected)
        assert np.array_equal(model.stream().run([row, row], times=[time, time])[0], expected)
    bad = ("2024-02-30T00:00Z", "T+02:00", 5.5, 1_700_000_000, "1700000000", "now", "2023", "01/02/2023", [], {})
    for time in bad:
        with pytest.raises(GatewrightError, match="time: expected a time such as"):
            model.stream().step(row, time=time)
    with pytest.raises(GatewrightError, match=r"times: expected 2 times such as .*, got shape \(1,\)"):
        model.stream().run([row, row], times=["2024-02-29T22:30"])
    assert model.stream().run(np.empty((0, len(row))), times=[]).shape == (0, 3, 2, 3)


def test_torch_layers_stream_by_their_state_dict() -> None:
    torch.manual_seed(0)
    layer = torch.nn.LSTM(4, 6, 2, batch_first=True)
    x = torch.randn(1, 30, 4)
    with torch.no_grad():
        expected, (_, c_n) = layer(x)
    stream = Stream.from_weights(layer.state_dict())
    assert np.abs(stream.run(x[0].numpy()) - expected[0].numpy()).max() < 1e-6
    assert np.abs(stream.state().cell - c_n[:, 0].numpy()).max() < 1e-6
    with pytest.raises(GatewrightError, match=r"^weight_ih_l0: expected a float32 array, got a Parameter: .*grad"):
        Stream.from_weights(dict(layer.named_parameters()))
    with pytest.raises(GatewrightError, match=r"^weight_ih_l0: expected a float32 array, got a Tensor: .*BFl"):
        Stream.from_weights(layer.bfloat16().state_dict())
    with pytest.raises(GatewrightError, match=r"^weight_ih_l0: expected float32, .*got bfloat16"):
        LSTM(4, 6).bfloat16().stream()


def test_each_thread_may_have_a_copy_but_two_may_not_have_one() -> None:
    torch.manual_seed(0)
    layer = LSTM(16, 96, 2)
    stream = layer.stream()
    x = np.random.default_rng(0).normal(size=(4, 400, 16)).astype(np.float32)
    expected = [layer.stream().run(one) for one in x]
    copies = [stream.copy() for _ in x]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(Stream.run, copies, x), expected, strict=True):
            assert np.array_equal(got, want)
        stream.reset()
        outcomes = [pool.submit(stream.run, x[0]) for _ in range(8)]
        errors = [one.exception() for one in outcomes]
    refused = [error for error in errors if error is not None]
    assert all("one call at a time" in str(error) for error in refused)
    assert stream.state().steps == 400 * (8 - len(refused))  # those that ran, ran whole


def test_copies_and_snapshots_carry_a_state_on() -> None:
    model = series_model()
    stream, series = model.stream(), table(model, 43)
    xs = rows_of(model, series, 40)
    assert series.times is not None
    stream.run(xs[:20], times=series.times[:20])
    snapshot, copied = stream.snapshot(), copy.deepcopy(stream)
    expected = stream.run(xs[20:], times=series.times[20:40])
    assert np.array_equal(copied.run(xs[20:], times=series.times[20:40]), expected)
    fresh = model.stream(sessions=2)
    fresh.restore(snapshot, 1)
    assert fresh.state(1).steps == fresh.steps_read(1) == 20
    assert (fresh.steps_read(0), fresh.context, stream.steps_read()) == (0, 12, 40)
    fresh.reset(1)
    assert fresh.steps_read(1) == 0
    fresh.restore(snapshot, 1)
    assert np.array_equal(fresh.run(xs[20:], 1, times=series.times[20:40]), expected)
    assert fresh.state(0) == model.stream().state()
    state = stream.state()
    state.hidden[:] = 7  # a copy
    assert not np.array_equal(stream.state().hidden, state.hidden)
    with pytest.raises(TypeError, match="snapshot"):
        pickle.dumps(stream)
    assert repr(stream).startswith("Stream(layers=2, hidden_size=20, sessions=1, fingerprint=")
