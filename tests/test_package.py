"""What importing the package costs, and what it must not bring with it."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import gatewright


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_the_package_imports_no_torch():
    loaded = python("import sys, gatewright; print(*sys.modules)").split()
    assert "gatewright" in loaded
    assert not {"torch", "accelerate", "polars", "matplotlib"} & set(loaded)


def test_the_torch_free_parts_stay_so():
    parts = (
        "equations",
        "spec",
        "files.model_file",
        "runtime.stream",
        "runtime.sampling",
        "exchange.c",
        "cli",
        "runs.options",
    )
    code = "".join(f"import gatewright.{part}\n" for part in parts)
    assert "torch" not in python(f"{code}import sys; print(*sys.modules)").split()


def test_public_names_are_found_when_used():
    for name in gatewright.__all__:
        assert getattr(gatewright, name).__name__.rpartition(".")[2] == name
    assert set(gatewright.__all__) <= set(dir(gatewright))
    assert gatewright.__version__ == importlib.metadata.version("gatewright")
    with pytest.raises(AttributeError, match="no attribute 'GRU'"):
        gatewright.GRU  # noqa: B018


#: The order of the house (ARCHITECTURE.md): a room may import from those before it, and from itself.
ROOMS = [
    *(
        "errors",
        "progress",
        "spec",
        "equations",
        "_kernels",
        "kernels",
        "files",
        "web",
        "data",
        "runtime",
        "serve",
    ),
    *("nn", "exchange", "runs", "tasks", "evaluation", "insight", "train", "inspector", "cli", "__main__"),
]


def test_each_file_imports_only_what_stands_above_it():
    root = Path(gatewright.__file__).parent
    for path in root.rglob("*.py"):
        room = path.relative_to(root).with_suffix("").parts[0]
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gatewright"):
                for alias in node.names:
                    other = f"{node.module}.{alias.name}".split(".")[1]
                    assert ROOMS.index(other) <= ROOMS.index(room), f"{path} imports {other}"


def test_what_is_left_out_of_the_package_is_named_from_its_root():
    """A bare name is left out wherever it stands: `inspector` once took `src/gatewright/inspector` with it."""
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    [line] = [line for line in pyproject.read_text("utf-8").splitlines() if line.startswith("sdist.exclude")]
    assert all(part.startswith("/") for part in ast.literal_eval(line.partition("=")[2].strip()))


def test_torch_has_no_upper_bound_and_development_installs_a_pinned_one():
    root = Path(__file__).parent.parent
    assert '"torch>=2.9"' in (root / "pyproject.toml").read_text()
    assert "torch==2.13.*" in (root / "constraints.txt").read_text().splitlines()
    installs = [line for line in (root / "Makefile").read_text().splitlines() if "pip install" in line]
    assert all("-c constraints.txt" in line for line in installs if "--upgrade pip" not in line)
