"""Validations that several processes divide among them; threads are the processes here."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gatewright.tasks import processes, registry
from gatewright.tasks.base import Share, Task
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.tag import task as tagging
from tests.support.classified import digits
from tests.support.tagged import walks
from tests.support.training_runs import FORECAST, LANGUAGE, write_table, write_text


class Group:
    """Threads that exchange tensors as processes do."""

    def __init__(self, world: int) -> None:
        self._own, self._parts = threading.local(), [torch.empty(0)] * world
        self._all = threading.Barrier(world, timeout=60)

    def run(self, rank: int, work: Callable[[], float]) -> float:
        """Do the work of a rank in its thread."""
        self._own.rank = rank
        return work()

    def gathered(self, own: Tensor) -> list[Tensor]:
        """Return what every thread has."""
        self._all.wait()
        self._parts[self._own.rank] = own
        self._all.wait()
        return list(self._parts)


SOURCES: dict[str, tuple[Callable[[Path], Any], Options]] = {
    "forecast": (
        lambda folder: write_table(folder / "load.csv"),
        Options(FORECAST.data, ModelOptions(hidden=20), FORECAST.training),
    ),
    "language": (lambda folder: write_text(folder / "plays.txt"), LANGUAGE),
    "classify": (lambda _: digits(40, 3), Options(DataOptions(), ModelOptions(hidden=5))),
    "tag": (lambda _: walks(), Options(DataOptions(), ModelOptions(hidden=5))),
}


@pytest.mark.parametrize("name", SOURCES)
def test_validations_are_divided(tmp_path, monkeypatch, name):
    """Their score is that of one process, and so are the weights that a validation fits."""
    kind, (source_of, told) = registry.kind(name), SOURCES[name]
    options = kind.resolve(Options(told.data, told.model, TrainingOptions(batch=8, device="cpu")))
    data = kind.read(source_of(tmp_path), options.data)
    options = kind.complete(options, data)
    model = kind.build(data, options)

    def task(rank: int, world: int) -> Task:
        return kind.task(copy.deepcopy(model), data, options, Share(rank, world), torch.device("cpu"))

    alone = task(0, 1)
    expected = alone.validate()
    for world in (2, 3):
        group, tasks = Group(world), [task(rank, world) for rank in range(world)]
        monkeypatch.setattr(processes, "divides", lambda share, count: count >= share.world > 1)
        monkeypatch.setattr(tagging, "divides", processes.divides)
        monkeypatch.setattr(processes, "gathered", group.gathered)
        monkeypatch.setattr(tagging, "gathered", group.gathered)
        with ThreadPoolExecutor(world) as threads:
            each = threads.map(group.run, range(world), [each.validate for each in tasks])
            scores = list(each)
        assert scores == pytest.approx([expected] * world, rel=1e-6 if name == "language" else 0, abs=0)
        for other in tasks:
            for mine, theirs in zip(alone.model.parameters(), other.model.parameters(), strict=True):
                assert torch.equal(mine, theirs)
