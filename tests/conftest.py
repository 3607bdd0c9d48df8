"""One thread a process: the tests are many and small, and other threads would only wait for each other."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.support import scheduling

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.browser import Shown

os.environ["OMP_NUM_THREADS"] = "1"

# Until all is imported and collected, there is nothing to collect.
gc.disable()

# CI tries the same examples each time, so that a change is never judged by luck; everywhere else, new ones.
# No example has a deadline: how long one takes depends on what else the machine does.
settings.register_profile("anywhere", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")


#: Packages of tests whose files start servers.
_SERVERS = ("serve", "inspector")
#: Marks of tests that take seconds.
_LONG = ("slow", "browser", "server")
#: Files with tests that drive Chromium.
_OF_BROWSER = pytest.StashKey[set[Path]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Divide what has to be compiled among the processes."""
    scheduling.import_share(session.config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by what they use (`slow` stands in the files themselves), and put long files first.

    Files are handed out to processes in this order, so that the last ones to run are short, and no process is left
    with a long one.  A page of the documentation is one test, and takes seconds.
    """
    for item in items:
        if {"browser", "pages"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.browser)
        if item.path.parent.name in _SERVERS:
            item.add_marker(pytest.mark.server)
    config.stash[_OF_BROWSER] = {item.path for item in items if item.get_closest_marker("browser")}
    file = {item: item.nodeid.partition("::")[0] for item in items}
    long = {file[item] for item in items if any(map(item.get_closest_marker, _LONG)) or item.path.suffix == ".md"}
    items.sort(key=lambda item: scheduling.place(file[item], file[item] in long))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand files out as `tests/support/scheduling.py` says."""
    return scheduling.scheduler(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """Leave the imported modules and the collected tests out of each later garbage collection: they stay.

    Collections are rarer, too: what later imports bring is looked through by each of them.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def no_waits() -> Iterator[None]:
    """Nothing waits for a disk, and nothing says that it takes long: that depends on how busy the machine is."""
    from gatewright import progress

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "PATIENCE", 1e6)
        patch.setattr(progress, "PLAIN_SECONDS", 1e6)
        # A training of a few steps syncs twenty files and folders; only a power cut would show the difference.
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a few steps: `series` of a forecaster, `text` of a language model."""
    from tests.support import training_runs as small

    folder = tmp_path_factory.mktemp("runs")
    for name, source, options in (
        ("series", small.write_table(folder / "load.csv"), small.FORECAST),
        ("text", small.write_text(folder / "plays.txt"), small.LANGUAGE),
    ):
        small.train(source, options, run=folder / name, console=small.quiet())
    return folder


#: Chromium, from the first test of a page to the first test of a file without any.
_chromium: list[tuple[ExitStack, Browser]] = []


@pytest.fixture(scope="module")
def browser() -> Browser:
    """The one Chromium of files that follow one another; tests are left out where there is none."""
    from tests.support.browser import chromium

    if not _chromium:
        stack = ExitStack()
        _chromium.append((stack, stack.enter_context(chromium())))
    return _chromium[0][1]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close Chromium when its files are over: Playwright keeps a loop of asyncio running in this thread."""
    if _chromium and item.path not in item.config.stash[_OF_BROWSER]:
        _chromium.pop()[0].close()


def pytest_sessionfinish() -> None:
    if _chromium:
        _chromium.pop()[0].close()


@pytest.fixture(scope="module")
def pages(browser: Browser, runs: Path) -> Iterator[dict[str, Shown]]:
    """One page of each kind of model."""
    from tests.support.browser import pages as served

    with served(runs) as found:
        yield found
