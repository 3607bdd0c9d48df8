"""The clients in docs/serve.md, run as they stand there against a server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import Model, Stream
from gatewright.spec import ModelSpec, QuantileHead, Scaler, SeriesEncoder, StackSpec
from tests.support.serving import Server

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"
#: What all of them read.
ROWS = [[21.4, 3.2], [22.0, 2.9], [np.nan, 3.0]]


def block(language: str) -> str:
    [found] = re.findall(rf"<!-- run -->\n```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    return str(found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("serve")
    encoder = SeriesEncoder(targets=("demand",), past=("wind",), context=8, reads="both")
    scaler = Scaler(encoder.columns, (20.0, 3.0), (5.0, 1.0), (2.0,))
    spec = ModelSpec(encoder, StackSpec(12), QuantileHead(horizon=2, quantiles=(0.1, 0.5, 0.9)))
    model = Model(spec, scaler=scaler)
    torch.nn.init.normal_(model.head.weight)
    model.save(folder / "model.safetensors")
    with Server(folder / "model.safetensors", folder) as started:
        yield started
        assert started.stop() == 0


@pytest.fixture(scope="module")
def expected(server: Server) -> Any:
    return Stream.load(server.log.parent / "model.safetensors").run(ROWS)


def ran(server: Server, *command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def here(server: Server, code: str) -> str:
    assert "127.0.0.1:8765" in code
    return code.replace("127.0.0.1:8765", f"127.0.0.1:{server.port}")


def test_curl(server: Server, expected: Any) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    out = ran(server, "bash", "-euc", here(server, block("sh")))
    first, second = (json.loads(part) for part in re.findall(r"\{.*?\}", out))
    assert np.array_equal(np.array(first.pop("y")), expected[:2])
    assert np.array_equal(np.array(second.pop("y")), expected[2:])
    assert (first, second) == (
        {"steps": 2, "state_steps": 2, "repeated": False},
        {"steps": 3, "state_steps": 3, "repeated": False},
    )


def test_python(server: Server, expected: Any) -> None:
    out = ran(server, sys.executable, "-W", "error", "-c", here(server, block("python")))
    assert out == f"3 {expected[2].tolist()}\n"


def test_javascript(server: Server, expected: Any, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node")
    script = tmp_path / "client.mjs"
    script.write_text(here(server, block("js")))
    major = int(ran(server, node, "--version")[1:].split(".")[0])
    flags = ["--experimental-websocket"] if major < 22 else []  # from 22 on it is there
    out = ran(server, node, *flags, str(script))
    steps, _, y = out.partition(" ")
    assert steps == "3"
    assert np.array_equal(np.array(json.loads(y)), expected[2])
