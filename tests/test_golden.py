"""Results stay what they were, to the last bit: on one target, whatever machine has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from gatewright import kernels
from tests.support.golden import ENVIRONMENT, FILE

pytestmark = pytest.mark.slow

#: torch computes the loss and the optimizer's steps, in an order of operations that another release may change.
TORCH = "2.13"


@pytest.mark.skipif(not kernels.info().targets.get("avx2"), reason="needs AVX2")
def test_no_bit_of_any_result_changes():
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.golden"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found, expected = json.loads(done.stdout), json.loads(FILE.read_text("utf-8"))
    if not torch.__version__.startswith(f"{TORCH}."):
        expected = {
            name: value for name, value in expected.items() if name.startswith(("layer", "stream, layers"))
        }
        found = {name: value for name, value in found.items() if name in expected}
    assert found == expected
