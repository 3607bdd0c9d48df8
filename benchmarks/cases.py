"""The thirteen shapes that are measured: what people train and run LSTMs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from gatewright.errors import GatewrightError, nearest

#: FLOPs of a training step over those of its forward pass: one product forward, two backward.
TRAINING = 3

#: With ``--quick``, cases over this many FLOPs forward are cut to a quarter of their steps.
QUICK_FLOPS = 5e9


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer over one batch: T steps, B rows, D inputs, H units."""

    name: str
    T: int
    B: int
    D: int
    H: int

    @property
    def flops(self) -> int:
        """FLOPs of the products of a forward pass; activations are not counted."""
        return 2 * self.T * self.B * 4 * self.H * (self.D + self.H)

    def shortened(self) -> Case:
        """Return the case as ``--quick`` measures it."""
        return dataclasses.replace(self, T=self.T // 4) if self.flops > QUICK_FLOPS else self


CASES = (
    Case("amp", 2048, 16, 1, 40),
    Case("forecast", 96, 32, 7, 64),
    Case("imdb", 200, 32, 128, 128),
    Case("seqmnist", 784, 100, 1, 128),
    Case("hydro", 365, 256, 32, 128),
    Case("hydro256", 270, 256, 32, 256),
    Case("speaker", 160, 32, 40, 256),
    Case("charlm", 128, 64, 128, 512),
    Case("nanopore", 500, 16, 384, 384),
    Case("rl", 128, 8, 64, 256),
    Case("offline1", 1000, 1, 32, 32),
    Case("offline256", 500, 1, 256, 256),
    Case("large", 64, 64, 1024, 1024),
)


def named(names: Iterable[str]) -> tuple[Case, ...]:
    """Return cases by name, in the order of the table.

    Raises:
        GatewrightError: at a name that is no case.
    """
    by_name = {case.name: case for case in CASES}
    wanted = list(names)
    for name in wanted:
        if name not in by_name:
            raise GatewrightError("--cases", f"some of {', '.join(by_name)}", repr(name) + nearest(name, by_name))
    return tuple(case for case in CASES if case.name in wanted)
