"""Backtests: the figures from the forecasts that they return, by loops, and the command."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright import cli
from gatewright.errors import GatewrightError
from gatewright.estimators.base import GatewrightWarning
from gatewright.tasks.forecast.reference_models import REFERENCES, _Choice
from tests.tasks.test_baselines import last_season, last_value, on_the_line

pytestmark = pytest.mark.slow

HORIZON, STEP, WINDOWS, SEASON = 3, 4, 4, 6
SIZES = {
    "horizon": HORIZON, "hidden": 4, "context": 12, "season": SEASON, "steps": 3, "batch": 8, "warmup": 1,
    "transform": "none", "scale": "global",  # the choice of them takes as long as the training
}  # fmt: skip
COLUMNS = {"target": "load", "time": "ts", "id": "site"}


def values(site: int, rows: int) -> np.ndarray:
    draw = np.random.default_rng(site)
    return 10 * (site + 1) + np.sin(np.arange(rows) * 2 * np.pi / SEASON) + draw.normal(scale=0.3, size=rows)


def panel(lengths: tuple[int, ...] = (120, 90)) -> pl.DataFrame:
    """An hourly table of sites of some lengths."""
    frames = []
    for site, rows in enumerate(lengths):
        times = np.datetime64("2024-01-01T00", "us") + np.arange(rows).astype("timedelta64[h]")
        frames.append(pl.DataFrame({"site": [f"s{site}"] * rows, "ts": times, "load": values(site, rows)}))
    return pl.concat(frames)


def by_hand(folds: pl.DataFrame, lengths: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """MAE and MASE of the model and the baselines, and coverage, sQL and width of the model."""
    errors: dict[str, dict[int, list[float]]] = {}
    losses: dict[int, list[float]] = {}
    inside, widths = [], []
    scales = {}
    for site, rows in enumerate(lengths):
        first = rows - HORIZON - (WINDOWS - 1) * STEP
        known = values(site, rows)[:first]
        scales[site] = float(np.mean(np.abs(known[SEASON:] - known[:-SEASON])))
        for number in range(WINDOWS):
            cells, cut = values(site, rows), first + number * STEP
            own = folds.filter(pl.col("site") == f"s{site}")[number * HORIZON : (number + 1) * HORIZON]
            for ahead in range(1, HORIZON + 1):
                truth, row = cells[cut + ahead - 1], own.row(ahead - 1, named=True)
                assert row["load"] == truth
                forecasts = {
                    "model": row["load_q0.5"],
                    "persistence": last_value(cells, cut - 1),
                    "seasonal-naive": last_season(cells, cut - 1, ahead, SEASON),
                    "drift": on_the_line(cells, cut - 1, ahead),
                }
                for name, forecast in forecasts.items():
                    errors.setdefault(name, {}).setdefault(site, []).append(abs(truth - forecast))
                levels = [(level, row[f"load_q{level}"]) for level in (0.1, 0.5, 0.9)]
                loss = np.mean([max(p * (truth - q), (p - 1) * (truth - q)) for p, q in levels])
                losses.setdefault(site, []).append(float(loss))
                inside.append(levels[0][1] <= truth <= levels[-1][1])
                widths.append(levels[-1][1] - levels[0][1])
    found = {
        name: {
            "mae": float(np.mean(np.concatenate(list(of.values())))),
            "mase": float(np.mean([np.mean(own) / scales[site] for site, own in of.items()])),
        }
        for name, of in errors.items()
    }
    found["model"] |= {
        "scaled_quantile_loss": float(np.mean([np.mean(own) / scales[site] for site, own in losses.items()])),
        "coverage": float(np.mean(inside)),
        "interval_width": float(np.mean(widths)),
    }
    return found


def check(figures: dict, folds: pl.DataFrame, lengths: tuple[int, ...]) -> None:
    for name, expected in by_hand(folds, lengths).items():
        overall = figures["targets"]["load"][name]["overall"]
        assert {measure: overall[measure] for measure in expected} == pytest.approx(expected, rel=1e-4)
        assert overall["observed"] == WINDOWS * HORIZON * len(lengths)


@pytest.mark.parametrize("refit", [True, False])
def test_the_figures_are_those_of_the_forecasts(refit: bool) -> None:
    arguments = {"windows": WINDOWS, "step": STEP, "refit": refit, **COLUMNS}
    table, model = panel(), gw.Forecaster(**SIZES)
    figures, folds = model.backtest(table, **arguments), model.cross_validate(table, **arguments)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert (figures["part"], figures["windows"], figures["season"]) == ("origins", 2 * WINDOWS, SEASON)
    check(figures, folds, (120, 90))


def test_a_fitted_estimator_knows_the_columns_of_its_fit(tmp_path: Path) -> None:
    table = panel((80, 80)).with_columns(wind=pl.int_range(160) % 7, other=pl.int_range(160) % 5)
    columns: Any = {**COLUMNS, "past": "wind"}
    fitted = gw.Forecaster(**SIZES).fit(table, **columns)
    fitted.save(tmp_path / "m.safetensors")
    places: Any = {"windows": 1, "refit": False}
    expected = gw.Forecaster(**SIZES).cross_validate(table, **places, **columns)
    for model in (fitted, gw.load(tmp_path / "m.safetensors").set_params(**SIZES)):
        assert model.cross_validate(table, **places).equals(expected)
    # Named columns go first: one that had another role in the fit has only that one.
    other = fitted.cross_validate(table, **places, target="wind")
    alone = gw.Forecaster(**SIZES).cross_validate(table, **places, **{**COLUMNS, "target": "wind"})
    assert other.equals(alone)
    again = fitted.cross_validate(table, **places, past=["other"])
    assert again.equals(gw.Forecaster(**SIZES).cross_validate(table, **places, **COLUMNS, past=["other"]))


def test_a_series_that_is_too_short_is_named() -> None:
    with pytest.warns(GatewrightWarning, match="left out, too few rows before an origin: s1"):
        figures = gw.Forecaster(**SIZES).backtest(
            panel((120, 20)), windows=WINDOWS, step=STEP, refit=False, **COLUMNS
        )
    assert figures["series_without_windows"] == ["s1"]
    assert list(figures["targets"]["load"]["model"]["by_series"]) == ["s0", "s1"]


class BeforeOnly:
    """A baseline for tests: the mean of the rows that it was fitted on, plus the number of the origin's row."""

    fits: list[tuple[list[int], list[int]]]

    def __init__(self, _, data, series, progress) -> None:
        self.cuts = [part.test for part in data.parts]
        self.fits.append((list(series), self.cuts))
        self.means = {
            number: np.nanmean(data.table.series[number].values[: self.cuts[number], 0]) for number in series
        }
        progress(len(series))

    def forecast(self, series, origins):
        return np.broadcast_to((self.means[series] + origins)[:, None, None, None], (len(origins), HORIZON, 1, 3))


