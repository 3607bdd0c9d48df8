"""Results of runs, a line of JSON each, and the table of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forecasts.neuralforecast_peer import SETTINGS
from benchmarks.forecasts.tasks import TASKS, TEN, ForecastTask

#: Label of the lines that hold scores of simple forecasts and of other packages' models.
REFERENCES = "references"

Line = dict[str, Any]


def read(path: Path) -> list[Line]:
    """Return the lines of a file of results; none if it is not there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def best_other(task: ForecastTask, lines: Iterable[Line]) -> tuple[float, str] | None:
    """Return the lowest scaled quantile loss of another method, and its name; None if none was scored."""
    scores = {
        name: score["sql"]
        for line in lines
        if line["task"] == task.name and line["label"] == REFERENCES
        for name, score in line["scores"].items()
        if "sql" in score
    }
    others = [(loss, name) for name, loss in scores.items()] + ([task.peer] if task.peer else [])
    neural = best_neuralforecast(task, lines)
    return min([*others, *([(_loss(neural), "neuralforecast")] if neural else [])], default=None)


def best_neuralforecast(task: ForecastTask, lines: Iterable[Line]) -> list[Line]:
    """Return the runs of a task by the LSTM of neuralforecast, with the setting whose loss is the lowest."""
    by_setting: dict[str, list[Line]] = {}
    for line in lines:
        if line["task"] == task.name and line["label"] in SETTINGS:
            by_setting.setdefault(line["label"], []).append(line)
    return min(by_setting.values(), key=_loss, default=[])


def _loss(runs: Sequence[Line]) -> float:
    """Return the scaled quantile loss of some runs, in the mean."""
    return float(np.mean([run["scores"]["model"]["sql"] for run in runs]))


def table(lines: Sequence[Line]) -> str:
    """Return the results as a Markdown table, and the geometric mean of the ratios to the best other method."""
    labels = list(dict.fromkeys(line["label"] for line in lines if line["label"] != REFERENCES))
    rows = [
        "| task | best other | recipe | sQL (seeds) | ratio | MASE | coverage | CPU s | MB |",
        "|---" * 9 + "|",
    ]
    ratios: dict[str, dict[str, float]] = {label: {} for label in labels}
    for task in TASKS:
        other = best_other(task, lines)
        for label in labels:
            runs = [line for line in lines if line["task"] == task.name and line["label"] == label]
            if not runs:
                continue
            scores = [run["scores"]["model"] for run in runs]
            losses = [score["sql"] for score in scores]
            ratio = float(np.mean(losses)) / other[0] if other else float("nan")
            ratios[label][task.name] = ratio
            name = f"{task.name}{', untouched' if task.untouched else ''}"
            cells = [
                name, f"{other[1]} {other[0]:.4f}" if other else "", label,
                " ".join(f"{loss:.4f}" for loss in losses), f"{ratio:.2f}",
                f"{np.mean([score['mase'] for score in scores]):.3f}",
                " ".join(f"{score['coverage']:.0%}" for score in scores if "coverage" in score),
                f"{np.mean([run['cpu_seconds'] for run in runs]):.0f}",
                f"{max(run['peak_megabytes'] for run in runs)}",
            ]  # fmt: skip
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, "", *_means(ratios), *_costs(labels, lines)])


def _costs(labels: Sequence[str], lines: Sequence[Line]) -> list[str]:
    """Return CPU seconds and memory of each recipe over neuralforecast's LSTM at its best setting."""
    answer = []
    for label in labels:
        if label in SETTINGS:
            continue
        seconds, memory = {}, {}
        for task in TASKS:
            own = [line for line in lines if line["task"] == task.name and line["label"] == label]
            other = best_neuralforecast(task, lines)
            if own and other:
                seconds[task.name] = _mean(own, "cpu_seconds") / _mean(other, "cpu_seconds")
                memory[task.name] = _mean(own, "peak_megabytes") / _mean(other, "peak_megabytes")
        for name, ratios in (("CPU seconds", seconds), ("maximum of memory", memory)):
            if ratios:
                what = f"{name} over neuralforecast's LSTM at its best setting ({len(ratios)} tasks)"
                answer.append(f"{label}, {what}: {_summary(ratios)}")
    return answer


def _mean(runs: Sequence[Line], figure: str) -> float:
    return float(np.mean([run[figure] for run in runs]))


def _means(ratios: dict[str, dict[str, float]]) -> list[str]:
    groups = {
        "the ten": list(TEN),
        "the looked at": [task.name for task in TASKS[10:] if not task.untouched],
        "the untouched": [task.name for task in TASKS if task.untouched],
    }
    lines = []
    for label, by_task in ratios.items():
        for group, names in groups.items():
            known = {name: by_task[name] for name in names if np.isfinite(by_task.get(name, np.nan))}
            if known:
                lines.append(f"{label}, {group} ({len(known)} of {len(names)}): {_summary(known)}")
    return lines


def _summary(ratios: dict[str, float]) -> str:
    """Describe the ratios of tasks in a line."""
    mean, worst = np.exp(np.mean(np.log(list(ratios.values())))), max(ratios, key=lambda task: ratios[task])
    return f"geometric mean of the ratios {mean:.3f}, worst {ratios[worst]:.2f} ({worst})"
