"""Tests of other packages are not imported where they are not asked for: the packages take seconds to import."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of this directory in a run without the tests marked ``interop``."""
    return True if "not interop" in config.option.markexpr else None
