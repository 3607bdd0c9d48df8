"""Several runs of the same data, scored on the same windows and tested against one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, RunError
from gatewright.evaluation.diebold_mariano import diebold_mariano
from gatewright.nn.model import Model
from gatewright.progress import SILENT, Waits
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.forecast.dataset import SeriesData
from gatewright.tasks.forecast.evaluate import METHODS, Chosen, choose, draw, forecast_batches
from gatewright.tasks.forecast.scores import Basis, Batch, score

Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Entry:
    """A run to compare.

    Attributes:
        name: in tables.
        path: its directory.
        model: its best model.
        data: what it learned from.
    """

    name: str
    path: Path
    model: Model
    data: SeriesData


class _Losses:
    """Losses of one run, window by window: the quantile loss, the mean over steps and levels.

    Those of several series are scaled as MASE is, and averaged at each origin.
    """

    def __init__(self, basis: Basis, places: list[NDArray[np.int64]]) -> None:
        self._basis, self._places = basis, places
        self._levels = np.array(basis.quantiles)
        self._of: list[tuple[NDArray[np.int64], Values]] = []

    def add(self, batch: Batch, forecast: Values) -> None:
        """Add the windows of a batch, with one method's forecasts of them."""
        over = batch.truth[..., None] - forecast
        loss = np.maximum(self._levels * over, (self._levels - 1) * over).mean(axis=-1)
        seen = np.isfinite(loss)
        count = seen.sum(axis=1)
        mean = np.where(seen, loss, 0.0).sum(axis=1) / np.maximum(count, 1)
        if len(self._places) > 1:
            mean = mean / self._basis.naive_errors[batch.series]
        self._of.append((self._places[batch.series][batch.origins], np.where(count > 0, mean, np.nan)))

    def by_origin(self) -> tuple[NDArray[np.int64], Values]:
        """Return the time steps of the origins in order, and the mean loss of each (origins, targets)."""
        places, index = np.unique(np.concatenate([places for places, _ in self._of]), return_inverse=True)
        losses = np.concatenate([losses for _, losses in self._of])
        known = np.isfinite(losses)
        total, count = (np.zeros((len(places), losses.shape[1])) for _ in range(2))
        np.add.at(total, index, np.where(known, losses, 0.0))
        np.add.at(count, index, known)
        with np.errstate(invalid="ignore"):
            return places, total / count


def compare_runs(
    paths: Sequence[Path | str | Run], windows: int | None = None, waits: Waits = SILENT
) -> dict[str, Any]:
    """Compare forecasters that learned from the same data, on the windows that all of them can forecast.

    Args:
        paths: two or more runs or their directories.  The first one's season scales MASE, and is that of the
            seasonal-naive forecast.
        windows: maximum number of windows of the test part, evenly spaced; all if None.
        waits: reports progress.

    Returns:
        Figures of each target for each run and for the baselines, as in ``evaluation.json``; and in ``tests`` the
        Diebold-Mariano test (`diebold_mariano`) of each pair of runs, of the quantile loss of their windows.  A
        negative ``difference`` and ``statistic`` say that the first of the pair is better.

    Raises:
        GatewrightError: if there are fewer than two runs, one does not forecast, or they differ in data, targets,
            split, horizon or quantiles.
    """
    entries = _entries(paths, waits)
    first, *others = entries
    for other in others:
        _require_same(first, other)
    data, scaler = first.data, first.model.scaler
    assert scaler is not None
    targets = data.table.roles.targets
    basis = Basis.of_test_part(data, scaler.deviations)
    chosen = _shared_windows(entries, windows)
    places = _places(data)
    losses = {entry.name: _Losses(basis, places) for entry in entries}
    figures: dict[str, dict[str, Any]] = {target: {} for target in targets}
    baselines: dict[str, dict[str, Any]] = {target: {} for target in targets}
    with waits.counting("comparing", chosen.count * len(entries), "windows") as advance:
        for entry in entries:
            batches = _named(entry, chosen, losses[entry.name], baselines=entry is first)
            scores, _ = score(batches, basis, advance)
            for target, methods in scores.items():
                figures[target][entry.name] = methods.pop(entry.name)
                baselines[target] |= methods
    return {
        "kind": "comparison",
        "part": "test",
        "runs": {entry.name: str(entry.path) for entry in entries},
        "windows": chosen.count,
        "windows_available": chosen.available,
        "series_without_windows": chosen.without,
        "series_not_sampled": chosen.unsampled,
        "horizon": basis.horizon,
        "season": data.sizes.season,
        "quantiles": list(basis.quantiles),
        "targets": {target: figures[target] | baselines[target] for target in targets},
        "tests": _tests(losses, targets, basis.horizon),
    }


