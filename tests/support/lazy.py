"""Modules imported by the first test that uses them: each process collects all tests, and runs a part of them."""

from __future__ import annotations

import importlib
from typing import Any


class LazyModule:
    """A module by its name.

    >>> LazyModule("math").sqrt(4)
    2.0
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_", "pytest")):  # pytest looks at what a file of tests has
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)
