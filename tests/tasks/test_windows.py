"""A loop over rows judges the gather of windows; nothing after an origin may be read, and no part by another."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.data import preprocessing
from gatewright.data.table import Series
from gatewright.nn.model import Model
from gatewright.spec import READS, ModelSpec, QuantileHead, Scaler, SeriesEncoder, StackSpec
from gatewright.tasks.forecast.windows import Windows, absolute, predict
from tests.support.seasons import differences

NAN = math.nan


@dataclasses.dataclass
class Case:
    """Series of two targets, a past input, two known ones and a static one."""

    sources: list[np.ndarray]
    encoder: SeriesEncoder
    horizon: int
    fill: str = "mean"

    @property
    def scaler(self):
        return Scaler(self.encoder.columns, (0.5,) * 6, (2.0,) * 6, (0.25,) * 2)

    def encoded(self):
        return [self.encode(rows) for rows in self.sources]

    def encode(self, rows):
        one = Series("", None, rows, np.arange(1, len(rows) + 1))
        return preprocessing.encode(one, self.encoder, self.scaler, self.fill)

    def alone(self, which, origin):
        """A window and what follows it, encoded as if there were nothing else."""
        return self.encode(self.sources[which][origin + 1 - self.encoder.context : origin + 1 + self.horizon])

    def windows(self):
        return Windows(self.encoded(), self.encoder, self.horizon, "cpu")

    def model(self, seed=0, quantiles=(0.1, 0.5, 0.9)):
        torch.manual_seed(seed)
        spec = ModelSpec(self.encoder, StackSpec(3, dropout=0.5), QuantileHead(self.horizon, quantiles))
        model = Model(spec, scaler=self.scaler)
        torch.nn.init.normal_(model.head.weight)
        if model.season is not None:
            torch.nn.init.normal_(model.season.weight)
        return model


@st.composite
def cases(draw: st.DrawFn) -> Case:
    horizon, context = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    lengths = draw(st.lists(st.integers(1, 14), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    missing = draw(st.sampled_from([0.0, 0.3, 0.9]))
    sources = []
    for length in lengths:
        rows = rng.normal(size=(length, 6))
        rows[rng.random(rows.shape) < missing] = NAN
        sources.append(rows)
    reads = draw(st.sampled_from(READS))
    may = range(1, context) if reads != "nothing" else ()
    seasons = tuple(season for season in may if draw(st.booleans()))
    encoder = SeriesEncoder(("a", "b"), ("p",), ("k", "l"), ("s",), context=context, reads=reads, seasons=seasons)
    return Case(sources, encoder, horizon, draw(st.sampled_from(["mean", "forward"])))


def origins_of(case, rows):
    """Every origin whose window and forecasts lie in its series."""
    return range(case.encoder.context - 1, len(rows) - case.horizon)


@pytest.mark.slow
@settings(deadline=None)
@given(cases(), st.data())
def test_a_batch_is_what_a_loop_gathers(case, data):
    """And each window is what it would be without the rows before it."""
    supervised = data.draw(st.integers(1, case.encoder.context))
    windows = case.windows()
    places = [(which, origin) for which, rows in enumerate(case.sources) for origin in origins_of(case, rows)]
    places = data.draw(st.permutations(places))
    origins = np.array([windows.starts[which] + origin for which, origin in places], dtype=np.int64)
    inputs, level, target, seasonal, _ = windows.batch(origins, supervised)
    context, horizon = case.encoder.context, case.horizon
    assert inputs.shape == (context, len(places), case.encoder.input_size(horizon))
    assert level.shape == (supervised, len(places), 2)
    assert target.shape == (supervised, len(places), horizon, 2)
    for number, (which, origin) in enumerate(places):
        one = case.alone(which, origin)
        for row in range(context):
            known = [one.known[row + ahead, column] for column in (0, 1) for ahead in range(1, horizon + 1)]
            np.testing.assert_array_equal(inputs[row, number], [*one.inputs[row], *known])
        for step in range(supervised):
            row = context - supervised + step
            np.testing.assert_array_equal(level[step, number], one.level[row])
            for ahead in range(1, horizon + 1):
                np.testing.assert_array_equal(target[step, number, ahead - 1], one.target[row + ahead])
            if case.encoder.seasons:
                expected = differences(one.target, row, case.encoder.seasons, horizon)
                np.testing.assert_array_equal(seasonal[step, number], expected)
    assert (seasonal is None) == (not case.encoder.seasons)


def read(windows, origins, supervised):
    """All that a model reads of windows."""
    batch = windows.batch(origins, supervised)
    return [tensor for tensor in (batch.inputs, batch.level, batch.differences) if tensor is not None]


@settings(deadline=None)
@given(cases(), st.data())
def test_nothing_is_read_that_is_not_yet_known(case, data):
    """After the origin only known inputs are read, and those no further than the horizon."""
    which = data.draw(st.integers(0, len(case.sources) - 1))
    places = origins_of(case, case.sources[which])
    if not places:
        return
    origin = data.draw(st.sampled_from(places))
    before = case.windows()
    at = np.array([before.starts[which] + origin])
    changed = [rows.copy() for rows in case.sources]
    changed[which][origin + 1 :, :3] = 77.0
    changed[which][origin + case.horizon + 1 :, 3:] = 77.0
    for other, rows in enumerate(changed):
        if other != which:
            rows[:] = 77.0
    after = dataclasses.replace(case, sources=changed).windows()
    supervised = data.draw(st.integers(1, case.encoder.context))
    for first, second in zip(read(before, at, supervised), read(after, at, supervised), strict=True):
        assert first.isfinite().all()
        assert torch.equal(first, second)
    model = case.model()
    np.testing.assert_array_equal(predict(model, before, at), predict(model, after, at))


@pytest.mark.slow
@settings(deadline=None)
@given(cases(), st.data())
def test_nothing_is_read_from_before_the_window(case, data):
    """The same answer, to the bit, however much history there is and whatever stands in it."""
    which = data.draw(st.integers(0, len(case.sources) - 1))
    places = origins_of(case, case.sources[which])
    if not places:
        return
    origin = data.draw(st.sampled_from(places))
    before = case.windows()
    start = origin + 1 - case.encoder.context
    at = np.array([before.starts[which] + origin])
    changed = [rows.copy() for rows in case.sources]
    changed[which][:start] = data.draw(st.sampled_from([77.0, NAN]))
    fewer = [rows[start:] if other == which else rows for other, rows in enumerate(case.sources)]
    model, supervised = case.model(), data.draw(st.integers(1, case.encoder.context))
    for sources in (changed, fewer):
        after = dataclasses.replace(case, sources=sources).windows()
        there = at if sources is changed else np.array([after.starts[which] + case.encoder.context - 1])
        for first, second in zip(read(before, at, supervised), read(after, there, supervised), strict=True):
            np.testing.assert_array_equal(first.numpy(), second.numpy())
        target = before.batch(at, supervised).target, after.batch(there, supervised).target
        np.testing.assert_array_equal(*target)
        np.testing.assert_array_equal(predict(model, before, at), predict(model, after, there))


@settings(deadline=None)
@given(cases(), st.data())
def test_every_known_input_up_to_the_horizon_is_read(case, data):
    which = data.draw(st.integers(0, len(case.sources) - 1))
    places = origins_of(case, case.sources[which])
    if not places:
        return
    origin = data.draw(st.sampled_from(places))
    ahead = data.draw(st.integers(1, case.horizon))
    column = data.draw(st.integers(0, 1))
    case.fill = "mean"  # a value carried forward would be read in later places too
    before = case.windows()
    case.sources[which][origin + ahead, 3 + column] = 77.0
    after = case.windows()
    at = np.array([before.starts[which] + origin])
    differ = (before.batch(at)[0] != after.batch(at)[0])[-1, 0]
    known = case.encoder.input_size(case.horizon) - 2 * case.horizon
    assert differ.nonzero().ravel().tolist() == [known + column * case.horizon + ahead - 1]


@settings(deadline=None)
@given(cases())
def test_past_its_end_a_series_reads_no_other(case):
    windows = case.windows()
    for start, rows in zip(windows.starts, case.sources, strict=True):
        for row in range(max(case.encoder.context - 1, len(rows) - case.horizon), len(rows)):
            target = windows.batch(np.array([start + row])).target
            beyond = range(len(rows) - row - 1, case.horizon)
            assert target[0, 0, list(beyond)].isnan().all()
    total = sum(len(rows) + case.horizon for rows in case.sources)
    assert windows.starts[-1] + len(case.sources[-1]) + case.horizon == total


@settings(deadline=None)
@given(cases(), st.data())
def test_training_never_meets_what_comes_after_it(case, data):
    """Whatever stands in the other parts, training windows, levels and targets stay the same to the bit."""
    supervised = data.draw(st.integers(1, case.encoder.context))
    ends = [data.draw(st.integers(0, len(rows))) for rows in case.sources]

    def training():
        encoded, windows = case.encoded(), case.windows()
        origins = [
            start + preprocessing.origins(one.target, case.encoder.context, case.horizon, 0, end, supervised)
            for one, start, end in zip(encoded, windows.starts, ends, strict=True)
        ]
        batch = windows.batch(np.concatenate(origins), supervised)
        return [tensor for tensor in batch if tensor is not None]

    before = training()
    for rows, end in zip(case.sources, ends, strict=True):
        rows[end:] = 77.0
    for first, second in zip(before, training(), strict=True):
        np.testing.assert_array_equal(first.numpy(), second.numpy())


@pytest.mark.slow
@settings(deadline=None)
@given(cases(), st.data())
def test_forecasts_of_a_part_fall_into_it(case, data):
    """What is changed outside a part changes no value that its forecasts are held against."""
    parts = []
    for rows in case.sources:
        start = data.draw(st.integers(0, len(rows)))
        parts.append((start, data.draw(st.integers(start, len(rows)))))

    def targets():
        encoded, windows = case.encoded(), case.windows()
        origins = [
            first + preprocessing.origins(one.target, case.encoder.context, case.horizon, *part)
            for one, first, part in zip(encoded, windows.starts, parts, strict=True)
        ]
        return windows.batch(np.concatenate(origins))[2]

    before = targets()
    for rows, (start, end) in zip(case.sources, parts, strict=True):
        rows[:start], rows[end:] = 77.0, 77.0
    np.testing.assert_array_equal(before.numpy(), targets().numpy())


def example(reads="change", lengths=(20, 9), seasons=()):
    rng = np.random.default_rng(3)
    encoder = SeriesEncoder(("a", "b"), ("p",), ("k", "l"), ("s",), context=4, reads=reads, seasons=seasons)
    return Case([rng.normal(size=(length, 6)) for length in lengths], encoder, 3)


@pytest.mark.parametrize(("reads", "seasons"), [*((reads, ()) for reads in READS), ("change", (2, 3))])
def test_predictions_one_by_one(reads, seasons):
    case = example(reads, seasons=seasons)
    windows, model = case.windows(), case.model()
    origins = np.array([windows.starts[1] + 5, 3, 16, windows.starts[1] + 3, 7])
    model.train()
    got = predict(model, windows, origins, batch=2)
    assert model.training  # as it was before
    assert got.dtype == np.float64
    model.eval()
    for number, (which, origin) in enumerate([(1, 5), (0, 3), (0, 16), (1, 3), (0, 7)]):
        one = case.alone(which, origin)
        rows = [np.concatenate([one.inputs[row], one.known[row + 1 : row + 4].T.ravel()]) for row in range(4)]
        with torch.no_grad():
            hidden = model.lstm(torch.tensor(np.stack(rows))[:, None])[0]
            y = model.head(hidden).unflatten(-1, (3, 2, 3))[-1, 0].numpy()
        if seasons:
            weight = model.season.weight.detach().numpy()
            y = y + (weight * differences(one.target, 3, seasons, 3)).sum(axis=0)[..., None]
        level = one.level[3] if reads != "nothing" else np.zeros(2)
        expected = np.sort(y + level[None, :, None], axis=-1)
        scale, mean = (np.array(each[:2])[:, None] for each in (case.scaler.scale, case.scaler.mean))
        expected = expected * scale + mean
        np.testing.assert_allclose(got[number], expected, rtol=1e-5, atol=1e-6)
        assert np.all(np.diff(got[number], axis=-1) >= 0)


def test_no_origin_no_forecast():
    case = example()
    assert predict(case.model(), case.windows(), np.empty(0, dtype=np.int64)).shape == (0, 3, 2, 3)


@pytest.mark.parametrize("reads", READS)
def test_differences_are_from_the_last_observed_value(reads):
    case = example(reads)
    y = torch.arange(2 * 5 * 3 * 2 * 3, dtype=torch.float32).reshape(2, 5, 3, 2, 3)
    level = torch.randn(2, 5, 2)
    got = absolute(case.model(), y, level)
    for index in np.ndindex(*y.shape):
        step, number, _, target, _ = index
        assert got[index] == y[index] + (level[step, number, target] if reads != "nothing" else 0.0)
