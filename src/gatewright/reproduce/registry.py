"""All experiments by name."""

from __future__ import annotations

from gatewright.reproduce import (
    adding,
    chorales,
    classification,
    copy_memory,
    ett,
    regular,
    shakespeare,
    temporal_order,
)
from gatewright.reproduce.experiment import Experiment
from gatewright.reproduce.names import require_name

_FILES = (adding, temporal_order, copy_memory, regular, chorales, classification, ett, shakespeare)

EXPERIMENTS: dict[str, Experiment] = {each.name: each for file in _FILES for each in file.EXPERIMENTS}


def experiment(name: str) -> Experiment:
    """Return an experiment.

    Raises:
        GatewrightError: if there is none of this name.
    """
    require_name(name)
    return EXPERIMENTS[name]
