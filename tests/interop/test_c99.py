"""All models as C99 without a library, by two compilers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.c99_models import MODELS
from tests.support.c99_programs import WATCHED, largest_difference

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_are_those_of_a_stream(name: str, compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    flags = WATCHED if compiler == "gcc" else ["-O3", "-ffp-contract=fast"]
    found = largest_difference(MODELS[name]().file(), tmp_path, *flags, compiler=compiler)
    print(f"{name}: {found:.1e}")
    assert found < 1e-5
