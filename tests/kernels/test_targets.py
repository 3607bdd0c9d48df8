"""Which target and how many threads run, who chose them, and what `info` says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from gatewright import _kernels, kernels
from gatewright.errors import GatewrightError
from gatewright.nn import LSTM
from tests.support.kernel_cases import DTYPES, FORWARD, SUPPORTED, TARGETS, made


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_number_of_threads_is_that_of_torch() -> None:
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        assert kernels.threads() == kernels.info().threads == threads
        assert "torch.get_num_threads()" in kernels.info().threads_why
    seen, directly = [], []
    original, direct = kernels.forward, _kernels.tensor_forward
    layer = LSTM(3, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "forward", lambda *a, **k: seen.append(a[4].threads) or original(*a, **k))
        patch.setattr(_kernels, "tensor_forward", lambda *a: directly.append(a[-2]) or direct(*a))
        for threads in (1, 3):
            torch.set_num_threads(threads)
            layer(torch.ones(2, 1, 3))
            layer(torch.ones(2, 1, 3), record=True)
    assert directly in ([1, 3], [])
    assert seen == ([1, 3] if directly else [1, 1, 3, 3])


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("GATEWRIGHT_TARGET", "OMP_NUM_THREADS")
    }
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=False)


INFO = (
    "from gatewright import kernels; i = kernels.info(); print(i.target, i.threads, i.target_why, i.threads_why)"
)


@pytest.mark.parametrize("target", SUPPORTED)
def test_the_environment_forces_a_target(target: str) -> None:
    done = python(INFO, GATEWRIGHT_TARGET=target, OMP_NUM_THREADS="3,2")
    assert done.stdout == f"{target} 3 chosen by GATEWRIGHT_TARGET as OMP_NUM_THREADS says\n", done.stderr


def test_without_a_wish_the_best_target_runs_on_all_cores() -> None:
    done = python(INFO, GATEWRIGHT_TARGET="")
    says = (
        "one for each core that this process may use" if hasattr(os, "sched_getaffinity") else "one for each core"
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert done.stdout == f"{SUPPORTED[0]} {cores} the best that this machine runs {says}\n", done.stderr


@pytest.mark.parametrize("wish", ["sse9", "AVX2", "baselin"])
def test_a_target_that_is_not_there_is_one_clear_error(wish: str) -> None:
    done = python("import gatewright.kernels", GATEWRIGHT_TARGET=wish)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    expected = f"GATEWRIGHT_TARGET: expected one of {', '.join(SUPPORTED)}, got {wish!r}"
    assert last.startswith(f"gatewright.errors.GatewrightError: {expected}")
    assert done.stderr.count("Traceback") == 1
    with pytest.raises(GatewrightError, match=f"name: expected one of .* got {wish!r}"), kernels.use_target(wish):
        pass


def test_forced_targets_nest_and_end() -> None:
    best = kernels.info().target
    for outer in SUPPORTED:
        with kernels.use_target(outer):
            for inner in SUPPORTED:
                with kernels.use_target(inner):
                    assert kernels.info().target == inner
                    assert kernels.info().target_why == "chosen by use_target"
                assert kernels.info().target == outer
            with pytest.raises(GatewrightError), kernels.use_target("none"):
                pass
            with pytest.raises(ZeroDivisionError), kernels.use_target(SUPPORTED[0]):
                raise ZeroDivisionError
            assert kernels.info().target == outer
    assert kernels.info().target == best
    assert kernels.info().target_why != "chosen by use_target"


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
def test_packed_weights_stay_with_their_target(dtype: Any) -> None:
    problem = made(3, 2, 5, 33, dtype=dtype)
    for target in TARGETS:
        with kernels.use_target(target):
            packed = kernels.pack(problem.weights)
            expected = kernels.step(packed, problem.x[0], problem.h_0, problem.c_0)
        for other in TARGETS:
            with kernels.use_target(other):
                again = kernels.step(packed, problem.x[0], problem.h_0, problem.c_0)
            assert all(a.tobytes() == b.tobytes() for a, b in zip(again, expected, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
def test_targets_with_fused_multiply_adds_agree_on_the_forward_pass(dtype: Any) -> None:
    problem = made(6, 7, 5, 37, dtype=dtype)
    results = []
    for target in set(TARGETS) - {"baseline"}:
        with kernels.use_target(target):
            results.append(kernels.forward(*problem.inputs, problem.weights, keep=True))
    for other in results[1:]:
        for name in FORWARD:
            assert getattr(other, name).tobytes() == getattr(results[0], name).tobytes(), name


def test_info_says_all_of_it() -> None:
    torch.set_num_threads(2)
    info = kernels.info()
    assert info.targets == dict(_kernels.targets())
    assert info.targets[info.target]
    lines = str(info).splitlines()
    assert lines[0] == f"target    {info.target}: {info.target_why}"
    assert lines[1].startswith("built     ")
    assert all(name in lines[1] for name in info.targets)
    assert lines[2].startswith("threads   2: as torch.get_num_threads() says")
    assert "torch's own operator on other devices" in lines[4]
    assert "variants of the cell there by torch's operations" in lines[5]
