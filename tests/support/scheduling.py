"""Which of several processes runs which files of tests."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: What files have in common that takes a process seconds, and how the source of such a file is known.
SHARED = {
    "forks that train": re.compile(r"\bTRAINING\b|\b(train_in_process|command_in_process)\b"),
    "forks that serve": re.compile(r"\bSERVING\b|\bServer\((?!.*fresh=True)"),
    "compiled graphs": re.compile(r"\btorch\.compile\(|\bopcheck\("),
    "pages": re.compile(r"\bbrowser: Browser\b|\bpages: dict\b"),
}


@functools.cache
def group(file: str) -> str:
    """Return the name of what a file has in common with others; its own where that is nothing.

    >>> group("tests/train/test_resume.py") == group("tests/train/test_trainer.py") != group("README.md")
    True
    """
    if not Path(file).name.startswith("test_"):
        return file
    text = (ROOT / file).read_text("utf-8")
    return next((name for name, sign in SHARED.items() if sign.search(text)), file)


def place(file: str, long: bool) -> int:
    """Return when a file is handed out: first those of a group, then the other long ones, then the rest."""
    return 0 if group(file) != file else 1 if long else 2


def import_share(config: Any) -> None:
    """Import this process's share of the test files, where they have to be compiled; then it reads the others'.

    All processes collect all files in the same order. In a fresh clone each would compile every file, and rewrite
    its assertions, at the same time as the others.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    for file in files[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # the collection will show it
            importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


def scheduler(config: Any, log: Any) -> Any:
    """Give a file at a time to each process, and all files of a group to one process."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(super()._split_scope(nodeid))

    return Scheduling(config, log)
