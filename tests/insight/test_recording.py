"""`look` and what it returns: against `equations` layer by layer, `Stream`, `predict`, and the files it read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import LSTM, equations, look
from gatewright.data import preprocessing
from gatewright.data.table import Series
from gatewright.equations import QUANTITIES
from gatewright.errors import GatewrightError
from gatewright.insight.recording import Recording
from gatewright.nn.model import Model
from gatewright.runs.run import Run
from gatewright.spec.recording import LayersMetadata, SeriesMetadata, TextMetadata
from gatewright.tasks.forecast.windows import Windows, predict
from gatewright.tasks.language import dataset as text_data
from gatewright.train.launch import train
from tests.support.layer_recordings import INITIAL, B, D, H, P, T, made, unequal
from tests.support.lazy import LazyModule
from tests.support.recordings import record, recording
from tests.support.small_models import language_model
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, write_table, write_text

if TYPE_CHECKING:
    import pandas
else:
    pandas = LazyModule("pandas")

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

VARIANTS = [
    {},
    {"bias": False},
    {"proj_size": P},
    {"num_layers": 3, "dropout": 0.5},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"num_layers": 2, "bidirectional": True, "proj_size": P, "bias": False},
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def laid(lstm: LSTM, x: Tensor) -> Tensor:
    return x.transpose(0, 1) if lstm.batch_first else x


def double(value: Any) -> np.ndarray:
    return np.asarray(value.detach() if isinstance(value, Tensor) else value, dtype=np.float64)


def weights(lstm: LSTM, layer: int, reverse: bool) -> equations.Weights:
    suffix = f"l{layer}" + ("_reverse" if reverse else "")
    names = {"W_ih": "weight_ih", "W_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "W_hr": "weight_hr"}
    found = {ours: getattr(lstm, f"{theirs}_{suffix}", None) for ours, theirs in names.items()}
    return equations.Weights(**{name: None if value is None else double(value) for name, value in found.items()})


def assert_is_what_the_equations_give(
    found: Recording, lstm: LSTM, x: np.ndarray, state: tuple[Any, Any] | None, tolerance: float
) -> None:
    """Judge each row of each layer and direction in float64, from x (T, B, D) on."""
    ways = 2 if lstm.bidirectional else 1
    assert len(found.layers) == lstm.num_layers
    for number, layer in enumerate(found.layers):
        assert (layer.reverse is not None) == lstm.bidirectional
        above = []
        for way, ours in enumerate(layer[:ways]):
            k = number * ways + way
            out = np.zeros((*x.shape[:2], lstm.proj_size or lstm.hidden_size))
            for row, n in enumerate(found.lengths.tolist()):
                order = slice(None, None, -1 if way else 1)
                start = [None, None] if state is None else [double(one[k, row]) for one in state]
                _, judge = equations.forward(x[:n, row][order], weights(lstm, number, bool(way)), *start)
                for name in QUANTITIES:
                    values = getattr(ours, name)[:, row]
                    np.testing.assert_allclose(
                        values[:n], getattr(judge, name)[order], rtol=tolerance, atol=tolerance / 10
                    )
                    assert not values[n:].any()
                for name in INITIAL:
                    np.testing.assert_allclose(getattr(ours, name)[row], getattr(judge, name), rtol=1e-7)
                out[:n, row] = judge.hidden[order]
            above.append(out)
        x = np.concatenate(above, axis=-1)
    np.testing.assert_allclose(found.predictions, x, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("options", VARIANTS)
def test_every_gate_of_bare_layers_is_what_the_equations_give(
    options: dict[str, Any], with_state: bool, dtype: torch.dtype, tolerance: float
) -> None:
    lstm, x, state = made(dtype, **options)
    found = look(lstm, laid(lstm, x), state=state if with_state else None, title="a walk")
    assert_is_what_the_equations_give(found, lstm, double(x), state if with_state else None, tolerance)
    np.testing.assert_array_equal(found.inputs, x)
    np.testing.assert_array_equal(found.lengths, [T] * B)
    assert (found.steps, found.about.title, found.about.data) == (T, "a walk", LayersMetadata())
    assert found.about.inputs == ("x0", "x1", "x2", "x3")
    assert found.model is lstm
    assert np.isnan(found.error()).all()
    assert all(getattr(one, name).dtype == x.numpy().dtype for _, one in found.records() for name in QUANTITIES)
    y = lstm.eval()(laid(lstm, x), state if with_state else None)[0]
    np.testing.assert_array_equal(found.predictions, laid(lstm, y.detach()))


@pytest.mark.parametrize("options", VARIANTS)
def test_packed_rows_of_unequal_length(options: dict[str, Any]) -> None:
    lstm, x, state = made(**options)
    for lengths in ([7, 4, 1], [2, 7, 5]):
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        found = look(lstm, packed, state=state)
        np.testing.assert_array_equal(found.lengths, lengths)
        assert_is_what_the_equations_give(found, lstm, double(x), state, 1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_row_numpy_and_lists_are_read_too(batch_first: bool) -> None:
    lstm, x, (h_0, c_0) = made(torch.float32, batch_first=batch_first)
    expected = look(lstm, laid(lstm, x[:, :1]), state=(h_0[:, :1], c_0[:, :1]))
    for data in (x[:, 0], x[:, 0].numpy(), x[:, 0].double().numpy()):
        found = look(lstm, data, state=(h_0[:, 0], c_0[:, 0]))
        assert (found.inputs.shape, found.inputs.dtype) == ((T, 1, D), np.float32)
        np.testing.assert_array_equal(found.layers[0].forward.cell, expected.layers[0].forward.cell)


def test_steps_and_start_choose_what_is_read() -> None:
    lstm, x, state = made()
    found = look(lstm, x, state=state, start=2, steps=3)
    expected = look(lstm, x[2:5], state=state)
    np.testing.assert_array_equal(found.predictions, expected.predictions)
    np.testing.assert_array_equal(look(lstm, x, start=2, steps=99).predictions, look(lstm, x[2:]).predictions)
    found = look(lstm, pack_padded_sequence(x, [7, 4, 3], enforce_sorted=False), start=2, steps=3)
    np.testing.assert_array_equal(found.lengths, [3, 2, 1])
    assert_is_what_the_equations_give(found, lstm, double(x[2:5]), None, 1e-12)


def storage(array: np.ndarray) -> int:
    return array.base.untyped_storage().data_ptr()  # type: ignore[union-attr]


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_gates_are_not_copied(options: dict[str, Any]) -> None:
    """Those of a pass lie in the one buffer that it made, side by side."""
    lstm, x, _ = made(torch.float32, **options)
    found = look(lstm, x)
    buffers = set()
    for _, one in found.records():
        gates = [one.input_gate, one.forget_gate, one.candidate, one.output_gate]
        assert len({storage(gate) for gate in gates}) == 1
        assert all(np.may_share_memory(gates[0], gate) for gate in gates)
        buffers.add(storage(gates[0]))
    assert len(buffers) == len(list(found.records()))
    np.testing.assert_array_equal(found.inputs, x)
    assert np.shares_memory(found.inputs, x.numpy())


def test_looking_changes_nothing() -> None:
    lstm, x, _ = made(num_layers=2, dropout=0.5)
    x.requires_grad_()
    before = {name: value.clone() for name, value in lstm.state_dict().items()}
    for training in (True, False):
        lstm.train(training)
        torch.manual_seed(3)
        expected = torch.rand(3)
        torch.manual_seed(3)
        found = look(lstm, x)
        assert torch.equal(torch.rand(3), expected)
        assert lstm.training == training
        assert torch.is_grad_enabled()
    assert_is_what_the_equations_give(found, lstm, double(x), None, 1e-12)  # without dropout
    assert x.grad is None
    assert all(value.grad is None for value in lstm.parameters())
    assert all(torch.equal(value, before[name]) for name, value in lstm.state_dict().items())
    model = language_model().train()
    look(model, "abc")
    assert model.training
    with pytest.raises(GatewrightError):
        look(model, "")
    assert model.training


def judged(model: Model, table: Any, context: int, row: int, origins: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts by `predict` in windows that begin with one series, in the table's units, and what came."""
    one: Series = table.table.series[row]
    encoder, scaler = dataclasses.replace(model.spec.encoder, context=context), model.scaler  # type: ignore[type-var]
    longer = Model(dataclasses.replace(model.spec, encoder=encoder), scaler=scaler)
    longer.load_state_dict(model.state_dict())
    windows = Windows([preprocessing.encode(one, encoder, scaler)], encoder, 3, "cpu")  # type: ignore[arg-type]
    said = predict(longer, windows, np.array(origins))
    truth = np.stack([one.values[origin + 1 : origin + 4, :2] for origin in origins])
    return said, truth


