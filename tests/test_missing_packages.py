"""Commands without the packages of their extra: the hint names the extra, before any work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forks import TRAINING, fork_server


@pytest.mark.slow
def test_the_hint_of_a_search_names_its_extra(tmp_path: Path) -> None:
    # Its header is a table's, which is checked first; reading its rows would be another error.
    (tmp_path / "no.csv").write_text("load\nnothing\n")
    program = (
        "import sys; sys.modules['optuna'] = None; from gatewright import cli; "
        "cli.main(['tune', 'no.csv', '--target', 'load'])"
    )
    done = fork_server(*TRAINING).run(["-c", program], cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: this command needs optuna: pip install 'gatewright[tune]'"


@pytest.mark.parametrize("command", ["serve", "look"])
@pytest.mark.slow
def test_the_hint_names_the_extra_of_the_command(command: str, tmp_path: Path) -> None:
    # The file is there, and no model: reading it first would be another error.
    (tmp_path / "model").write_text("none")
    program = (
        f"import sys; sys.modules['uvicorn'] = None; from gatewright import cli; cli.main(['{command}', 'model'])"
    )
    done = fork_server(*TRAINING).run(["-c", program], cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == f"error: this command needs uvicorn: pip install 'gatewright[{command}]'"
