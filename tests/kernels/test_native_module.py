"""A native module that was built from other sources is refused, with the remedy."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from gatewright.errors import GatewrightError
from gatewright.native_module import INTERFACE, require_interface
from tests.support.forks import ROOT, fork_server

#: What a fork has in place of the native module.
STALE = """
import sys
from types import ModuleType
stale = ModuleType("gatewright._kernels")
stale.__file__ = "_kernels.so"
import gatewright
gatewright._kernels = sys.modules["gatewright._kernels"] = stale
"""


def test_the_number_is_that_of_the_bindings() -> None:
    bindings = (ROOT / "native/python/bindings.cpp").read_text("utf-8")
    assert re.findall(r"kInterface = (\d+);", bindings) == [str(INTERFACE)]


@pytest.mark.parametrize(
    ("built", "got"),
    [(None, "one without a number"), (0, "interface 0"), (INTERFACE + 1, f"interface {INTERFACE + 1}")],
)
def test_another_interface_is_refused_with_the_remedy(built: int | None, got: str) -> None:
    module = ModuleType("_kernels")
    module.__file__ = "/somewhere/_kernels.so"
    if built is not None:
        module.interface = built  # type: ignore[attr-defined]
    message = (
        f"native module /somewhere/_kernels.so: expected interface {INTERFACE}, got {got}; build it again: pip"
    )
    with pytest.raises(GatewrightError, match=re.escape(message)):
        require_interface(module)


@pytest.mark.parametrize(
    "use", ["import gatewright.kernels", "gatewright.Stream", "from gatewright.runtime import packed_model"]
)
def test_nothing_runs_on_a_stale_module(use: str) -> None:
    done = fork_server("numpy").run(["-c", f"{STALE}\n{use}"])
    assert done.returncode == 1
    assert "GatewrightError: native module _kernels.so: expected interface" in done.stderr


def test_a_command_says_it_in_one_line() -> None:
    done = fork_server("numpy").run(
        ["-c", f"{STALE}\nfrom gatewright.cli import main\nsys.argv = ['gatewright', 'info']\nmain()"]
    )
    assert done.returncode != 0
    assert done.stderr.startswith("error: native module _kernels.so: expected interface")
    assert done.stderr.count("\n") == 1
