"""RTNeural itself on our JSON; set ``RTNEURAL`` to a checkout of github.com/jatinchowdhury18/RTNeural."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM
from gatewright.exchange.rtneural import layers_json, to_rtneural
from gatewright.runtime.stream import Stream
from tests.exchange.test_rtneural import forecaster, tagger

SOURCES = Path(os.environ.get("RTNEURAL", "none"))
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not (SOURCES / "RTNeural").is_dir(), reason="RTNEURAL names no checkout of RTNeural"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++"),
]

T = 500


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("rtneural") / "run"
    flags = ["-O1", "-std=c++17", "-DRTNEURAL_USE_STL=1", "-DRTNEURAL_DEFAULT_ALIGNMENT=16", f"-I{SOURCES}"]
    files = [Path(__file__).with_name("rtneural.cpp"), SOURCES / "RTNeural" / "RTNeural.cpp"]
    subprocess.run(["g++", *flags, *map(str, files), "-o", str(program)], check=True)
    return program


def outputs(program: Path, content: dict[str, Any], x: Any) -> Any:
    model, rows = program.with_name("model.json"), program.with_name("rows.txt")
    model.write_text(json.dumps(content))
    np.savetxt(rows, x, header=f"{len(x)} {x.shape[1]}", comments="")
    printed = subprocess.run([program, model, rows], check=True, capture_output=True, text=True).stdout
    return np.array([line.split() for line in printed.splitlines()], np.float64)


def test_layers(program: Path) -> None:
    torch.manual_seed(0)
    lstm, head, x = LSTM(3, [16, 8]), torch.nn.Linear(8, 2), torch.randn(T, 1, 3)
    expected = head(lstm(x)[0])[:, 0].detach().numpy()
    got = outputs(program, layers_json(lstm, head), x[:, 0].numpy())
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [tagger, forecaster])
def test_whole_models(program: Path, make: Any, tmp_path: Path) -> None:
    file = make()
    [path] = to_rtneural(file, tmp_path)
    stream = Stream.of(file)
    rows = np.random.default_rng(1).normal(size=(T, len(stream.columns))) * 3 + 2
    expected = stream.run(rows).reshape(T, -1)
    got = outputs(program, json.loads(path.read_text()), rows if file.spec.tagger else rows[:, 1:])
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
