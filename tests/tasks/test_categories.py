"""Forecasters that read categories: what they learn, their equations, and values that they do not know."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import torch

import gatewright as gw
from gatewright import cli, equations
from gatewright.errors import DataError, GatewrightError
from gatewright.estimators.base import GatewrightWarning
from gatewright.spec import Category
from gatewright.spec.categories import default_size
from gatewright.tasks.base import Share
from gatewright.tasks.unknown_categories import UNKNOWN_SHARE, UnknownCategories
from tests.support.lazy import LazyModule
from tests.support.stream_models import series_model

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")

pytestmark = pytest.mark.slow

LEVELS = {"rain": 1.0, "sun": 5.0, "snow": -3.0}
CONTEXT, HORIZON, ROWS = 6, 2, 160
COLUMNS: dict[str, Any] = {
    "target": "y", "time": "day", "id": "site", "known": "kind", "past": "open", "static": ["site", "zone"],
    "category": "zone",
}  # fmt: skip


def panel() -> pl.DataFrame:
    """Two series whose target depends on the kind of its day alone; the last rows know the kind only."""
    frames = []
    for site, zone in (("a", 7), ("b", 12)):
        random = np.random.default_rng(zone)
        kinds = random.choice(sorted(LEVELS), ROWS)
        y = np.array([LEVELS[kind] for kind in kinds]) + 0.05 * random.normal(size=ROWS)
        days = np.datetime64("2024-01-01", "us") + np.arange(ROWS) * np.timedelta64(1, "D")
        opened = pl.Series(random.random(ROWS) < 0.5)
        cells = {"site": [site] * ROWS, "zone": [zone] * ROWS, "day": days, "y": y, "kind": kinds, "open": opened}
        frames.append(pl.DataFrame(cells))
    return pl.concat(frames)


def forecaster(**options: Any) -> gw.Forecaster:
    sizes = {"horizon": HORIZON, "hidden": 16, "context": CONTEXT, "season": "none", "calendar": "none"}
    return gw.Forecaster(**{**sizes, "valid": 30, "test": 30, "batch": 32, "lr": 0.02, "steps": 120, **options})


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return panel()


@pytest.fixture(scope="module")
def model(table: pl.DataFrame) -> gw.Forecaster:
    return forecaster().fit(table, **COLUMNS)


def asked(table: pl.DataFrame, **kinds: Any) -> pl.DataFrame:
    """The last rows of each series, without the targets of the horizon."""
    last = pl.col("day") > table["day"].max() - pl.duration(days=HORIZON)
    return table.with_columns(y=pl.when(~last).then("y"), **kinds).group_by("site", maintain_order=True).tail(20)


def test_what_depends_on_a_category_alone_is_learned(model: gw.Forecaster, table: pl.DataFrame) -> None:
    figures = model.evaluate(table)["targets"]["y"]
    assert figures["model"]["overall"]["mae"] < 0.25 * figures["persistence"]["overall"]["mae"]
    encoder = model.model_.spec.encoder
    assert encoder.categories == (
        Category("open", ("false", "true"), 3), Category("site", ("a", "b"), 3), Category("zone", ("7", "12"), 3),
        Category("kind", ("rain", "snow", "sun"), default_size(3)),
    )  # fmt: skip
    assert model.options_.data.category == ("none", "open", "site", "zone", "kind")
    assert model.model_.scaler.mean[1:] == (0.0,) * 4


def by_hand(model: gw.Forecaster, rows: pl.DataFrame) -> np.ndarray[Any, Any]:
    """Forecast one series in float64: its vectors looked up value by value, the equations, the head."""
    module, scaler = model.model_, model.model_.scaler
    weights = {name: value.double().numpy() for name, value in module.state_dict().items()}
    encoder = module.spec.encoder

    def vector(column: str, value: Any) -> list[float]:
        number = [each.column for each in encoder.categories].index(column)
        values, text = encoder.categories[number].values, str(value).lower() if value is not None else ""
        index = values.index(text) + 1 if text in values else 0
        return weights[f"encoder.category.{number}.weight"][index].tolist()

    window, x, before = rows.to_dicts()[-CONTEXT - HORIZON :], [], None
    for t in range(CONTEXT):
        row = window[t]
        change = 0.0 if before is None else (row["y"] - before) / scaler.change_scale[0]
        before = row["y"]
        own = [vector(column, row[column]) for column in ("open", "site", "zone")]
        ahead = [vector("kind", window[t + step]["kind"]) for step in range(1, HORIZON + 1)]
        x.append([change, 1.0, *np.concatenate(own + ahead)])
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    layer = equations.Weights(*(weights[f"lstm.{name}_l0"] for name in names))
    h = equations.forward(np.array(x), layer)[0][-1]
    y = (weights["head.weight"] @ h + weights["head.bias"]).reshape(HORIZON, 3)
    return before + np.sort(y, axis=1) * scaler.scale[0]


def answer(model: gw.Forecaster, rows: pl.DataFrame) -> np.ndarray[Any, Any]:
    return model.predict(rows).select(pl.col("^y_q.*$")).to_numpy().reshape(-1, HORIZON, 3)


def test_a_forecast_is_its_equations(model: gw.Forecaster, table: pl.DataFrame, tmp_path: Path) -> None:
    rows = asked(table)
    expected = [by_hand(model, group) for _, group in rows.group_by("site", maintain_order=True)]
    np.testing.assert_allclose(answer(model, rows), expected, rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "model.safetensors")
    again = gw.load(tmp_path / "model.safetensors")
    for form in (
        rows,
        rows.with_columns(pl.col("kind", "site").cast(pl.Categorical)),
        pd.DataFrame(rows.to_dict()),
    ):
        np.testing.assert_array_equal(np.asarray(again.predict(form)["y_q0.5"]), model.predict(rows)["y_q0.5"])


def test_an_unknown_value_is_a_missing_one_and_is_said(model: gw.Forecaster, table: pl.DataFrame) -> None:
    last = pl.col("day") == table["day"].max()
    plain, missing = asked(table), asked(table, kind=pl.when(~last).then("kind"))
    unknown = asked(table, kind=pl.when(last).then(pl.lit("hail")).otherwise("kind"))
    with pytest.warns(GatewrightWarning, match="kind: unknown to the training, in 2 rows: 'hail'"):
        told = answer(model, unknown)
    np.testing.assert_array_equal(told, answer(model, missing))
    expected = [by_hand(model, group) for _, group in missing.group_by("site", maintain_order=True)]
    np.testing.assert_allclose(told, expected, rtol=1e-4, atol=1e-4)
    # Not to know the kind of a day costs certainty: the forecast lies among the levels, in a wider interval.
    assert (np.abs(told) < 10).all()
    assert (np.ptp(told[:, 1], axis=1) > np.ptp(answer(model, plain)[:, 1], axis=1)).all()


def test_a_new_series_is_forecast(model: gw.Forecaster, table: pl.DataFrame) -> None:
    rows = asked(table).filter(site="a").with_columns(site=pl.lit("new"), zone=99)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told = answer(model, rows)
    said = [str(each.message).split(",")[0] for each in caught]
    assert said == ["site: unknown to the training", "zone: unknown to the training"]
    np.testing.assert_allclose(told[0], by_hand(model, rows), rtol=1e-4, atol=1e-4)


def test_a_row_that_is_not_there_has_no_category(model: gw.Forecaster, table: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="known input 'kind': expected a value in each of the 2 rows after"):
        model.predict(table.group_by("site", maintain_order=True).tail(20))
    with pytest.raises(DataError, match="category 'kind': expected text, true and false, or whole numbers"):
        model.predict(asked(table, kind=pl.lit(1.5)))


def test_a_training_goes_on_from_a_model_with_other_values(model: gw.Forecaster, table: pl.DataFrame) -> None:
    other = table.with_columns(kind=pl.col("kind").replace("snow", "hail"))
    after = forecaster(steps=2, lr=1e-6, hidden=None, horizon=None).fit(other, init=model, **COLUMNS)
    assert after.model_.spec == model.model_.spec
    with pytest.raises(GatewrightError, match=r"category: expected .*as the initial model has it"):
        forecaster(steps=2).fit(table, init=model, **{**COLUMNS, "category": ("zone", "y")})


def test_the_width_of_vectors_is_an_option(table: pl.DataFrame) -> None:
    small = forecaster(steps=1, embedding=2, category_size={"kind": 5}, hidden=4).fit(table, **COLUMNS)
    assert [each.size for each in small.model_.spec.encoder.categories] == [2, 2, 2, 5]
    assert small.options_.model.category_size == ("kind=5",)
    # A training that goes on keeps them, and drops no other width in silence.
    for same in ({}, {"embedding": 2, "category_size": {"kind": 5}}):
        again = forecaster(steps=1, hidden=4, **same).fit(table, init=small, **COLUMNS)
        assert again.model_.spec == small.model_.spec
    for other, message in (
        ({"category_size": {"kind": 3}}, "^category_size: expected kind=5, as the initial model .* got kind=3"),
        ({"embedding": 5}, "^embedding: expected 2 for 'open', as the initial model has it, got 5"),
        ({"embedding": 2}, "^embedding: expected 5 for 'kind', as the initial model has it, got 2"),
        ({"category_size": {"open2": 2}}, "^category_size: expected columns of categories, out of .* got 'open2'"),
    ):
        with pytest.raises(GatewrightError, match=message):
            forecaster(steps=1, hidden=4, **other).fit(table, init=small, **COLUMNS)
    with pytest.raises(GatewrightError, match="embedding: expected a column of categories with it, got 2"):
        forecaster(steps=1, embedding=2).fit(table.select("day", "y", "site"), target="y", id="site")


def test_draws_of_unknown_values_depend_on_seed_and_step_alone() -> None:
    encoder = series_model(categories=(Category("area", ("a", "b"), 2), Category("price", ("c",), 1))).spec.encoder
    plain = torch.ones(3, 4000, encoder.row_size(3))
    places = [place for _, place in encoder.category_places(3)]

    def hidden(seed: int, step: int, rank: int = 0, world: int = 1) -> torch.Tensor:
        share = Share(rank, world)
        inputs = plain[:, share.of(4000)].clone()
        UnknownCategories(encoder, 3, seed, share).hide(inputs, step, 4000)
        return inputs

    whole = hidden(0, 5)
    rest = np.setdiff1d(np.arange(plain.shape[-1]), np.r_[tuple(places)])
    assert torch.equal(whole[..., rest], plain[..., rest])
    for place in places:
        drawn = whole[..., place]
        assert torch.equal(drawn, drawn[:1, :, :1].expand_as(drawn))  # the whole window, and all steps ahead
        assert 0.6 * UNKNOWN_SHARE < float((drawn == 0).double().mean()) < 1.4 * UNKNOWN_SHARE
    assert torch.equal(torch.cat([hidden(0, 5, rank, 3) for rank in range(3)], dim=1), whole)
    assert not torch.equal(hidden(0, 6), whole)
    assert not torch.equal(hidden(1, 5), whole)


def test_the_command_line_says_the_same(
    table: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_csv(tmp_path / "days.csv")
    asked(table, kind=pl.lit("hail")).write_csv(tmp_path / "now.csv")
    run = tmp_path / "run"
    arguments = "--target y --id site --known kind --past open --static site zone --category zone --horizon 2"
    sizes = "--hidden 4 --context 6 --season none --steps 2 --valid 30 --test 30 --device cpu --calendar none"
    cli.main(["train", str(tmp_path / "days.csv"), "--run", str(run), *arguments.split(), *sizes.split()])
    assert "number of their values: open (2), site (2), zone (2), kind (3)" in capsys.readouterr().out
    cli.main(["forecast", str(run), str(tmp_path / "now.csv"), "--out", str(tmp_path / "out.csv")])
    assert "kind: unknown to the training, in 40 rows: 'hail'" in " ".join(capsys.readouterr().err.split())
    loaded = gw.load(run)
    with pytest.warns(GatewrightWarning, match="'hail'"):
        expected = loaded.predict(tmp_path / "now.csv")
    written = pl.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(written["y_q0.5"], expected["y_q0.5"], rtol=1e-6)
    assert loaded.options_.data.category == ("none", "open", "site", "zone", "kind")


def test_a_recording_names_the_numbers_of_each_vector(model: gw.Forecaster, table: pl.DataFrame) -> None:
    recording = model.look(table.filter(site="b"), steps=20)
    names = recording.about.inputs
    assert names[2:] == (
        "open [1]", "open [2]", "open [3]", "site [1]", "site [2]", "site [3]", "zone [1]", "zone [2]", "zone [3]",
        *(f"kind +{ahead} [{n}]" for ahead in (1, 2) for n in range(1, default_size(3) + 1)),
    )  # fmt: skip
    weights = dict(model.model_.named_parameters())
    site = weights["encoder.category.1.weight"][2].detach().numpy()
    np.testing.assert_array_equal(recording.inputs[:, 0, 5:8], np.tile(site, (20, 1)))
    kinds = model.model_.spec.encoder.categories[3].values
    for t in range(20):
        index = kinds.index(table.filter(site="b")["kind"][t + 2]) + 1
        expected = weights["encoder.category.3.weight"][index].detach().numpy()
        np.testing.assert_array_equal(recording.inputs[t, 0, -default_size(3) :], expected)


def test_a_column_with_another_value_in_every_row_is_no_category(tmp_path: Path) -> None:
    rows = range(60)
    table = pl.DataFrame(
        {"y": [float(row % 7) for row in rows], "when": [f"2024-01-01T00:{row:02d}" for row in rows]}
    )
    with pytest.raises(
        DataError, match=r"column 'when': expected categories that occur more than once; .*42 rows"
    ):
        gw.Forecaster(horizon=1, context=4).fit(table, target="y", past=["when"], time="none")