def test_a_forecaster_says_what_it_says_in_its_windows(sites: Any) -> None:
    table, model = sites
    found = look(model, table.table, title="two sites")
    assert model.training
    # Inputs known in advance end with the table: the last row that has them all is 3 before its end.
    np.testing.assert_array_equal(found.lengths, [87, 98])
    assert found.about.title == "two sites"
    assert found.about.rows == ("north", "south")
    about = found.about.data
    assert isinstance(about, SeriesMetadata)
    assert (about.targets, about.horizon, about.step) == (("load", "flow"), 3, "1h")
    assert about.columns == ("load", "flow", "wind", "heat", "height")
    assert len(found.about.inputs) == model.spec.input_size
    assert len(found.about.readouts) == model.spec.output_size
    for row in (0, 1):
        for context in (8, 20, 80):  # a window that begins where the recording does
            said, truth = judged(model, table, context, row, [context - 1])
            at = found.predictions[context - 1, row]
            np.testing.assert_allclose(at, said[0], rtol=1e-5)
            np.testing.assert_array_equal(found.targets[context - 1, row], truth[0])  # type: ignore[index]
        one, n = table.table.series[row], int(found.lengths[row])
        np.testing.assert_array_equal(found.columns[:n, row], one.values[:n])  # type: ignore[index]
        np.testing.assert_array_equal(found.times[:n, row], one.times[:n])  # type: ignore[index]
        assert np.isnan(found.columns[n:, row]).all()  # type: ignore[index]
        for t in range(n):
            for ahead in range(3):
                np.testing.assert_array_equal(found.targets[t, row, ahead], one.values[t + 1 + ahead, :2])  # type: ignore[index]
    assert_is_what_the_equations_give_of_a_model(found, model)


