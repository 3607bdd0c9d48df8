"""Streams against whole sequences, bit for bit; and what they refuse."""

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

from gatewright import LSTM, Model, Stream, equations, kernels
from gatewright.data.series import encode
from gatewright.data.table import Series
from gatewright.errors import GatewrightError, ModelFileError
from gatewright.spec import (
    UNKNOWN,
    ModelSpec,
    QuantileHead,
    Scaler,
    SeriesEncoder,
    StackSpec,
    SymbolEncoder,
    SymbolHead,
    Vocabulary,
)
from gatewright.state import State
from gatewright.windows import Windows, absolute

SYMBOLS = (UNKNOWN, *"abcdefgh \n")
CALENDAR = ("hour_of_day", "day_of_week", "day_of_year")


def text_model(**stack: Any) -> Model:
    torch.manual_seed(0)
    spec = ModelSpec(SymbolEncoder(len(SYMBOLS), 5), StackSpec(**{"hidden_size": 24, **stack}), SymbolHead())
    return Model(spec, vocabulary=Vocabulary(SYMBOLS)).eval()


def series_model(**changes: Any) -> Model:
    torch.manual_seed(0)
    roles: dict[str, Any] = {
        "targets": ("flow", "level"),
        "past": ("rain",),
        "known": ("holiday", "price"),
        "static": ("area",),
        "calendar": CALENDAR,
        "step": "1h",
        "context": 12,
        "reads": "both",
    }
    encoder = SeriesEncoder(**{**roles, **changes})
    columns = encoder.columns
    rng = np.random.default_rng(1)
    mean, scale = rng.normal(size=len(columns)) * 30, rng.uniform(0.5, 9, len(columns))
    changes_scale = rng.uniform(0.1, 2, len(encoder.targets))
    scaler = Scaler(columns, tuple(mean), tuple(scale), tuple(changes_scale))
    spec = ModelSpec(encoder, StackSpec(20, num_layers=2), QuantileHead(horizon=3, quantiles=(0.1, 0.5, 0.9)))
    model = Model(spec, scaler=scaler).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def table(model: Model, rows: int, seed: int = 2) -> Series:
    """A series with gaps in its targets."""
    encoder = model.spec.encoder
    assert isinstance(encoder, SeriesEncoder)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, len(encoder.columns))) * 40
    targets = values[:, : len(encoder.targets)]
    targets[rng.random(targets.shape) < 0.2] = np.nan
    targets[0] = np.nan
    times = np.datetime64("2023-12-30T22:30", "us") + np.arange(rows) * np.timedelta64(1, "h")
    return Series("basin", times, values, np.arange(rows))


def rows_of(model: Model, series: Series, rows: int) -> np.ndarray[Any, Any]:
    """What a stream reads of a series: inputs known in advance come with the row before them."""
    encoder, head = model.spec.encoder, model.spec.head
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    first = len(encoder.targets) + len(encoder.past)
    known = series.values[:, first : first + len(encoder.known)]
    ahead = [known[1 + t : 1 + t + head.horizon].T.ravel() for t in range(rows)]
    return np.concatenate(
        [series.values[:rows, :first], series.values[:rows, first + len(encoder.known) :], np.array(ahead)], axis=1
    )


def whole_forecast(model: Model, series: Series, rows: int) -> np.ndarray[Any, Any]:
    """The whole series at once, through torch's modules."""
    encoder, head, scaler = model.spec.encoder, model.spec.head, model.scaler
    assert isinstance(encoder, SeriesEncoder)
    assert isinstance(head, QuantileHead)
    assert scaler is not None
    encoded = encode(series, encoder, scaler)
    reader = SeriesEncoder(**{**vars(encoder), "context": rows})
    inputs, level, _ = Windows([encoded], reader, head.horizon, "cpu").batch(np.array([rows - 1]), rows)
    with torch.no_grad():
        y = absolute(model, model(inputs).y, level).sort(dim=-1).values[:, 0].double().numpy()
    targets = len(encoder.targets)
    answer: np.ndarray[Any, Any] = y * np.array(scaler.scale[:targets])[:, None]
    answer += np.array(scaler.mean[:targets])[:, None]
    return answer


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
        for name in gates._fields:
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


