"""Models as C99 on a Cortex-M4, cross-compiled and run in QEMU: the numbers of streams, size and speed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from gatewright import Model
from gatewright.exchange.c99.export import to_c99, to_c99_int8
from gatewright.files.model_file import ModelFile
from gatewright.runtime.packed_model import WeightFormat
from gatewright.spec import ModelSpec, StackSpec
from tests.support.c99_models import MODELS, difference, steps_of
from tests.support.c99_programs import DRIVER, number_type
from tests.support.stream_models import series_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "microcontroller"
TOOLS = ("make", "arm-none-eabi-gcc", "qemu-system-arm")
#: Instructions in a tick of the clock of QEMU's board, 25 MHz, with -icount shift=0.
IN_A_TICK = 40

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"),
]


class Measured(NamedTuple):
    """A model on the board.

    Attributes:
        difference: the largest, relative to how far the numbers are from their mean.
        flash: bytes of code and constants.
        ram: bytes of a session.
        stack: bytes, at most.
        instructions: of a step.
    """

    difference: float
    flash: int
    ram: int
    stack: int
    instructions: int


def make(folder: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    variables = [f"MODEL={folder / 'model'}", f"BUILD={folder / 'build'}"]
    command = ["make", "--silent", "-C", str(EXAMPLE), *variables, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return done


def measured(file: ModelFile, folder: Path, steps: int = 60, *, int8: bool = False) -> Measured:
    """Run a model on the board."""
    (to_c99_int8 if int8 else to_c99)(file, folder / "model")
    weights: WeightFormat = "int8-float32" if int8 else "float32"
    walk = steps_of(file, number_type(folder / "model"), steps, weights=weights)
    driver = [f"MAIN={DRIVER}", "CFLAGS=-include startup.h"]
    done = make(folder, *driver, "run", given=walk.records.tobytes())
    found = np.frombuffer(done.stdout).reshape(steps, -1)
    assert (found[:, 0] == 0).all()
    flash, data, bss = map(int, make(folder, "size").stdout.split()[6:9])
    assert data == bss == 0, "a model has no memory of its own"
    symbols = subprocess.run(
        ["arm-none-eabi-nm", "-S", folder / "build" / "program.elf"], capture_output=True, text=True, check=True
    )
    [states] = re.findall(r"^\w+ (\w+) b states\.?\w*$", symbols.stdout, re.MULTILINE)
    stack = sum(int(line.split("\t")[1]) for line in (folder / "build" / "model.su").read_text().splitlines())
    return Measured(
        difference(found[:, 1:], walk.expected), flash, int(states, 16) // 2, stack, IN_A_TICK * int(done.stderr)
    )


@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_are_those_of_a_stream(name: str, tmp_path: Path) -> None:
    found = measured(MODELS[name]().file(), tmp_path)
    print(f"\n{name:18} {found}")
    assert found.difference < 1e-5


def forecaster(units: int) -> Model:
    """A forecaster of one target, three steps ahead, from two further columns."""
    small: dict[str, Any] = {
        "targets": ("flow",),
        "past": ("rain", "wind"),
        "known": (),
        "static": (),
        "calendar": (),
    }
    model = series_model(**small)
    assert isinstance(model.spec, ModelSpec)
    spec = ModelSpec(model.spec.encoder, StackSpec(units), model.spec.head)
    model = Model(spec, scaler=model.scaler).eval()
    torch.nn.init.normal_(model.head.weight, std=0.3)
    return model


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("units", [8, 16, 32, 64])
def test_sizes(units: int, int8: bool, tmp_path: Path) -> None:
    found = measured(forecaster(units).file(), tmp_path, int8=int8)
    print(f"\nH = {units}, {'int8' if int8 else 'float'}: {found}")
    assert found.difference < 1e-5
    gates, others = 4 * units * (5 + units), 4 * units * (3 if int8 else 1) + 9 * (units + 1)
    size = gates * (1 if int8 else 4) + 4 * others
    assert size < found.flash < size + 3000
    assert found.ram == 4 * (2 * units + 1)
    assert found.stack < 4 * units + 500


def test_the_example_prints_forecasts(tmp_path: Path) -> None:
    file = MODELS["forecaster"]().file()
    to_c99(file, tmp_path / "model")
    walk = steps_of(file, "float", steps=20)
    rows = walk.records[np.flatnonzero(walk.records[:, 0] == walk.records[0, 0])]
    first = walk.expected[np.flatnonzero(walk.records[:, 0] == walk.records[0, 0])]
    text = "\n".join(" ".join(map(repr, row[1:].tolist())) for row in rows)
    done = make(tmp_path, "run", given=text.encode())
    found = np.array([line.split() for line in done.stdout.decode().splitlines()], float)
    np.testing.assert_allclose(found[0], first[0], rtol=1e-5)
    assert re.fullmatch(rf"{len(rows)} rows, \d+ ticks a step\n", done.stderr.decode())