def assert_is_what_the_equations_give_of_a_model(found: Recording, model: Model) -> None:
    bare = dataclasses.replace(found, predictions=found.layers[-1].forward.hidden, targets=None, columns=None,
                               about=dataclasses.replace(found.about, data=LayersMetadata()))  # fmt: skip
    assert_is_what_the_equations_give(bare, model.lstm, double(found.inputs), None, 1e-5)


def test_start_and_steps_of_a_table(sites: Any) -> None:
    table, model = sites
    whole, part = look(model, table.table), look(model, table.table, start=20, steps=70)
    np.testing.assert_array_equal(part.lengths, [67, 70])
    np.testing.assert_array_equal(part.inputs[1:67, 0, 2:], whole.inputs[21:87, 0, 2:])
    # The row before the first one that is read is unknown, as to a stream: nothing has changed.
    assert whole.inputs[20, 0, :2].all()
    assert not part.inputs[0, :, :2].any()
    np.testing.assert_array_equal(part.times[:, 1], whole.times[20:90, 1])  # type: ignore[index]
    np.testing.assert_array_equal(part.targets[:, 1], whole.targets[20:90, 1])  # type: ignore[index]
    assert not part.layers[0].forward.cell_initial.any()  # it begins with zeros
    with pytest.raises(
        GatewrightError, match=r"start: expected .* from 0 to 86: series 'north' has 87 .*, got 88$"
    ):
        look(model, table.table, start=88)


def test_the_error_of_a_forecast_is_that_of_the_step_before(sites: Any) -> None:
    table, model = sites
    found = look(model, table.table, title="two sites")
    wrong = found.error()
    assert wrong.shape == (98, 2)
    scale, median = model.scaler.scale, model.spec.head.quantiles.index(0.5)
    for row in (0, 1):
        values = table.table.series[row].values
        for t in range(98):
            apart = [
                abs(found.predictions[t - 1, row, 0, n, median] - values[t, n]) / scale[n]
                for n in (0, 1)
                if 0 < t < found.lengths[row] and math.isfinite(values[t, n])
            ]
            if apart:
                assert wrong[t, row] == pytest.approx(sum(apart) / len(apart), rel=1e-12)
            else:
                assert math.isnan(wrong[t, row])


TEXT = "abc de\nfed fab " * 6 + "ZZ"


