"""The part of the data that a page shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gatewright.errors import GatewrightError
from gatewright.spec import FILLS

if TYPE_CHECKING:
    from gatewright.tasks.inputs import InputBatch

#: Default maximum number of series on a page.
MAX_ROWS = 16
#: Default maximum number of steps on a page.
MAX_STEPS = 2000

#: Shows a line to the user.
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Selection:
    """The part of the data that a page shows.

    Attributes:
        row: number of the series; None for the first `MAX_ROWS`.
        start: first step.
        steps: maximum number of steps; None for `MAX_STEPS`.
        fill: how missing inputs are filled; None for the method of training.

    Raises:
        GatewrightError: if a number is too small, or the fill method is unknown.
    """

    row: int | None = None
    start: int = 0
    steps: int | None = None
    fill: str | None = None

    def __post_init__(self) -> None:
        for name, number, least in (("--start", self.start, 0), ("--steps", self.steps, 1)):
            if number is not None and number < least:
                raise GatewrightError(name, f"a whole number of at least {least}", str(number))
        if self.fill not in (None, *FILLS[1:]):
            raise GatewrightError("--fill", "forward or mean", repr(self.fill))

    @property
    def max_steps(self) -> int:
        """Maximum number of steps."""
        return MAX_STEPS if self.steps is None else self.steps

    def rows_of(self, batch: InputBatch, say: Say) -> InputBatch:
        """Return the selected rows of a batch; report it if there are too many to show them all.

        Raises:
            GatewrightError: if there is no such row.
        """
        rows = len(batch.lengths)
        if self.row is not None:
            if not 0 <= self.row < rows:
                raise GatewrightError("--row", f"a series from 0 to {rows - 1}", str(self.row))
            return batch.rows([self.row])
        if rows > MAX_ROWS:
            say(f"the first {MAX_ROWS} of {rows} series; --row shows a single series")
            return batch.rows(range(MAX_ROWS))
        return batch

    def require_none(self, what: str, data: Path | None, train_plain: bool) -> None:
        """Raise if options select a part of what can only be shown as a whole.

        Args:
            what: what is shown, such as "a recording".
            data: the data argument.
            train_plain: whether a plain RNN is to be trained.

        Raises:
            GatewrightError: names the first such option.
        """
        options = {
            "DATA": data,
            "--row": self.row,
            "--start": self.start or None,
            "--steps": self.steps,
            "--fill": self.fill,
            "--plain-rnn": train_plain or None,
        }
        for name, value in options.items():
            if value is not None:
                raise GatewrightError(name, f"nothing with {what}, which is shown as a whole", str(value))


#: The selection without any option.
DEFAULT = Selection()
