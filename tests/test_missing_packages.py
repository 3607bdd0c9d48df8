"""Commands without the packages of their extra: the hint names the extra, before any work is done."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gatewright import cli
from gatewright.inspector import loader


@pytest.mark.parametrize("command", ["serve", "look"])
@pytest.mark.parametrize("missing", ["httptools", "starlette", "uvicorn"])
def test_the_hint_names_the_extra_of_the_command(
    command: str, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(*_: Any) -> None:
        raise AssertionError("the model is read")

    monkeypatch.setattr(loader, "open_path", read)
    for name in list(sys.modules):
        if name.split(".")[0] == missing:
            monkeypatch.setitem(sys.modules, name, None)
        ours = name.startswith(("gatewright.serve.", "gatewright.inspector.", "gatewright.web."))
        if ours and name != "gatewright.inspector.loader":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as exited:
        cli.main([command, "runs/a", "--port", "0"])
    assert exited.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: this command needs {missing}: pip install 'gatewright[{command}]'"
