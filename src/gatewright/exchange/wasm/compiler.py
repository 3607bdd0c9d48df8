"""A model's C99 source as WebAssembly, by clang."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from gatewright.errors import GatewrightError
from gatewright.exchange.c99.export import texts
from gatewright.files.model_file import ModelFile
from gatewright.spec.cell import CellSpec

_EXPORTS = ("model_reset", "model_step", "state_size", "free_memory")

_FLAGS = (
    "--target=wasm32", "-std=c99", "-O3", "-ffreestanding", "-fvisibility=hidden", "-mbulk-memory", "-nostdlib",
    "-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--allow-undefined", "-Wl,--stack-first",
    *(f"-Wl,--export={name}" for name in _EXPORTS),
)  # fmt: skip

#: Bytes of the stack next to the vectors of a step.
_STACK = 65_536


def require_compiler() -> None:
    """Require clang and the linker for WebAssembly.

    Raises:
        GatewrightError: names what is missing, and Debian's packages.
    """
    missing = [name for name in ("clang", "wasm-ld") if shutil.which(name) is None]
    if missing:
        expected = "clang and wasm-ld (on Debian: apt install clang lld)"
        raise GatewrightError("--to wasm", expected, f"no {' and no '.join(missing)}")


def compiled(file: ModelFile) -> bytes:
    """Return a model as a WebAssembly module.

    It exports its memory, ``model_reset`` and ``model_step`` of the C99 source, ``state_size()``, and
    ``free_memory()``, the address from which on memory is the caller's.  Where transforms of targets need them, it
    imports functions of the C library from ``env``: those of JavaScript's ``Math``.

    Raises:
        SpecError: if the model cannot be written as C99.
        GatewrightError: if there is no compiler, or it fails.
    """
    header, source = texts(file)
    require_compiler()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.h").write_text(header, "utf-8")
        (folder / "model.c").write_text(source, "utf-8")
        for own in ("math.h", "memory.c"):
            (folder / own).write_text(static(own), "utf-8")
        stack = f"-Wl,-z,stack-size={_stack_size(file)}"
        files = ["-I.", "model.c", "memory.c", "-o", "model.wasm"]
        done = subprocess.run(
            ["clang", *_FLAGS, stack, *files], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise GatewrightError("--to wasm", "a clang that compiles for wasm32", lines[0][:300])
        return (folder / "model.wasm").read_bytes()


def static(name: str) -> str:
    """Return the text of a file that comes with the package."""
    return (resources.files("gatewright.exchange.wasm") / "static" / name).read_text("utf-8")


def _stack_size(file: ModelFile) -> int:
    """Return the bytes of stack that a step needs, rounded up."""
    stack = file.spec.lstm
    cell: CellSpec = stack.cell
    widths = file.spec.input_size + sum((len(cell.gates()) + 3) * size for size in stack.hidden_sizes)
    return _STACK + -(-8 * (widths + file.spec.output_size) // 1024) * 1024