@pytest.mark.parametrize("target", [name for name, runs in kernels._kernels.targets() if runs])
def test_each_target_gives_its_own_bits(target: str) -> None:
    torch.manual_seed(0)
    layer, x = LSTM(5, 19, 2), torch.randn(40, 5)
    model, numbers = text_model(), torch.arange(11)[:, None]
    with kernels.use_target(target), torch.no_grad():
        assert np.array_equal(layer.stream().run(x.numpy()), layer(x)[0].numpy())
        assert np.array_equal(model.stream().run(numbers[:, 0].numpy()), model(numbers).y[:, 0].numpy())


def narrowed(W: np.ndarray[Any, Any], weights: str) -> np.ndarray[Any, Any]:
    """What weights of fewer bits stand for."""
    if weights == "bf16":
        return torch.from_numpy(W).bfloat16().float().numpy()
    scale = np.abs(W).max(axis=1, keepdims=True) / np.float32(127)
    return np.rint(W / np.where(scale > 0, scale, 1)).astype(np.float32) * scale


@pytest.mark.parametrize("weights", ["bf16", "int8"])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 0), (3, 9, 2, 0), (40, 33, 3, 7), (17, 64, 1, 0)])
@pytest.mark.parametrize("target", [name for name, runs in kernels._kernels.targets() if runs])
def test_weights_in_fewer_bits_give_the_bits_of_those_weights(
    weights: Any, sizes: tuple[int, int, int, int], target: str
) -> None:
    D, H, L, P = sizes
    torch.manual_seed(0)
    arrays = {name: value.detach().numpy() for name, value in LSTM(D, H, L, proj_size=P).named_parameters()}
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
    if weights == "bf16":
        assert np.array_equal(got, expected)
    else:  # a row's scale multiplies its sum
        assert np.abs(got - expected).max() < 2e-6
    assert np.array_equal(np.stack([alone.step(x) for x in xs[:, 4]]), got[:, 4])
    assert narrow.state(4).cell.tobytes() == alone.state().cell.tobytes()
    assert narrow.weight_bytes * {"bf16": 2, "int8": 4}[weights] == full.weight_bytes
    with pytest.raises(GatewrightError, match="a state of the model"):
        full.restore(narrow.snapshot())


def test_weights_of_other_bits_are_refused() -> None:
    with pytest.raises(GatewrightError, match="weights: expected 'float32', 'bf16' or 'int8', got 'int4'"):
        LSTM(2, 3).stream(weights="int4")  # type: ignore[arg-type]


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
    model = series_model()
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
    bad = ("2024-02-30T00:00Z", "0001-01-01T00:00+02:00", "T+02:00", 5.5, 1_700_000_000, "now", "2023", [], {})
    for time in bad:
        with pytest.raises(GatewrightError, match="time: expected a time such as"):
            model.stream().step(row, time=time)
    with pytest.raises(GatewrightError, match=r"times: expected 2 times such as .*, got shape \(1,\)"):
        model.stream().run([row, row], times=["2024-02-29T22:30"])
    assert model.stream().run(np.empty((0, len(row))), times=[]).shape == (0, 3, 2, 3)


def test_what_is_of_another_kind_altogether_is_refused() -> None:
    model = text_model()
    stream = model.stream()
    calls: list[Any] = [
        (lambda: Stream.load(None), "path: expected a run's directory or a model file, got None"),  # type: ignore[arg-type]
        (lambda: Stream.from_weights(torch.nn.LSTM(2, 3)), r"arrays: .* got a LSTM; its state_dict\(\) will do"),
        (lambda: model.stream(weights=None), "weights: expected 'float32', 'bf16' or 'int8', got None"),  # type: ignore[arg-type]
        (lambda: stream.restore("abc"), "snapshot: expected bytes, got a str"),  # type: ignore[arg-type]
        (lambda: stream.restore(10**12), "snapshot: expected bytes, got a int"),  # type: ignore[arg-type]
        (lambda: stream.set_state((1, 2)), "state: expected a State, got a tuple"),  # type: ignore[arg-type]
        (lambda: LSTM(2, 3).stream().step(None), r"x: expected shape \(2,\), got a NoneType"),
        (lambda: LSTM(2, 3).stream().step(torch.ones(2, requires_grad=True)), "requires grad"),
    ]
    for call, message in calls:
        with pytest.raises(GatewrightError, match=message):
            call()


