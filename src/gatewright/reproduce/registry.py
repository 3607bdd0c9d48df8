"""All experiments by name."""

from __future__ import annotations

from gatewright.errors import GatewrightError, nearest, shorten
from gatewright.reproduce import adding
from gatewright.reproduce.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {each.name: each for each in adding.EXPERIMENTS}


def experiment(name: str) -> Experiment:
    """Return an experiment.

    Raises:
        GatewrightError: if there is none of this name.
    """
    if name not in EXPERIMENTS:
        hint = nearest(name, EXPERIMENTS)
        raise GatewrightError("NAME", "an experiment of `gatewright reproduce list`", f"{shorten(name)}{hint}")
    return EXPERIMENTS[name]
