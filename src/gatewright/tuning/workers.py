"""Several processes that work on one study."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from gatewright.errors import GatewrightError
from gatewright.tuning.search import Job, Limits, search
from gatewright.tuning.study import Study, quiet_optuna

#: A process starts anew: a fork of one that has loaded torch may hang.
PROCESSES: Any = multiprocessing.get_context("spawn")

#: Exit status of a worker that was asked to stop.
STOPPED = 130


def search_with(
    workers: int, study: Study, job: Job, limits: Limits, say: Callable[[str], None]
) -> tuple[bool, list[str]]:
    """Train the trials of a study, in this process or in several; see `search_together`."""
    if workers == 1:
        return search(study, job, limits, say), []
    return search_together(study.path, job, limits, workers)


def search_together(path: Path, job: Job, limits: Limits, workers: int) -> tuple[bool, list[str]]:
    """Train the trials of a study in several processes.

    Ctrl-C and SIGTERM end all of them after the step at hand.

    Args:
        path: directory of the study, which is there.
        job: what the trials learn.
        limits: when the search ends.
        workers: number of processes.

    Returns:
        Whether the search came to its end, and lines on processes that something else ended.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    processes = [
        PROCESSES.Process(target=_work, args=(path, job, limits, threads), daemon=True) for _ in range(workers)
    ]
    stopped: list[str] = []
    with _ended_together(processes, stopped):
        for process in processes:
            process.start()
        _wait_for(processes)
    codes = [process.exitcode or 0 for process in processes]
    notes = [
        f"worker {number} was ended by signal {-code}; its trial is tried again"
        for number, code in enumerate(codes)
        if code < 0 and not stopped
    ]
    return not stopped and STOPPED not in codes, notes


@contextmanager
def _ended_together(processes: list[Any], stopped: list[str]) -> Iterator[None]:
    """Pass SIGTERM on, and wait for the processes after Ctrl-C, which the terminal has sent to them too.

    Args:
        processes: all of them.
        stopped: gets an entry when either came.
    """

    def end(*_: object) -> None:
        stopped.append("asked to stop")
        for process in processes:
            if process.is_alive():
                process.terminate()  # after Ctrl-C it asks for the same

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        end()
        _wait_for(processes)
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_for(processes: list[BaseProcess]) -> None:
    for process in processes:
        if process.pid is not None:
            process.join()


def _work(path: Path, job: Job, limits: Limits, threads: int) -> None:
    """Work on a study; run in a process of its own."""
    torch.set_num_threads(threads)
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    try:
        with quiet_optuna():
            study = Study.open(path)
            try:
                if not search(study, job, limits, say):
                    raise SystemExit(STOPPED)
            finally:
                study.close()
    except GatewrightError as error:
        say(f"error: {error}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(STOPPED) from None