def _entries(paths: Sequence[Path | str | Run], waits: Waits) -> list[_Entry]:
    """Open runs, and name them by their directories as far as these names differ."""
    runs = [path if isinstance(path, Run) else Run.open(path) for path in paths]
    if len(runs) < 2:
        raise GatewrightError("runs", "at least two runs to compare", str(len(runs)))
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise GatewrightError("runs", "runs that differ", ", ".join(str(run.path) for run in runs))
    for run in runs:
        kind = registry.kind(run.kind)
        if not kind.forecasts:
            raise RunError("runs", "runs that forecast", f"{run.path}, a {kind.name} model")
    short = [run.path.resolve().name for run in runs]
    plain = len(set(short)) == len(short) and not set(short) & set(METHODS)
    names = short if plain else [str(run.path.resolve()) for run in runs]
    return [
        _Entry(name, run.path, run.best_model(), run.data(waits=waits))
        for name, run in zip(names, runs, strict=True)
    ]


def _require_same(first: _Entry, other: _Entry) -> None:
    """Check that two runs can be compared.

    Raises:
        RunError: names what differs.
    """
    ours, theirs = first.data, other.data
    if ours.source != theirs.source:
        raise RunError(str(other.path), f"a run of the data of {first.path}", "a run of other data")
    options = (
        ("targets", ours.table.roles.targets, theirs.table.roles.targets),
        ("horizon", ours.settings.horizon, theirs.settings.horizon),
        ("quantiles", ours.settings.quantiles, theirs.settings.quantiles),
        ("step between rows", ours.table.step, theirs.table.step),
        ("series", [one.name for one in ours.table.series], [one.name for one in theirs.table.series]),
    )
    for name, expected, got in options:
        if expected != got:
            raise RunError(str(other.path), f"the {name} of {first.path}: {_said(expected)}", _said(got))
    if ours.parts != theirs.parts:
        split = f"valid {ours.settings.valid}, test {ours.settings.test}"
        got = f"valid {theirs.settings.valid}, test {theirs.settings.test}"
        raise RunError(str(other.path), f"the split of {first.path}: {split}", got)
    targets = len(ours.table.roles.targets)
    for one, two in zip(ours.table.series, theirs.table.series, strict=True):
        if not np.array_equal(one.values[:, :targets], two.values[:, :targets], equal_nan=True):
            got = "other values: the table was read with other options"
            raise RunError(str(other.path), f"the target values of {first.path}", got)


def _said(value: object) -> str:
    return ", ".join(map(str, value))[:200] if isinstance(value, (list, tuple)) else str(value)


def _shared_windows(entries: Sequence[_Entry], windows: int | None) -> Chosen:
    """Return the windows that every run can forecast, or some of them.

    Raises:
        GatewrightError: if they share none.
    """
    every = [choose(entry.model, entry.data).origins for entry in entries]
    shared = []
    for of_runs in zip(*every, strict=True):
        rows = of_runs[0]
        for more in of_runs[1:]:
            rows = np.intersect1d(rows, more)
        shared.append(rows)
    if not any(map(len, shared)):
        raise GatewrightError("runs", "windows of the test part that all runs can forecast", "none")
    return draw(shared, [one.name for one in entries[0].data.table.series], windows)


def _places(data: SeriesData) -> list[NDArray[np.int64]]:
    """Return the time step of each row of each series, counted from the first of all."""
    series = data.table.series
    if any(one.times is None for one in series):
        return [np.arange(len(one.values)) for one in series]
    times = [one.times for one in series if one.times is not None]
    every = np.unique(np.concatenate(times))
    return [np.searchsorted(every, own) for own in times]


def _named(entry: _Entry, chosen: Chosen, losses: _Losses, *, baselines: bool) -> Iterator[Batch]:
    """Forecast with one run, under its name; note the losses of its windows."""
    for batch in forecast_batches(entry.model, entry.data, chosen):
        forecasts = dict(batch.forecasts)
        model = forecasts.pop("model")
        losses.add(batch, model)
        yield replace(batch, forecasts={entry.name: model, **(forecasts if baselines else {})})


def _tests(losses: dict[str, _Losses], targets: Sequence[str], horizon: int) -> dict[str, list[dict[str, Any]]]:
    """Test each pair of runs, for each target."""
    by_origin = {name: own.by_origin() for name, own in losses.items()}
    tests: dict[str, list[dict[str, Any]]] = {target: [] for target in targets}
    for number, target in enumerate(targets):
        for one, two in combinations(by_origin, 2):
            places, difference = by_origin[one][0], by_origin[one][1][:, number] - by_origin[two][1][:, number]
            known = np.isfinite(difference)
            outcome = diebold_mariano(difference[known], horizon, places[known])._asdict()
            if not known.any():
                outcome["difference"] = None
            tests[target].append({"first": one, "second": two, **outcome})
    return tests
