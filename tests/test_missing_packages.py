"""Commands without the packages of their extra: the hint names the extra, before any work is done."""

from __future__ import annotations

import pytest

from tests.support.forks import TRAINING, fork_server


@pytest.mark.slow
def test_the_hint_of_a_search_names_its_extra() -> None:
    program = "import sys; sys.modules['optuna'] = None; from gatewright import cli; cli.main(['tune', 'no.csv'])"
    done = fork_server(*TRAINING).run(["-c", program])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: this command needs optuna: pip install 'gatewright[tune]'"


@pytest.mark.parametrize("command", ["serve", "look"])
@pytest.mark.slow
def test_the_hint_names_the_extra_of_the_command(command: str) -> None:
    # The run does not exist: reading it first would be another error.
    program = (
        f"import sys; sys.modules['uvicorn'] = None; from gatewright import cli; cli.main(['{command}', 'no/run'])"
    )
    done = fork_server(*TRAINING).run(["-c", program])
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == f"error: this command needs uvicorn: pip install 'gatewright[{command}]'"
