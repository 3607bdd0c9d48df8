"""Trials of a search are scored in one unit, on the same windows, or the search is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gatewright.data.target_units import Transform
from gatewright.errors import GatewrightError, RunError
from gatewright.runs.run import Run
from gatewright.tasks.forecast import auto_scale, auto_transform
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.search_space import space_of
from gatewright.tuning.search import Job, Limits, search
from gatewright.tuning.study import Study, quiet_optuna
from tests.estimators.test_backtest import panel
from tests.support.training_runs import write_table

OPTIONS = Options(
    DataOptions(target=("load",), horizon=2, season=("none",), valid="40", test="40"),
    ModelOptions(hidden=2),
    TrainingOptions(steps=2, batch=4, validate_every=1, seed=3, warmup=1, device="cpu"),
)


def choose_by_context(monkeypatch, long: str) -> list[int]:
    """Let the choices depend on the context: a transform for long ones, and the scale of a window for others."""
    seen: list[int] = []

    def with_transforms(data: SeriesData, *_: object) -> SeriesData:
        seen.append(data.sizes.read)
        name = long if data.sizes.read > 16 else "none"
        units = replace(data.units, transforms=(Transform(name),))
        return replace(data, options=replace(data.options, transform=(name,)), units=units)

    def with_scale(data: SeriesData, *_: object) -> SeriesData:
        scale = "global" if data.sizes.read > 16 else "window"
        return replace(data, options=replace(data.options, scale=scale), units=replace(data.units, scale=scale))

    monkeypatch.setattr(auto_transform, "with_transforms", with_transforms)
    monkeypatch.setattr(auto_scale, "with_scale", with_scale)
    return seen


@pytest.mark.slow
def test_transform_and_scale_are_chosen_once_for_all_trials(tmp_path, monkeypatch):
    seen = choose_by_context(monkeypatch, "log1p")
    table, path = write_table(tmp_path / "load.csv", rows=260), tmp_path / "s"

    def job() -> Job:
        return Job.of(table, "", OPTIONS, space_of(["context=8,20"]))

    assert job().settled == {"transform": ("log1p",), "scale": "global"}
    with quiet_optuna():
        study = Study.begin(path, job().plan())
        assert search(study, job(), Limits(4), lambda _: None)
        study.close()
    assert seen == [96] * 3  # of the jobs alone: no trial chooses
    data = [Run.open(path / "trials" / f"{number:04d}").options().data for number in range(4)]
    assert {each.context for each in data} == {8, 20}
    assert {(each.transform, each.scale) for each in data} == {(("log1p",), "global")}
    recorded = json.loads((path / "study.json").read_text())["options"]["data"]
    assert (recorded["transform"], recorded["scale"]) == (["log1p"], "global")
    # A study goes on with what it recorded, or not at all.
    choose_by_context(monkeypatch, "asinh")
    with pytest.raises(RunError, match="a study with --transform"):
        Study.begin(path, job().plan())
    fixed = replace(OPTIONS, data=replace(OPTIONS.data, transform=("log1p",)))
    Study.begin(path, Job.of(table, "", fixed, space_of(["context=8,20"])).plan()).close()


def job_of(entries, lengths=(120, 90), loss=None, **data) -> Job:
    base = DataOptions(target=("load",), time="ts", id=("site",), horizon=2, scale="global", transform=("none",))
    options = Options(replace(base, **data), training=TrainingOptions(loss=loss))
    return Job.of(panel(lengths), "", options, None if entries is None else space_of(entries))


@pytest.mark.parametrize(
    ("entries", "options", "message"),
    [
        (["context=8,12"], {"scale": "window"}, "context: .*or --scale global, got context 8 and context 12$"),
        (["season=none,24"], {"scale": "window", "lengths": (400, 390)}, None),  # which reads as many steps
        (
            ["season=none,48"],
            {"scale": "window", "lengths": (400, 390)},
            "season: .* as many .* none and season 48$",
        ),
        (["reads=level,nothing"], {"scale": "window"}, "reads: expected --scale global with --reads nothing"),
        (["season=6,12"], {"loss": "mase", "context": 24}, "season: .* the same first one with --loss mase"),
        (["season=6,6+12"], {"loss": "mase", "context": 24}, None),
        (["season=6,12"], {"transform": ("boxcox",), "context": 24}, "season: .* boxcox without a power"),
        (["season=6,12"], {"transform": ("boxcox:0.5",), "context": 24}, None),
        (
            ["context=8:60"],
            {"lengths": (200, 60)},
            "context: .* the same windows .*, got context 8 and context 60$",
        ),
        (["context=8,60,1000"], {"lengths": (400, 390)}, None),  # 1000 fails, and has no score
        (["context=8,40"], {}, None),
    ],
)
def test_values_whose_scores_have_other_units_or_windows_are_refused(entries, options, message):
    if message is None:
        assert job_of(entries, **options).settled == {}
        return
    with pytest.raises(GatewrightError, match=f"^--search {message}"):
        job_of(entries, **options)


def test_the_usual_space_has_the_contexts_with_comparable_scores():
    searched = {
        name: str(job_of(None, season=("6",), **options).space.get("context"))
        for name, options in {
            "long": {"lengths": (400, 390)}, "short": {"lengths": (400, 50)}, "window": {"scale": "window"}
        }.items()
    }  # fmt: skip
    assert searched == {"long": "16,32,64", "short": "16,32", "window": "None"}
