"""What `make` would do in a fresh clone, and what it does when all is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
TESTS = ".venv/bin/pytest -n 4 --dist loadfile --no-loadscope-reorder"


@pytest.fixture
def clone(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "CMakeLists.txt"):
        shutil.copy(HOME / name, tmp_path)
    return tmp_path


def planned(folder, target, *variables):
    """The commands that `make` would run, also where the suite itself was started by `make`."""
    inherited = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEFILES", "PYTHON", "WORKERS", "WHEEL")
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    command = ["make", "-n", "--no-print-directory", target, *variables]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not there")
def test_a_run_does_not_wait_for_the_tests_tools(clone):
    run, test = planned(clone, "run"), planned(clone, "test")
    assert run[0].startswith("echo")  # it says what it does before it does it
    assert run[-1] == ".venv/bin/python examples/seattle_weather.py"
    assert not any("dev" in command for command in run)
    [needed] = [command for command in run if "[examples]" in command]
    places = [test.index(needed), *(number for number, command in enumerate(test) if "[dev]" in command)]
    assert len(places) == 2
    assert places == sorted(places)
    assert test[-1] == TESTS


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not there")
def test_nothing_is_installed_twice(clone):
    (clone / ".venv").mkdir()
    later = max(path.stat().st_mtime for path in clone.iterdir())
    for number, name in enumerate(("run-ready", "ready"), start=1):
        (clone / ".venv" / name).touch()
        os.utime(clone / ".venv" / name, (later + number, later + number))
    assert planned(clone, "run") == [".venv/bin/python examples/seattle_weather.py"]
    assert planned(clone, "test") == [TESTS]
    os.utime(clone / "pyproject.toml", (later + 9, later + 9))
    assert any("[examples]" in command for command in planned(clone, "run"))


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not there")
def test_the_site_installs_only_its_own_tools_on_top_of_a_run(clone):
    docs = planned(clone, "docs")
    assert docs[-1].endswith(".venv/bin/mkdocs build --quiet --strict")
    extras = [extra for command in docs for extra in ("[examples]", "[docs]", "[dev]") if extra in command]
    assert extras == ["[examples]", "[docs]"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not there")
def test_a_benchmark_installs_the_engines_that_it_measures(clone):
    bench = planned(clone, "bench")
    assert bench[-1] == ".venv/bin/python -m benchmarks"
    extras = [extra for command in bench for extra in ("[examples]", "[dev]", "[bench]") if extra in command]
    assert extras == ["[examples]", "[dev]", "[bench]"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not there")
def test_a_run_by_a_wheel_compiles_nothing_and_checks_the_wheel_each_time(clone):
    wheel = "dist/gatewright-0.1.0-cp312-abi3-any.whl"
    (clone / "dist").mkdir()
    (clone / wheel).touch()
    first = planned(clone, "run", f"WHEEL={wheel}")
    assert not any("--editable" in command for command in first)
    assert [command for command in first if "[examples]" in command] == [
        f".venv/bin/pip install -c constraints.txt '{wheel}[examples]'"
    ]
    assert "rm -f .venv/*ready" in first  # an editable installation is none any more
    (clone / ".venv").mkdir()
    (clone / ".venv" / "wheel-ready").touch()
    later = max(path.stat().st_mtime for path in clone.iterdir()) + 1
    os.utime(clone / ".venv" / "wheel-ready", (later, later))
    fits, run = planned(clone, "run", f"WHEEL={wheel}")
    assert fits == f"python3 -m wheels.fits {wheel}"
    assert run == ".venv/bin/python examples/seattle_weather.py"
    assert any("--editable" in command for command in planned(clone, "run"))
    assert "rm -f .venv/wheel-ready" in planned(clone, "run")