def test_a_language_model_says_what_a_stream_says() -> None:
    model = language_model()
    found = look(model, TEXT)
    scores = model.stream().run(TEXT).astype(np.float64)
    highest = scores.max(axis=1, keepdims=True)
    expected = scores - highest - np.log(np.exp(scores - highest).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.predictions[:, 0], expected, rtol=1e-5, atol=1e-5)
    assert isinstance(found.about.data, TextMetadata)
    symbols = found.about.data.symbols
    numbers = [symbols.index(letter) if letter in symbols else 0 for letter in TEXT]
    np.testing.assert_array_equal(found.symbols[:, 0], numbers)  # type: ignore[index]
    np.testing.assert_array_equal(found.targets[:, 0], [*numbers[1:], -1])  # type: ignore[index]
    assert found.symbols[-1, 0] == 0  # type: ignore[index]  # not known
    wrong = found.error()[:, 0]
    assert math.isnan(wrong[0])
    for t in range(1, len(TEXT)):
        assert wrong[t] == pytest.approx(-expected[t - 1, numbers[t]], rel=1e-4, abs=1e-4)
    assert found.about.readouts == symbols
    assert_is_what_the_equations_give_of_a_model(found, model)
    # The head on the hidden state is what was said.
    logits = found.layers[-1].forward.hidden[:, 0] @ found.readout_weight.T + found.readout_bias  # type: ignore[union-attr]
    np.testing.assert_allclose(torch.log_softmax(torch.from_numpy(logits), -1), found.predictions[:, 0], atol=1e-5)


def test_a_part_of_a_text_knows_what_came_after_it(tmp_path: Path) -> None:
    model = language_model()
    (tmp_path / "letters.txt").write_text(TEXT, "utf-8")
    found = look(model, tmp_path / "letters.txt", start=3, steps=10)
    assert found.about.title == "letters.txt"
    part = look(model, TEXT[3:14])
    np.testing.assert_array_equal(found.symbols, part.symbols[:10])  # type: ignore[index]
    np.testing.assert_array_equal(found.targets, part.targets[:10])  # type: ignore[index]
    np.testing.assert_array_equal(found.predictions, part.predictions[:10])
    assert look(model, "a").targets.tolist() == [[-1]]  # type: ignore[union-attr]
    assert np.isnan(look(model, "a").error()).all()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    short = {"steps": 6, "validate_every": 3, "checkpoint_every": 3}
    for name, source, options in (
        ("load", write_table(folder / "load.csv"), FORECAST),
        ("plays", write_text(folder / "plays.txt"), LANGUAGE),
    ):
        told = dataclasses.replace(options, training=dataclasses.replace(options.training, **short))
        train(source, told, run=folder / name, console=quiet())
    return {"load": folder / "load", "plays": folder / "plays"}


@pytest.mark.slow
def test_a_run_is_looked_at_in_its_test_part(runs: dict[str, Path]) -> None:
    found = look(runs["load"])
    assert found.about.title == "load, test part"
    rows = (runs["load"].parent / "load.csv").read_text("utf-8").splitlines()[1:]
    first = 400 - 80 - 24  # a context before the part
    cells = [row.split(",") for row in rows[first : first + found.steps]]
    assert found.steps == 80 + 24 - 3  # the wind of the last three hours is known, but not what follows it
    np.testing.assert_array_equal(found.times[:, 0], [np.datetime64(cell[0]) for cell in cells])  # type: ignore[index]
    np.testing.assert_array_equal(found.columns[:, 0, 1], [float(cell[2]) for cell in cells])  # type: ignore[index]
    part = look(str(runs["load"]), start=24, steps=9, title="nine")
    assert (part.steps, part.about.title) == (9, "nine")
    np.testing.assert_array_equal(part.times, found.times[24:33])  # type: ignore[index]
    np.testing.assert_array_equal(part.inputs[1:], found.inputs[25:33])
    np.testing.assert_array_equal(part.inputs[0, :, 1:], found.inputs[24, :, 1:])
    assert part.inputs[0, 0, 0] == 0  # what it changed by is unknown, as to a stream
    same = look(Run.open(runs["load"]), runs["load"].parent / "load.csv", start=first)
    np.testing.assert_array_equal(same.predictions, found.predictions)
    assert same.about.title == "load.csv"


