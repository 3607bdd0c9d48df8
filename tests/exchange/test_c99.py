"""Models as C99 without a library, compiled and run under sanitizers: the numbers of Python's streams."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import GatewrightError, SpecError
from gatewright.exchange.c99.export import to_c99, to_c99_int8
from tests.support.c99_models import MODELS, difference, steps_of
from tests.support.c99_programs import WATCHED, compiled, largest_difference, run
from tests.support.class_models import class_model
from tests.support.stream_models import series_model, text_model

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


#: One of each kind, with features together; `make interop` has them all.
CHOSEN = (
    "text",
    "cell 0",
    "cell 3",
    "slstm",
    "residual",
    "forecaster",
    "seasons",
    "window",
    "attention",
    "tagger",
)


@pytest.mark.parametrize("name", CHOSEN)
def test_the_numbers_are_those_of_a_stream(name: str, tmp_path: Path) -> None:
    assert largest_difference(MODELS[name]().file(), tmp_path, *WATCHED) < 1e-5


def test_input_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    file = MODELS["forecaster"]().file()
    program, steps = compiled(file, tmp_path, *WATCHED), steps_of(file, "float")
    for column, value, status in (
        (0, np.inf, 1),
        (1, 1e30, 1),
        (2, 3, 2),
        (2, 0.5, 2),
        (2, np.nan, 2),
        (5, np.nan, 1),
    ):
        bad = steps.records[-1:].copy()
        bad[0, 0], bad[0, 1 + column] = steps.records[0, 0], value
        found = run(program, np.concatenate([steps.records[:1], bad, steps.records[1:]]))
        assert found[1, 0] == status
        assert found[1, 1:].tolist() == found[0, 1:].tolist()
        assert difference(np.delete(found, 1, axis=0)[:, 1:], steps.expected) < 1e-5


def test_models_that_need_the_library_are_refused(tmp_path: Path) -> None:
    for family in ("student-t", "negative-binomial", "zero-inflated-negative-binomial"):
        with pytest.raises(SpecError, match=rf"head\.distribution: .*--to c writes all .*got {family}"):
            to_c99(series_model(distribution=family).file(), tmp_path)
    with pytest.raises(SpecError, match=r"model: expected .* --directions forward, .*both directions"):
        to_c99(class_model(bidirectional=True).file(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_the_header_is_c_plus_plus(tmp_path: Path) -> None:
    to_c99(MODELS["window"]().file(), tmp_path)
    command = ["c++", "-std=c++20", "-x", "c++", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    source = '#include "model.h"\n#include "model.h"\nint main() { model_state s; model_reset(&s); }\n'
    done = subprocess.run(
        [*command, f"-I{tmp_path}", "-"], input=source, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_only_what_a_model_needs_is_written(tmp_path: Path) -> None:
    to_c99(text_model().file(), tmp_path)
    source = (tmp_path / "model.c").read_text()
    for name in ("#include <math.h>", "log_sigmoid", "hard_", "normalise", "isnan", "double", "malloc", "W_hr"):
        assert name not in source
    with pytest.raises(GatewrightError, match=r"--out: .* or --force"):
        to_c99(text_model().file(), tmp_path)


def test_weights_in_int8_are_those_of_a_stream(tmp_path: Path) -> None:
    file = text_model(num_layers=2, proj_size=7).file()
    assert largest_difference(file, tmp_path, *WATCHED, int8=True) < 1e-5
    exact = steps_of(file, "float").expected
    assert 1e-4 < difference(steps_of(file, "float", weights="int8-float32").expected, exact) < 0.1
    with pytest.raises(
        GatewrightError, match=r"cell: expected a plain LSTM cell for weights in int8; --to c99 .*got coupled"
    ):
        to_c99_int8(text_model(coupled=True).file(), tmp_path / "other")
