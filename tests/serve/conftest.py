"""Fixtures shared by the tests of the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewright.serve.sessions.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of a session file."""
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """An empty SQLite store at `path`."""
    with SqliteStore(path) as opened:
        yield opened
