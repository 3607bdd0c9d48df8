"""A few seconds of what `make chaos` and `make soak` do for minutes."""

from __future__ import annotations

from pathlib import Path

from tests.serve.chaos import chaos
from tests.serve.soak import soak


def test_a_server_that_is_killed_loses_no_step_and_takes_none_twice(tmp_path: Path) -> None:
    assert chaos(tmp_path, kills=4, clients=40, hidden=32).startswith("4 kills under 40 clients")


def test_memory_stays_where_it_is(tmp_path: Path) -> None:
    told, growth = soak(tmp_path, seconds=2.0, clients=40, settle=0.6, hidden=32, steps=6000, load=1)
    assert growth < 0.05, told