@pytest.mark.parametrize("refit", [True, False])
def test_baselines_of_other_packages_know_the_rows_before_an_origin_only(
    monkeypatch: pytest.MonkeyPatch, refit: bool
) -> None:
    monkeypatch.setattr(BeforeOnly, "fits", [], raising=False)
    monkeypatch.setitem(REFERENCES, "before", _Choice("numpy", BeforeOnly))
    lengths = (120, 25)  # the second series has enough rows from the second origin on
    with pytest.warns(GatewrightWarning, match="left out, too few rows before an origin: s1"):
        figures = gw.Forecaster(**SIZES).backtest(
            panel(lengths), windows=WINDOWS, step=STEP, refit=refit, baselines="before", **COLUMNS
        )
    cuts = [[rows - HORIZON - (WINDOWS - 1 - number) * STEP for rows in lengths] for number in range(WINDOWS)]
    usable = [[site for site in (0, 1) if cut[site] >= SIZES["context"]] for cut in cuts]
    assert usable == [[0], [0, 1], [0, 1], [0, 1]]
    fitted: dict[int, int] = {}  # of each series, the row that its model was fitted before
    errors, fits = [], []
    for cut, sites in zip(cuts, usable, strict=True):
        new = [site for site in sites if refit or site not in fitted]
        fits += [(new, cut)] if new else []
        fitted |= {site: cut[site] for site in new}
        for site in sites:
            cells = values(site, lengths[site])
            expected = cells[: fitted[site]].mean() + cut[site] - 1
            errors += [abs(cells[cut[site] + ahead] - expected) for ahead in range(HORIZON)]
    assert BeforeOnly.fits == fits
    methods = figures["targets"]["load"]
    assert list(methods) == ["model", "persistence", "seasonal-naive", "drift", "before"]
    assert methods["before"]["overall"]["mae"] == pytest.approx(np.mean(errors))
    assert len({method["overall"]["observed"] for method in methods.values()}) == 1


