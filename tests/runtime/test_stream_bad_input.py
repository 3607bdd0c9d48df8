"""What streams refuse: one clear error, and every state as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import LSTM, Stream
from gatewright.errors import GatewrightError, ModelFileError, StateError
from gatewright.runtime.state import State
from tests.support.examples import examples
from tests.support.stream_models import SYMBOLS, rows_of, series_model, table, text_model


def test_weights_of_other_bits_are_refused() -> None:
    with pytest.raises(
        GatewrightError,
        match="weights: expected 'float32', 'bf16', 'bf16-float32', 'int8' or 'int8-float32', got 'int4'",
    ):
        LSTM(2, 3).stream(weights="int4")  # type: ignore[arg-type]


def test_hidden_states_that_int8_cannot_multiply_are_refused() -> None:
    for P, weights, refused in ((0, "int8", True), (2, "int8", False), (0, "bf16", False)):
        layer = LSTM(2, 3, proj_size=P)
        stream = layer.stream(weights=weights)  # type: ignore[arg-type]
        state = stream.state()
        state.hidden[0, 1] = -1.5
        if not refused:
            stream.set_state(state)
            continue
        before = stream.snapshot()
        with pytest.raises(StateError, match=r"^state.hidden: expected numbers from -1 to 1, .* got 1.5"):
            stream.set_state(state)
        assert stream.snapshot() == before
        arrays = {name: W.numpy() for name, W in layer.state_dict().items()}
        start = {"h_0": state.hidden, "c_0": state.cell}
        with pytest.raises(StateError, match=r"^state.hidden: expected numbers from -1 to 1"):
            Stream.from_weights({**arrays, **start}, weights=weights)  # type: ignore[arg-type]


def test_sums_that_int8_cannot_hold_are_refused() -> None:
    for inputs, refused in ((133_144, False), (133_145, True)):
        arrays = {"weight_ih_l0": np.zeros((4, inputs), np.float32), "weight_hh_l0": np.zeros((4, 1), np.float32)}
        Stream.from_weights(arrays, weights="int8-float32")
        if not refused:
            Stream.from_weights(arrays, weights="int8")
            continue
        with pytest.raises(
            GatewrightError, match=r"^weights: expected .* of more than 133144 numbers, got 'int8'"
        ):
            Stream.from_weights(arrays, weights="int8")


def test_what_is_of_another_kind_altogether_is_refused() -> None:
    model = text_model()
    stream = model.stream()
    calls: list[Any] = [
        (lambda: Stream.load(None), "path: expected a run's directory or a model file, got None"),  # type: ignore[arg-type]
        (lambda: Stream.from_weights(torch.nn.LSTM(2, 3)), r"arrays: .* got a LSTM; pass its state_dict\(\)"),
        (
            lambda: model.stream(weights=None),
            "weights: expected 'float32', 'bf16', 'bf16-float32', 'int8' or 'int8-float32', got None",
        ),  # type: ignore[arg-type]
        (lambda: stream.restore("abc"), "snapshot: expected bytes, got a str"),  # type: ignore[arg-type]
        (lambda: stream.restore(10**12), "snapshot: expected bytes, got a int"),  # type: ignore[arg-type]
        (lambda: stream.set_state((1, 2)), "state: expected a State, got a tuple"),  # type: ignore[arg-type]
        (lambda: LSTM(2, 3).stream().step(None), r"x: expected shape \(2,\), got a NoneType"),
        (lambda: LSTM(2, 3).stream().step(torch.ones(2, requires_grad=True)), "requires grad"),
    ]
    for call, message in calls:
        with pytest.raises(GatewrightError, match=message):
            call()


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
    "objects": (lambda s: s.step([None, 1.0]), r"x\[0\]: expected a number, got None"),
    "a text among numbers": (lambda s: s.step([12.8, "x"]), r"x\[1\]: expected a number, got 'x'"),
    "a text in a row": (lambda s: s.run([[1.0, 2], [3, b"4"]]), r"x\[1\]\[1\]: expected a number, got b'4'"),
    "complex": (lambda s: s.step([1j, 1.0]), "expected float32"),
    "ragged": (lambda s: s.run([[1.0, 2.0], [1.0]]), "rows of unequal length"),
    "as many in two axes": (lambda s: s.step(np.zeros((1, 2), "f4")), r"shape \(2,\), got shape \(1, 2\)"),
    "two axes into": (lambda s: s.step_into(np.zeros((2, 1), "f4"), np.zeros(4, "f4")), r"float32 \(2, 1\)"),
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


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
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
