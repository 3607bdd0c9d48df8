"""How many examples of a property are tried."""

from __future__ import annotations

import os

#: Whether fuzzing may run long.
LONG = bool(os.environ.get("GATEWRIGHT_LONG"))


def examples(count: int) -> int:
    """Return this number, or with GATEWRIGHT_LONG many more."""
    return 20 * count if LONG else count