def test_a_language_run_is_looked_at_in_its_test_part(runs: dict[str, Path]) -> None:
    found = look(runs["plays"])
    run = Run.open(runs["plays"])
    text = text_data.read(run.unchanged_source(), run.options().data).parts.test
    symbols = found.about.data.symbols  # type: ignore[union-attr]
    assert "".join(symbols[n] for n in found.symbols[:, 0]) == text  # type: ignore[index]
    part = look(runs["plays"], start=10, steps=20)
    np.testing.assert_array_equal(part.symbols, found.symbols[10:30])  # type: ignore[index]


# Elsewhere


def test_a_data_frame_has_every_number() -> None:
    whole = unequal()
    frame = whole.to_pandas(1, 2, direction="reverse")
    assert frame.shape == (4, 6 * H)
    assert list(frame.columns.names) == ["quantity", "unit"]
    assert (frame.index.name, list(frame.index)) == ("step", [0, 1, 2, 3])
    for name in QUANTITIES:
        np.testing.assert_array_equal(frame[name], getattr(whole.layers[1].reverse, name)[:4, 2])
    assert frame.loc[2, ("forget_gate", 3)] == whole.layers[1].reverse.forget_gate[2, 2, 3]  # type: ignore[union-attr]
    with pytest.raises(GatewrightError, match="row: expected a whole number from 0 to 2, got 3"):
        whole.to_pandas(0, 3)
    projected, x, _ = made(proj_size=P)
    assert look(projected, x).to_pandas()["hidden"].shape == (T, P)


def test_a_data_frame_of_a_table_says_when(sites: Any) -> None:
    table, model = sites
    frame = look(model, table.table).to_pandas(1, 0)
    assert isinstance(frame.index, pandas.DatetimeIndex)
    assert frame.index.name == "time"
    np.testing.assert_array_equal(frame.index, table.table.series[0].times[:87])


def test_a_dataset_has_every_number(sites: Any) -> None:
    whole = unequal(proj_size=P)
    dataset = whole.to_xarray()
    assert len(dataset) == 2 * 2 * 6
    for number, layer in enumerate(whole.layers):
        for suffix, one in (("", layer.forward), ("_reverse", layer.reverse)):
            for name in QUANTITIES:
                variable = dataset[f"{name}_l{number}{suffix}"]
                axis = "output" if name == "hidden" else "unit"
                assert variable.dims == ("step", "row", f"{axis}_l{number}")
                np.testing.assert_array_equal(variable, getattr(one, name))
    table, model = sites
    found = look(model, table.table, title="two sites")
    dataset = found.to_xarray()
    assert dataset.attrs == {"title": "two sites", "note": ""}
    np.testing.assert_array_equal(dataset.time, found.times)
    assert dataset.time.dims == ("step", "row")
    south = dataset.cell_l1.sel(row="south").isel(step=5)
    np.testing.assert_array_equal(south, found.layers[1].forward.cell[5, 1])


def test_it_says_what_it_is(sites: Any) -> None:
    table, model = sites
    assert repr(look(model, table.table)) == "Recording(series, T=98, B=2, H=6, 6)"
    assert repr(recording(record(np.full((7, 1, 2), 0.5)))) == "Recording('by hand', layers, T=7, B=1, H=2)"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_its_layers_have_the_names_of_the_record_that_a_call_returns(bidirectional: bool) -> None:
    torch.manual_seed(0)
    lstm, x = LSTM(3, 4, 2, bidirectional=bidirectional).eval(), torch.randn(5, 2, 3)
    _, _, record = lstm(x, record=True)
    recording = look(lstm, x)
    fields = (*QUANTITIES, *INITIAL)
    for ours, theirs in zip(recording.layers, record.layers, strict=True):
        for name in fields:
            expected = getattr(theirs, name).detach().numpy()
            np.testing.assert_array_equal(getattr(ours, name), expected)
            np.testing.assert_array_equal(getattr(ours.forward, name), expected)
            np.testing.assert_array_equal(getattr(theirs.forward, name).detach().numpy(), expected)
            if bidirectional:
                reverse = getattr(theirs.reverse, name).detach().numpy()
                np.testing.assert_array_equal(getattr(ours.reverse, name), reverse)
        assert theirs.forward.reverse is None
        assert (ours.reverse is None) == (theirs.reverse is None) == (not bidirectional)
    with pytest.raises(AttributeError, match="'Layer' object has no attribute 'forget'"):
        _ = recording.layers[0].forget