def test_torch_layers_stream_by_their_state_dict() -> None:
    torch.manual_seed(0)
    layer = torch.nn.LSTM(4, 6, 2, batch_first=True)
    x = torch.randn(1, 30, 4)
    with torch.no_grad():
        expected, (_, c_n) = layer(x)
    stream = Stream.from_weights(layer.state_dict())
    assert np.abs(stream.run(x[0].numpy()) - expected[0].numpy()).max() < 1e-6
    assert np.abs(stream.state().cell - c_n[:, 0].numpy()).max() < 1e-6


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
    assert fresh.state(1).steps == 20
    assert np.array_equal(fresh.run(xs[20:], 1, times=series.times[20:40]), expected)
    assert fresh.state(0) == model.stream().state()
    state = stream.state()
    state.hidden[:] = 7  # a copy
    assert not np.array_equal(stream.state().hidden, state.hidden)
    with pytest.raises(TypeError, match="snapshot"):
        pickle.dumps(stream)
    assert repr(stream).startswith("Stream(layers=2, hidden_size=20, sessions=1, fingerprint=")


def unchanged(stream: Stream, call: Any) -> GatewrightError:
    """Return the error of a call, after which all states are as they were."""
    before = [stream.state(n) for n in range(stream.sessions)]
    with pytest.raises(GatewrightError) as caught:
        call()
    assert [stream.state(n) for n in range(stream.sessions)] == before
    return caught.value


