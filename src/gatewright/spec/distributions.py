"""Distributions of a forecast: the numbers that a head gives of each."""

from __future__ import annotations

from typing import NamedTuple

#: Normals in a mixture.
COMPONENTS = 3


class Family(NamedTuple):
    """A family of distributions.

    Attributes:
        number: as the native module and C know it.
        outputs: names of the numbers that a head gives of a distribution, in order.
        in_c: its name in ``gatewright.h``, after the prefix.
        counts: whether it is one of whole numbers from 0; any other has a location, the first output, and a scale.
    """

    number: int
    outputs: tuple[str, ...]
    in_c: str
    counts: bool = False


_COMPONENT = tuple(
    f"{name}{component}" for name in ("location", "log_scale", "logit") for component in range(1, COMPONENTS + 1)
)

#: The families, by name.
FAMILIES = {
    "normal": Family(1, ("location", "log_scale"), "NORMAL"),
    "student-t": Family(2, ("location", "log_scale", "freedom"), "STUDENT_T"),
    "mixture": Family(3, ("location", "log_scale", *_COMPONENT), "MIXTURE"),
    "negative-binomial": Family(4, ("mean", "log_dispersion"), "NEGATIVE_BINOMIAL", counts=True),
    "zero-inflated-negative-binomial": Family(
        5, ("mean", "log_dispersion", "zeros"), "ZERO_INFLATED", counts=True
    ),
}

#: Largest whole number that a distribution of whole numbers learns from.
LARGEST_COUNT = 1e9
