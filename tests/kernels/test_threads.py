"""Threads and processes around the kernels: the GIL, many callers at once, and forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gatewright import _kernels, kernels
from gatewright.nn import LSTM
from tests.support.kernel_cases import Problem, assert_same_bits, backward, both, forward, made

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def large(seed: int = 0) -> Problem:
    """A problem of which the work is enough for several threads."""
    return made(10, 12, 20, 70, seed=seed, dtype=np.float32)


def ran_while(call: Callable[[], Any]) -> bool:
    """Whether another Python thread runs before the call is over."""
    started, done, ran = threading.Event(), threading.Event(), threading.Event()

    def watch() -> None:
        started.wait()
        if not done.is_set():
            ran.set()

    other = threading.Thread(target=watch)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # so long that the GIL changes hands only where a thread lets go of it
    try:
        other.start()
        started.set()
        call()
        done.set()
    finally:
        sys.setswitchinterval(interval)
        other.join()
    return ran.is_set()


def test_without_releasing_the_gil_no_other_thread_runs() -> None:
    values = list(range(2_000_000))
    assert not ran_while(lambda: sum(values))


@pytest.mark.parametrize("threads", [1, 2])
def test_other_python_threads_run_during_a_call(threads: int) -> None:
    problem = made(200, 20, 20, 70, dtype=np.float32)
    kept = forward(problem)
    packed = kernels.pack(problem.weights)
    many = np.zeros((200_000, 20), np.float32), *(np.zeros((200_000, 70), np.float32) for _ in range(2))
    calls: list[Callable[[], Any]] = [
        lambda: forward(problem, threads=threads),
        lambda: backward(problem, kept, threads=threads),
        lambda: kernels.step(packed, *many),
    ]
    for call in calls:
        assert any(ran_while(call) for _ in range(5))  # the machine may be busy


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_python_threads_get_the_same_bits(threads: int) -> None:
    problems = [large(seed) for seed in range(4)]
    expected = [both(problem, threads=1) for problem in problems]
    barrier = threading.Barrier(8)

    def work(n: int) -> None:
        barrier.wait()
        for k in range(6):
            split = ("", "rows", "units")[(n + k) % 3]
            which = (n + k) % 4
            assert_same_bits(both(problems[which], threads=threads, split=split), expected[which])

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(work, n) for n in range(8)]:
            each.result(60)
    assert _kernels.pool_size() <= 7 * 2 + 8


def test_many_python_threads_may_share_packed_weights() -> None:
    problem = large()
    packed = kernels.pack(problem.weights)
    whole = forward(problem)

    def work(_: int) -> None:
        h, c = problem.h_0, problem.c_0
        for t, x in enumerate(problem.x):
            h, c = kernels.step(packed, x, h, c)
            assert h.tobytes() == whole.y[t].tobytes()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16), timeout=60))


def test_threads_that_end_leave_the_pool_as_it_was() -> None:
    problem = large()
    expected = both(problem, threads=3)
    size = _kernels.pool_size()
    for _ in range(20):
        other = threading.Thread(target=lambda: both(problem, threads=3))
        other.start()
        other.join()
    assert _kernels.pool_size() == size
    assert_same_bits(both(problem, threads=3), expected)


def in_child(job: Callable[[], bool]) -> int:
    """Run a job in a fork of this process; it is killed after a minute."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            status = 0 if job() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
quiet = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")


@forks
@quiet
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_fork_computes_with_threads_of_its_own(threads: int) -> None:
    problem = large()
    packed = kernels.pack(problem.weights)
    expected = both(problem, threads=3)

    def job() -> bool:
        if _kernels.pool_size() != 0:
            return False
        for split in ("rows", "units"):
            assert_same_bits(both(problem, threads=threads, split=split), expected)
        h, _ = kernels.step(packed, problem.x[0], problem.h_0, problem.c_0)
        return h.tobytes() == expected["y"][0].tobytes() and in_child(lambda: bool(both(problem, threads=2))) == 0

    for _ in range(3):
        assert in_child(job) == 0
        assert_same_bits(both(problem, threads=3), expected)


@forks
@quiet
def test_a_fork_in_the_midst_of_calls_is_safe() -> None:
    problem = large()
    expected = both(problem, threads=1)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            both(problem, threads=3)

    others = [threading.Thread(target=work) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(10):
            assert in_child(lambda: assert_same_bits(both(problem, threads=2), expected) is None) == 0
    finally:
        done.set()
        for other in others:
            other.join()


class _Windows(Dataset[Tensor]):
    def __init__(self, layer: LSTM) -> None:
        self.layer = layer

    def __len__(self) -> int:
        return 6

    def __getitem__(self, n: int) -> Tensor:
        torch.set_num_threads(2)
        x = torch.full((20, 4, 9), float(n))
        y = self.layer(x)[0]
        y.sum().backward()
        return y.detach()


@forks
@quiet
def test_workers_of_a_data_loader_run_the_layer() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    windows = _Windows(LSTM(9, 70))
    expected = [windows[n] for n in range(len(windows))]
    loader = DataLoader(windows, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    for a, b in zip(loader, expected, strict=True):
        assert torch.equal(a, b)


@forks
@quiet
def test_a_pool_of_processes_runs_the_kernels() -> None:
    problem = large()
    expected = both(problem, threads=2)["y"]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for y in pool.map(_outputs, [problem] * 4):
            assert y.tobytes() == expected.tobytes()


def _outputs(problem: Problem) -> np.ndarray:
    return both(problem, threads=2)["y"]


def test_with_torch_in_the_process_its_threads_do_the_work() -> None:
    code = """
import numpy as np
from gatewright import _kernels, kernels
x, W_ih, W_hh = np.ones((64, 32, 16), np.float32), np.ones((256, 16), np.float32), np.ones((256, 64), np.float32)
weights = kernels.LayerWeights(W_ih / 16, W_hh / 64)
alone = kernels.forward(x, None, None, weights, kernels.SequenceArgs(threads=2))
assert _kernels.pool_size() == 1 and not kernels.share_threads()
import torch, gatewright.nn
shared = kernels.forward(x, None, None, weights, kernels.SequenceArgs(threads=2))
assert np.array_equal(alone.y, shared.y) and _kernels.pool_size() == 1
torch.set_num_threads(2)
assert not kernels.share_threads() or "torch's own" in str(kernels.info())
print(kernels.share_threads())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if sys.platform == "linux":
        assert done.stdout == "True\n"
