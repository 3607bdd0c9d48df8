"""Models as C99, compiled with the driver that advances two sessions of one, and run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.exchange.c99.export import to_c99, to_c99_int8
from gatewright.files.model_file import ModelFile
from tests.support.c99_models import difference, steps_of

STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wdouble-promotion", "-Wshadow"]
WATCHED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O0"]
DRIVER = Path(__file__).parents[1] / "exchange" / "c99_driver.c"


def compiled(file: ModelFile, folder: Path, *flags: str, compiler: str = "cc", int8: bool = False) -> Path:
    (to_c99_int8 if int8 else to_c99)(file, folder)
    program = folder / "program"
    command = [compiler, *STRICT, *flags, f"-I{folder}", DRIVER, folder / "model.c", "-lm", "-o", program]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return program


def run(program: Path, records: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    done = subprocess.run([program], input=records.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return np.frombuffer(done.stdout).reshape(len(records), -1)


def number_type(folder: Path) -> str:
    """Return the type of the numbers of a row of the model in a folder."""
    return "double" if "typedef double model_number;" in (folder / "model.h").read_text() else "float"


def largest_difference(
    file: ModelFile, folder: Path, *flags: str, compiler: str = "cc", int8: bool = False
) -> float:
    """Compile a model, run it and return how far it is from a stream."""
    program = compiled(file, folder, *flags, compiler=compiler, int8=int8)
    steps = steps_of(file, number_type(folder), weights="int8-float32" if int8 else "float32")
    found = run(program, steps.records)
    assert (found[:, 0] == 0).all()
    return difference(found[:, 1:], steps.expected)
