"""The models of a run as they were at its validations, to look at how it learned."""

from __future__ import annotations

import re
from pathlib import Path

from gatewright.nn.model import Model
from gatewright.runs.run import Run

#: Maximum number of snapshots; beyond it every second one is deleted.
MOST = 64

_NAME = re.compile(r"step-(\d+)\.safetensors")


def keep(run: Run, model: Model, step: int) -> list[int]:
    """Write a model file for a step; where there are too many, every second one goes.

    Returns:
        The steps whose snapshots are gone.

    Raises:
        OSError: if it cannot be written.
    """
    run.snapshots.mkdir(exist_ok=True)
    # What a killed run took and will take again is older than this.
    gone = [(number, path) for number, path in found(run) if number > step]
    for _, path in gone:
        path.unlink()
    model.save(run.snapshots / f"step-{step:08}.safetensors")
    there = found(run)
    if len(there) > MOST:
        thinned = there[:-1][::2]
        for _, path in thinned:
            path.unlink()
        gone += thinned
    return [number for number, _ in gone]


def found(run: Run) -> list[tuple[int, Path]]:
    """Return step and path of each snapshot, in order."""
    if not run.snapshots.is_dir():
        return []
    matches = [(_NAME.fullmatch(path.name), path) for path in run.snapshots.iterdir()]
    return sorted((int(match[1]), path) for match, path in matches if match)
