"""Names of all experiments.  Importing it loads no torch."""

from __future__ import annotations

from gatewright.errors import GatewrightError, nearest, shorten

NAMES = (
    "adding-100",
    "adding-500",
    "adding-1000",
    "temporal-order",
    "temporal-order-3",
    "copy-memory-100",
    "regular-languages",
    "jsb-chorales",
    "mnist-1d",
    "ucr-ItalyPowerDemand",
    "ucr-GunPoint",
    "ucr-ArrowHead",
    "ucr-OSULeaf",
    "ucr-ACSF1",
    "uea-JapaneseVowels",
    "uea-JapaneseVowels-5",
    "etth1-96",
    "tinyshakespeare",
)


def require_name(name: str) -> None:
    """Require the name of an experiment.

    Raises:
        GatewrightError: if there is none of this name.
    """
    if name not in NAMES:
        hint = nearest(name, NAMES)
        raise GatewrightError("NAME", "an experiment of `gatewright reproduce list`", f"{shorten(name)}{hint}")
