"""Build wheels into dist/: for this machine by its own compiler, or for any Linux by Zig's.

    python -m wheels.build                                        # this machine and this Python
    python -m wheels.build --target aarch64-manylinux --python python3.11 --python python3.12

A wheel of a target is for every machine of it, whatever Linux this is: Zig's compiler (`pip install ziglang`)
brings the headers and symbols of glibc 2.28 and of musl. A wheel of Python 3.12 serves all later ones too.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wheels.check import WheelError, check

ROOT = Path(__file__).parents[1]

#: Seconds since 1970 that archives give their files, where the environment names none.
EPOCH = "1735689600"


@dataclass(frozen=True)
class Target:
    """A kind of machine that Zig compiles for.

    Attributes:
        processor: as CMake and Python call it.
        triple: as Zig calls the target.
        platform: tag of the wheels.
        libc: how the names of extension modules end.
    """

    processor: str
    triple: str
    platform: str
    libc: str

    def environment(self) -> dict[str, str]:
        """Return what makes CMake and the build backend compile for this target."""
        compiler = f"{sys.executable} -m ziglang c++ -target {self.triple} -fno-sanitize=all -g0"
        return {"CXX": compiler, "_PYTHON_HOST_PLATFORM": f"linux-{self.processor}"}

    def system(self) -> dict[str, str]:
        """Return what CMake has to know of this target."""
        return {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": self.processor}

    def module(self, python: str) -> dict[str, str]:
        """Return what CMake has to know of the native module for a Python of this target."""
        name = f"{_output(python, _ABI)}-{self.processor}-linux-{self.libc}"
        return {**self.system(), "SKBUILD_SOABI": name, "GATEWRIGHT_STATIC_LLVM": _output(sys.executable, _LLVM)}


#: What a Python calls its binary interface; the version of LLVM in Zig.
_ABI = "import sysconfig; print('-'.join(sysconfig.get_config_var('SOABI').split('-')[:2]))"
_LLVM = (
    "import re, subprocess, sys; "
    "said = subprocess.check_output([sys.executable, '-m', 'ziglang', 'c++', '--version'], text=True); "
    "print(re.search(r'clang version ([0-9.]+)', said)[1])"
)

TARGETS = {
    f"{processor}-{kind}": Target(processor, f"{processor}-linux-{zig}", f"{tag}_{processor}", libc)
    for processor in ("x86_64", "aarch64")
    for kind, zig, tag, libc in (
        ("manylinux", "gnu.2.28", "manylinux_2_28", "gnu"),
        ("musllinux", "musl", "musllinux_1_2", "musl"),
    )
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, repair and check wheels."""
    parser = argparse.ArgumentParser(prog="python -m wheels.build", description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=TARGETS, help="default: this machine, by its own compiler")
    parser.add_argument("--python", action="append", help="an interpreter to build for (default: this one)")
    parser.add_argument(
        "--library", type=Path, help="libgatewright.a of the target and of these sources, where it is there"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    given = parser.parse_args(arguments)
    target = TARGETS.get(given.target)
    try:
        library = given.library.resolve() if given.library else build_library(target)
        for python in given.python or [sys.executable]:
            print(build(python, target, library, given.out), flush=True)
    except (subprocess.CalledProcessError, WheelError) as error:
        raise SystemExit(str(error)) from None


def build_library(target: Target | None) -> Path:
    """Return libgatewright.a, which knows no Python: compiled once for the wheels of all of them."""
    folder = _folder(target) / "library"
    commands = [
        [
            "cmake",
            "-G",
            "Ninja",
            "-S",
            str(ROOT),
            "-B",
            str(folder),
            *_defines(target.system() if target else {}, "-D"),
        ],
        ["cmake", "--build", str(folder), "--target", "gatewright"],
    ]
    for command in commands:
        subprocess.run(command, env=_environment(target), check=True)
    return folder / "libgatewright.a"


def build(python: str, target: Target | None, library: Path, out: Path) -> Path:
    """Return a checked wheel, in the folder `out`."""
    settings = {"GATEWRIGHT_LIBRARY": str(library), **(target.module(python) if target else {})}
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, str(ROOT)]
        command += [f"--config-settings=build-dir={_folder(target)}/{{wheel_tag}}"]
        command += _defines(settings, "--config-settings=cmake.define.")
        subprocess.run(command, env=_environment(target), check=True)
        [wheel] = Path(folder).glob("gatewright-*.whl")
        wheel = _repaired(wheel, target, Path(folder) / "repaired")
        check(wheel)
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(wheel, out / wheel.name))


def _folder(target: Target | None) -> Path:
    return ROOT / "build" / "wheels" / (target.platform if target else "native")


def _environment(target: Target | None) -> dict[str, str]:
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {"SOURCE_DATE_EPOCH": EPOCH, **os.environ, "PATH": tools, **(target.environment() if target else {})}


def _defines(values: dict[str, str], prefix: str) -> list[str]:
    return [f"{prefix}{name}={value}" for name, value in values.items()]


def _repaired(wheel: Path, target: Target | None, folder: Path) -> Path:
    """Return the wheel with the tag of the oldest systems that it runs on; auditwheel proves that it does."""
    if not sys.platform.startswith("linux"):
        return wheel
    # auditwheel takes the tags of its own processor only; of another one it finds the tag itself.
    tag = target.platform if target and target.processor == platform.machine() else "auto"
    command = [sys.executable, "-m", "auditwheel", "repair", "--only-plat", "--plat", tag, "--wheel-dir"]
    subprocess.run([*command, str(folder), str(wheel)], env=_environment(target), check=True)
    [repaired] = folder.glob("*.whl")
    return repaired


def _output(python: str, program: str) -> str:
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
