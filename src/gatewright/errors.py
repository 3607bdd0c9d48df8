"""What went wrong, in three parts: the argument, what was expected, what came."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GatewrightError(ValueError):
    """An input that Gatewright cannot use.

    Attributes:
        argument: the name of the argument, option, column or file at fault.
        expected: what it has to be.
        got: what came instead.

    >>> print(GatewrightError("horizon", "a whole number of at least 1", "0"))
    horizon: expected a whole number of at least 1, got 0
    """

    def __init__(self, argument: str, expected: str, got: str) -> None:
        super().__init__(argument, expected, got)
        self.argument = argument
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        return f"{self.argument}: expected {self.expected}, got {self.got}"


class SpecError(GatewrightError):
    """A model specification that contradicts itself or cannot be read."""


class ModelFileError(GatewrightError):
    """A model file that is damaged, foreign or too new."""


class DataError(GatewrightError):
    """A table or a text that cannot be used as it is."""


class RunError(GatewrightError):
    """A run directory that cannot be used for what was asked."""


class StateError(GatewrightError):
    """A state of a stream that is damaged, or of another model."""


class StoreError(GatewrightError):
    """Sessions that cannot be read or written."""


class SessionError(GatewrightError):
    """A session that is not there."""


class StepError(SessionError):
    """A request that is neither a session's next one nor its last one again."""


class LimitError(GatewrightError):
    """More than somebody may have."""


class BusyError(GatewrightError):
    """A request that has to come again later.

    Attributes:
        retry_after: seconds until then.
    """

    def __init__(self, argument: str, expected: str, got: str, *, retry_after: float) -> None:
        super().__init__(argument, expected, got)
        self.retry_after = retry_after


class NonFiniteError(GatewrightError):
    """A NaN or an infinity that appeared while training."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a suggestion for a misspelt name, or an empty string.

    >>> nearest("Temp", ["temperature", "wind", "temp"])
    "; did you mean 'temp'?"
    """
    names = list(names)
    lowered = {candidate.lower(): candidate for candidate in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""