def test_an_input_that_does_not_vary_before_an_origin_is_left_out_there() -> None:
    table = panel((120,)).with_columns(
        heat=pl.lit(1.0), wind=pl.Series(values(2, 120)), rain=pl.Series([0.0] * 112 + [1.0] * 8)
    )
    arguments = {"windows": WINDOWS, "step": STEP, "refit": True, **COLUMNS}
    folds = gw.Forecaster(**SIZES).cross_validate(table, past=["heat", "wind", "rain"], **arguments)
    alone = gw.Forecaster(**SIZES).cross_validate(table, past=["wind"], **arguments)
    for level in (0.1, 0.5, 0.9):
        assert folds[f"load_q{level}"].to_list() == alone[f"load_q{level}"].to_list()


def test_a_category_that_comes_after_an_origin_changes_no_number_of_the_others() -> None:
    """The number of a category is its place in the order of the values: "a" comes first, and is not known."""
    arguments = {"windows": 3, "step": STEP, "refit": True, "past": "kind", **COLUMNS}
    draw = np.random.default_rng(5).choice(["c", "d"], 112).tolist()
    folds = [
        gw.Forecaster(**SIZES).cross_validate(
            panel((120,)).with_columns(kind=pl.Series([*draw, *[late] * 8])), **arguments
        )
        for late in ("z", "a")
    ]
    assert folds[0].equals(folds[1])


def drawn_by_hand(folds: pl.DataFrame, lengths: tuple[int, ...]) -> np.ndarray:
    """Absolute errors of the median, scaled as MASE is where there are several series (sites, origins, steps)."""
    errors = []
    for site, rows in enumerate(lengths):
        own = folds.filter(pl.col("site") == f"s{site}")
        known = values(site, rows)[: rows - HORIZON - (WINDOWS - 1) * STEP]
        scale = np.mean(np.abs(known[SEASON:] - known[:-SEASON])) if len(lengths) > 1 else 1.0
        error = (own["load"] - own["load_q0.5"]).abs().to_numpy() / scale
        errors.append(error.reshape(WINDOWS, HORIZON))
    return np.stack(errors)


@pytest.mark.parametrize("lengths", [(120,), (120, 120)])
def test_the_picture_shows_errors_by_origin_and_by_step(lengths: tuple[int, ...]) -> None:
    arguments = {"windows": WINDOWS, "step": STEP, "refit": False, **COLUMNS}
    table, model = panel(lengths), gw.Forecaster(**SIZES)
    by_origin, by_step = model.plot_backtest(table, **arguments).axes
    errors = drawn_by_hand(model.cross_validate(table, **arguments), lengths)
    labels = [line.get_label() for line in by_origin.lines]
    assert labels == ["model", "persistence", "seasonal-naive", "drift"]
    np.testing.assert_allclose(by_origin.lines[0].get_ydata(), errors.mean(axis=(0, 2)))
    np.testing.assert_allclose(by_step.lines[0].get_ydata(), errors.mean(axis=(0, 1)))
    for axes, rows in ((by_origin, errors.transpose(1, 0, 2)), (by_step, errors.transpose(2, 0, 1))):
        [band] = axes.collections
        low, high = np.quantile(rows.reshape(len(rows), -1), [0.25, 0.75], axis=1)
        corners = band.get_paths()[0].vertices[:, 1]
        assert (corners.min(), corners.max()) == pytest.approx((low.min(), high.max()))
    cutoffs = [120 - HORIZON - (WINDOWS - 1 - number) * STEP - 1 for number in range(WINDOWS)]
    times = panel((120,))["ts"].to_numpy()[cutoffs]
    np.testing.assert_array_equal(by_origin.lines[0].get_xdata(orig=True), times)
    assert by_origin.get_ylabel() == ("MAE, units of load" if len(lengths) == 1 else "MASE")
    assert by_step.get_xlabel() == "steps ahead"


def test_origins_of_unlike_times_are_numbered() -> None:
    by_origin, _ = (
        gw.Forecaster(**SIZES).plot_backtest(panel((120, 90)), windows=2, step=STEP, refit=False, **COLUMNS).axes
    )
    assert by_origin.lines[0].get_xdata().tolist() == [1, 2]
    assert by_origin.get_xlabel() == "origin"


