"""Models as WebAssembly, run in Node through their interface in JavaScript."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.exchange.wasm.export import to_wasm
from gatewright.files.model_file import ModelFile
from tests.support.c99_models import difference, steps_of

DRIVER = Path(__file__).parents[1] / "exchange" / "wasm_driver.mjs"
#: What it needs.
TOOLS = ("clang", "wasm-ld", "node")


def run(folder: Path, records: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    done = subprocess.run(["node", DRIVER, folder], input=records.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return np.frombuffer(done.stdout).reshape(len(records), -1)


def largest_difference(file: ModelFile, folder: Path) -> float:
    """Export a model, run it and return how far it is from a stream."""
    to_wasm(file, folder)
    double = '"number":"float64"' in (folder / "model.js").read_text("utf-8")
    steps = steps_of(file, "double" if double else "float")
    found = run(folder, steps.records)
    assert (found[:, 0] == 0).all()
    return difference(found[:, 1:], steps.expected)
