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
        "exchange.c99.export",
        "cli",
        "tasks.options",
        "tasks.registry",
        "runs.run",
    )
    code = "".join(f"import gatewright.{part}\n" for part in parts)
    loaded = python(f"{code}import sys; print(*sys.modules)").split()
    assert not {"torch", "optuna", "sqlalchemy"} & set(loaded)


def test_the_kinds_of_model_are_known_without_torch_and_polars():
    code = "from gatewright.tasks import options, registry\n"
    code += "for kind in registry.KINDS.values(): kind.resolve(options.ALL_DEFAULTS)"
    loaded = python(f"{code}\nimport sys; print(*sys.modules)").split()
    assert not {"torch", "polars", "matplotlib", "accelerate"} & set(loaded)


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
        "bfloat16",
        "counter_random",
        "equations",
        "_kernels",
        "native_module",
        "kernels",
        "files",
        "web",
        "data",
        "runtime",
        "serve",
    ),
    *(
        "nn",
        "exchange",
        "tasks",
        "runs",
        "evaluation",
        "insight",
        "train",
        "tuning",
        "inspector",
        "estimators",
        "scoring",
        "reproduce",
        "cli",
        "__main__",
    ),
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


def imports_between_modules() -> dict[str, set[str]]:
    """The modules that each module imports, for type checking and inside functions too."""
    root = Path(gatewright.__file__).parent.parent
    paths = {
        ".".join(path.relative_to(root).with_suffix("").parts): path for path in root.glob("gatewright/**/*.py")
    }
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        imported: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} has a relative import, which this test does not follow"
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                imported |= {each if each in paths else str(node.module) for each in names}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        graph[name] = (imported & paths.keys()) - {name}
    graph["gatewright"] = set()  # imports a public name when it is first used
    return graph


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The largest sets of nodes that all reach each other."""
    reached = {}
    for start in graph:
        reached[start], waiting = set[str](), [start]
        while waiting:
            for node in graph[waiting.pop()] - reached[start]:
                reached[start].add(node)
                waiting.append(node)
    return {
        frozenset(other for other in reached[node] if node in reached[other])
        for node in graph
        if node in reached[node]
    }


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"g"}, "g": {"f", "e"}}
    assert circles(graph) == {frozenset("abc"), frozenset("fg")}
    assert circles({"a": {"b"}, "b": set()}) == set()


def test_no_modules_import_each_other_in_a_circle():
    graph = imports_between_modules()
    assert "gatewright.data.columns" in graph["gatewright.data.table"]
    assert "gatewright.data.window_checks" in graph["gatewright.cli.training"]  # inside a function
    assert circles(graph) == set()


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