BAD = {
    "nan": (lambda s: s.step([1.0, np.nan]), "finite numbers, got nan in column 1"),
    "infinite": (lambda s: s.run([[0.0, 1.0], [-np.inf, 1.0]]), "finite numbers, got -inf in column 0 at step 1"),
    "width": (lambda s: s.step([1.0]), r"shape \(2,\), got shape \(1,\)"),
    "double": (lambda s: s.step(np.zeros(2)), "x: expected float32, got float64"),
    "text": (lambda s: s.step("ab"), "expected"),
    "objects": (lambda s: s.step([None, 1.0]), "expected float32, got object"),
    "complex": (lambda s: s.step([1j, 1.0]), "expected float32"),
    "ragged": (lambda s: s.run([[1.0, 2.0], [1.0]]), "rows of unequal length"),
    "many": (lambda s: s.step(np.zeros((3, 2), "f4")), r"shape \(2,\), got shape \(3, 2\)"),
    "into": (lambda s: s.step_into(np.zeros(2, "f4"), np.zeros(3, "f4")), r"float32 \(4,\)"),
    "into double": (lambda s: s.step_into(np.zeros(2), np.zeros(4, "f4")), r"x, out: expected contiguous float32"),
    "strided": (lambda s: s.step_into(np.zeros(4, "f4")[::2], np.zeros(4, "f4")), "contiguous"),
    "session": (lambda s: s.step([[0.0, 1.0]], sessions=[1]), "sessions: expected numbers from 0 to 0, got 1"),
    "negative": (lambda s: s.step([0.0, 1.0], sessions=-1), "sessions: expected numbers from 0 to 0, got -1"),
    "twice": (lambda s: s.step(np.zeros((2, 2), "f4"), sessions=[0, 0]), "each session once, got 0 twice"),
    "half": (lambda s: s.step([0.0, 1.0], sessions=0.5), "the number of a session"),
    "time": (lambda s: s.step([0.0, 1.0], time="2024-01-01"), "reads no calendar"),
    "reset": (lambda s: s.reset([0, 5]), "from 0 to 0, got 5"),
    "state": (lambda s: s.state(1), "session: expected a number from 0 to 0, got 1"),
    "state of another kind": (lambda s: s.state("0"), "session: expected the number of a session, got '0'"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_refused_and_changes_nothing(what: str) -> None:
    torch.manual_seed(0)
    stream = LSTM(2, 4).stream()
    stream.run(np.ones((3, 2), np.float32))
    call, message = BAD[what]
    with pytest.raises(GatewrightError, match=message):
        raise unchanged(stream, lambda: call(stream))


def test_rows_and_symbols_that_do_not_fit_are_refused() -> None:
    model = series_model()
    stream, row = model.stream(), rows_of(model, table(model, 5), 1)[0]
    when = "2024-01-01T00:00"
    for column, value, message in (
        (2, np.nan, "nan in column 2"),
        (3, np.inf, "inf in column 3"),
        (0, np.inf, "inf in column 0"),
        (1, 1e300, r"1e\+300 in column 1"),
        (9, np.nan, "nan in column 15"),
    ):
        bad = row.copy()
        bad[column] = value
        assert unchanged(stream, lambda bad=bad: stream.step(bad, time=when)).args
        with pytest.raises(GatewrightError, match=message):
            stream.step(bad, time=when)
    for time in (None, "noon", "NaT", ["2024-01-01", "2024-01-02"]):
        assert unchanged(stream, lambda time=time: stream.step(row, time=time)).argument == "time"
    assert unchanged(stream, lambda: stream.run([row, row], times=["2024-01-01"])).argument == "times"
    with pytest.raises(GatewrightError, match="reads a calendar"):
        stream.step_into(row, np.empty(stream.output_shape))
    text = text_model().stream()
    for symbol in (len(SYMBOLS), -1):
        assert unchanged(text, lambda symbol=symbol: text.step(symbol)).expected == "symbols from 0 to 10"
    assert unchanged(text, lambda: text.step(1.0)).argument == "x"
    assert unchanged(text, lambda: text.step("ab")).argument == "x"
    with pytest.raises(GatewrightError, match="one session"):
        text_model().stream(sessions=2).step_into(np.array(1), np.empty(11, "f4"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_ih_l0": None}, "weights: expected weight_ih_l0"),
        ({"weight_hh_l0": np.zeros((8, 2))}, "weight_hh_l0: expected float32, got float64"),
        ({"weight_hh_l0": np.zeros((8, 3), "f4")}, "W_hh"),
        ({"weight_ih_l0_reverse": np.zeros((8, 3), "f4")}, "cannot read from the end"),
        ({"weight_ih_l2": np.zeros((8, 2), "f4")}, "weights: expected weight_ih_l1"),
        ({"bias_ih_l0": np.zeros(8, "f4")}, "both biases, or neither"),
        ({"bias_hh_l0": np.full(8, np.nan, "f4")}, "bias_hh_l0: expected finite weights"),
        ({"head": np.zeros(8, "f4")}, "names such as weight_ih_l0, got 'head'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    weights = {"weight_ih_l0": np.zeros((8, 3), "f4"), "weight_hh_l0": np.zeros((8, 2), "f4"), **change}
    with pytest.raises(GatewrightError, match=message):
        Stream.from_weights({name: array for name, array in weights.items() if array is not None})


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", 2**31])
@pytest.mark.parametrize("name", ["sessions", "threads"])
def test_numbers_of_sessions_and_threads_are_whole(name: str, number: Any) -> None:
    with pytest.raises(GatewrightError, match=f"{name}: expected a whole number from 1 to"):
        text_model().stream(**{name: number})


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelFileError, match=r"model\.safetensors"):
        Stream.load(tmp_path)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_snapshot_that_was_cut_or_changed_is_refused(data: st.DataObject) -> None:
    stream = text_model(hidden_size=3).stream()
    stream.run("abc")
    snapshot = bytearray(stream.snapshot())
    before = stream.state()
    if data.draw(st.booleans()):
        snapshot = snapshot[: data.draw(st.integers(0, len(snapshot) - 1))]
    else:
        place = data.draw(st.integers(0, len(snapshot) - 1))
        snapshot[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(GatewrightError, match="snapshot"):
        stream.restore(bytes(snapshot))
    assert stream.state() == before


def test_a_snapshot_of_another_model_is_refused() -> None:
    snapshot = text_model(hidden_size=3).stream().snapshot()
    other = text_model(hidden_size=4).stream()
    with pytest.raises(GatewrightError, match="a state of the model"):
        other.restore(snapshot)
    newer = snapshot[:7] + b"\x02" + snapshot[8:]
    with pytest.raises(GatewrightError, match="expected version 1, got version 2"):
        other.restore(newer)
    with pytest.raises(GatewrightError, match=r"state\.hidden: expected float32"):
        other.set_state(State(np.zeros((1, 4)), np.zeros((1, 4), "f4"), np.zeros(0), 0))
    with pytest.raises(GatewrightError, match=r"state\.cell: expected finite"):
        other.set_state(State(np.zeros((1, 4), "f4"), np.full((1, 4), np.inf, "f4"), np.zeros(0), 0))
