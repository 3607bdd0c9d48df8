"""Without torch's private names the layers do the same, more slowly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gatewright
from tests.support.forks import ROOT, TRAINING, fork_server

#: What listens to torch, transforms, forward mode, batches of gradients, operators; and what they compute.
SLOW = "not penalty and not keeps_what_torch_asks and not shapes and not chunks"
TESTS = [
    "tests/nn/test_operators.py",
    "tests/nn/test_drop_in.py::test_a_batch_of_gradients_is_that_of_torch",
    "tests/nn/test_drop_in.py::test_a_vectorized_jacobian_is_that_of_torch",
    "tests/nn/test_drop_in.py::test_tangents_are_those_of_a_difference",
]


@pytest.mark.slow
def test_without_the_private_names_everything_works() -> None:
    command = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--assert=plain"]
    command += ["-p", "tests.support.public_torch", "-k", SLOW, *TESTS]
    done = fork_server(*TRAINING).run(command, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]


def test_private_names_of_torch_stand_in_one_file() -> None:
    """Attributes of `torch.nn.RNNBase` aside, which a class below it shares."""
    root = Path(gatewright.__file__).parent
    private = re.compile(r"\btorch(\.\w+)*\._[a-zA-Z]|\b_C\.|forward_ad\._|profiler\._")
    for path in root.rglob("*.py"):
        if path.name != "_torch_private.py":
            assert not private.search(path.read_text("utf-8")), path
