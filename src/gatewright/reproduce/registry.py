"""All experiments by name."""

from __future__ import annotations

from gatewright.errors import GatewrightError, nearest, shorten
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

_FILES = (adding, temporal_order, copy_memory, regular, chorales, classification, ett, shakespeare)

EXPERIMENTS: dict[str, Experiment] = {each.name: each for file in _FILES for each in file.EXPERIMENTS}


def experiment(name: str) -> Experiment:
    """Return an experiment.

    Raises:
        GatewrightError: if there is none of this name.
    """
    if name not in EXPERIMENTS:
        hint = nearest(name, EXPERIMENTS)
        raise GatewrightError("NAME", "an experiment of `gatewright reproduce list`", f"{shorten(name)}{hint}")
    return EXPERIMENTS[name]