def command(*arguments: object) -> None:
    options = [str(word) for name, value in SIZES.items() for word in (f"--{name}", value)]
    cli.main([str(word) for word in ("backtest", *arguments)] + options)


def test_the_command_writes_forecasts_next_to_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    panel().write_csv(tmp_path / "t.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    out = tmp_path / "folds.csv"
    columns = [word for name, value in COLUMNS.items() for word in (f"--{name}", value)]
    plot = tmp_path / "folds.svg"
    places = ("--windows", WINDOWS, "--step", STEP, "--no-retrain")
    command(tmp_path / "t.csv", *places, "--out", out, "--plot", plot, *columns)
    assert plot.read_text().startswith("<?xml")
    printed, complaints = capsys.readouterr()
    assert complaints == ""
    assert "load: rolling origins, 8 windows, 3 steps ahead" in printed
    assert f"wrote {out} and {plot}" in printed.splitlines()
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["site", "ts", "cutoff", "load", "load_q0.1", "load_q0.5", "load_q0.9"]
    folds = gw.Forecaster(**SIZES).cross_validate(
        tmp_path / "t.csv", windows=WINDOWS, step=STEP, refit=False, **COLUMNS
    )
    assert [row["ts"] for row in rows] == [f"{when}" for when in folds["ts"]]
    assert [row["cutoff"] for row in rows] == [f"{when}" for when in folds["cutoff"]]
    for name in ("load", "load_q0.1", "load_q0.5", "load_q0.9"):
        np.testing.assert_allclose([float(row[name]) for row in rows], folds[name], rtol=1e-6)
    [line] = [line.split() for line in printed.splitlines() if line.startswith("model ")][:1]
    mae = float(np.abs(folds["load"] - folds["load_q0.5"]).mean())
    assert float(line[1]) == pytest.approx(mae, rel=1e-2)


def test_the_command_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel((120, 20)).write_csv(tmp_path / "t.csv")
    columns = [word for name, value in COLUMNS.items() for word in (f"--{name}", value)]
    command(
        tmp_path / "t.csv",
        "--windows",
        WINDOWS,
        "--step",
        STEP,
        "--no-retrain",
        "--out",
        tmp_path / "o.csv",
        *columns,
    )
    assert capsys.readouterr().err == "note: left out, too few rows before an origin: s1\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--windows", 0), "--windows: expected a whole number of at least 1, got 0"),
        (("--step", -2), "--step: expected a whole number of at least 1, got -2"),
        (("--windows", 60), "--windows: expected origins within the table"),
        (("--out", "no/such/folder.csv"), "--out: expected a file in a directory that exists"),
        (("--baselines", "arima"), "--baselines: expected autoets or autoarima or lightgbm, got 'arima'"),
        (("--plot", "o.pdf"), "--plot: expected a file whose name ends in .png or .svg, got 'o.pdf'"),
        (("--out", "t.csv"), "--out: expected another file than the table"),
    ],
)
def test_origins_outside_the_table_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    message: str,
) -> None:
    panel((90,)).write_csv(tmp_path / "t.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        command(tmp_path / "t.csv", "--target", "load", *arguments)
    assert end.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(message, line)
    assert not (tmp_path / "backtest.csv").exists()


def test_without_rows_before_them_forecasts_have_no_scale() -> None:
    """Of an array that is not the one of the training, every row is forecast."""
    model = gw.Forecaster(**SIZES, valid="16", test="18").fit(values(0, 120))
    with pytest.warns(GatewrightWarning, match="rows without timestamps are all scored"):
        other = model.evaluate(values(1, 60))["targets"]["y"]["model"]["overall"]
    assert (other["mase"], other["scaled_quantile_loss"]) == (None, None)
    assert other["mae"] > 0
    own = model.evaluate(values(0, 120))["targets"]["y"]["model"]["overall"]
    known = values(0, 120)[: 120 - 18 - 16]
    scale = np.mean(np.abs(known[SEASON:] - known[:-SEASON]))
    assert own["mase"] == pytest.approx(own["mae"] / scale)


def test_baselines_that_do_not_exist_are_refused_by_the_parameter() -> None:
    model = gw.Forecaster(**SIZES).fit(values(0, 120))
    with pytest.raises(
        GatewrightError, match=r"^baselines: expected autoets or autoarima or lightgbm, got 'arima'"
    ):
        model.evaluate(values(0, 120), baselines="arima")
