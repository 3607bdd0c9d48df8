"""What a wheel has to be: its tags, its files, their digests, its bill of materials and its licences.

python -m wheels.check dist/*.whl
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
#: Endings of native modules.
MODULES = {".so", ".pyd"}
LICENCES = {
    "LICENSE",
    "wheels/licenses/nanobind.txt",
    "wheels/licenses/robin-map.txt",
    "src/gatewright/inspector/static/LICENSES",
}
BILL = "sboms/gatewright.cdx.json"
LIBCXX = "libc++"
#: Folders of a build that no byte of a wheel may name.
BUILD_FOLDERS = re.compile(rb"/(?:work|tmp|home|root|project|builds)/[\w.+-]+/")


class WheelError(Exception):
    """A wheel that must not leave the house."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Check each wheel that is named; print its size and digest."""
    paths = [Path(name) for name in (sys.argv[1:] if arguments is None else arguments)]
    if not paths:
        raise SystemExit("expected wheels to check, got none; build one by `make wheel`")
    for path in paths:
        try:
            check(path)
        except WheelError as error:
            raise SystemExit(str(error)) from None
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name}  {path.stat().st_size / 1e6:.1f} MB  sha256 {digest}")


def check(path: Path, root: Path = ROOT) -> None:
    """Check one wheel of a checkout.

    Raises:
        WheelError: names the wheel, what was expected and what was got.
    """
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    try:
        distribution, version, python, abi, platform = path.name.removesuffix(".whl").split("-")
    except ValueError:
        raise WheelError(f"{path.name}: expected name, version and three tags in the name of the file") from None
    info = f"{distribution}-{version}.dist-info/"
    _same(path, "tags", f"{python}-{abi}-{platform}", _tags(files.get(f"{info}WHEEL", b"").decode()))
    _digests(path, files, info)
    _names(path, [name for name in files if not name.startswith(info)], root)
    _module(path, files, python, abi, platform)
    _metadata(path, files, info, version)
    _bill(path, files, info, version)


def _same(path: Path, what: str, expected: object, got: object) -> None:
    if expected != got:
        raise WheelError(f"{path.name}: {what}: expected {expected}, got {got}")


def _tags(text: str) -> str:
    """Return the tags of the file WHEEL as the name of a wheel has them."""
    tags = [tag.split("-") for tag in Parser().parsestr(text).get_all("Tag", [])]
    parts = [sorted({tag[place] for tag in tags}) for place in range(3)] if tags else []
    return "-".join(".".join(part) for part in parts)


def _digests(path: Path, files: dict[str, bytes], info: str) -> None:
    record = list(csv.reader(io.StringIO(files.get(f"{info}RECORD", b"").decode())))
    _same(path, "files of RECORD", sorted(files), sorted(row[0] for row in record))
    for name, digest, size in record:
        if name == f"{info}RECORD":
            continue
        own = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        _same(path, f"digest of {name}", f"sha256={own}", digest)
        _same(path, f"size of {name}", str(len(files[name])), size)


def package_files(root: Path) -> dict[str, bytes]:
    """Return the files of the package in a checkout, as a wheel names them; native modules left out."""
    package = root / "src" / "gatewright"
    paths = [path for path in package.rglob("*") if path.is_file() and path.suffix not in {*MODULES, ".pyc"}]
    return {path.relative_to(root / "src").as_posix(): path.read_bytes() for path in paths}


def _names(path: Path, names: list[str], root: Path) -> None:
    own = package_files(root).keys()
    packed = {name for name in names if PurePosixPath(name).suffix not in MODULES}
    _same(path, "files that are not of the package", [], sorted(packed - own))
    _same(path, "missing files", [], sorted(own - packed))


def _module(path: Path, files: dict[str, bytes], python: str, abi: str, platform: str) -> None:
    """One native module, named for the Python and the system that the tags say, without paths of the build."""
    modules = [name for name in files if PurePosixPath(name).suffix in MODULES]
    _same(path, "native modules", 1, len(modules))
    name = PurePosixPath(modules[0]).name
    if abi == "abi3":
        _same(path, "native module", True, name in {"_kernels.abi3.so", "_kernels.pyd"})
    else:
        version = abi.removeprefix("cp")
        _same(path, "native module", True, f"-{version}" in name or f".cp{version}-" in name)
        _same(path, "tags of a module for one Python", python, abi.removesuffix("t"))
    if "linux" in platform and abi != "abi3":
        processor = "aarch64" if platform.endswith("aarch64") else "x86_64"
        libc = "musl" if platform.startswith("musllinux") else "gnu"
        _same(path, "native module", True, name.endswith(f"-{processor}-linux-{libc}.so"))
    found = BUILD_FOLDERS.search(files[modules[0]])
    _same(path, f"folders of the build in {name}", None, found and found[0].decode())


def _metadata(path: Path, files: dict[str, bytes], info: str, version: str) -> None:
    metadata = Parser().parsestr(files.get(f"{info}METADATA", b"").decode())
    _same(path, "Name", "gatewright", metadata["Name"])
    _same(path, "Version", version, metadata["Version"])
    _same(path, "Requires-Python", ">=3.10", metadata["Requires-Python"])
    licences = set(metadata.get_all("License-File", []))
    _same(path, "licence files that are named", LICENCES, licences)
    empty = sorted(each for each in licences if not files.get(f"{info}licenses/{each}"))
    _same(path, "licence files that are empty or missing", [], empty)


def _bill(path: Path, files: dict[str, bytes], info: str, version: str) -> None:
    """The bill of materials: valid and complete: what is compiled in, each package of the page."""
    try:
        bill = json.loads(files[f"{info}{BILL}"])
    except (KeyError, ValueError) as error:
        raise WheelError(f"{path.name}: expected a bill of materials in {info}{BILL}, got {error!r}") from None
    _same(
        path,
        "format of the bill of materials",
        ("CycloneDX", "1.6"),
        (bill.get("bomFormat"), bill.get("specVersion")),
    )
    _same(path, "version in the bill of materials", version, bill["metadata"]["component"]["version"])
    parts = {part["name"]: part for part in bill["components"]}
    for name, part in parts.items():
        _same(
            path,
            f"parts of {name} in the bill of materials",
            True,
            all(part.get(key) for key in ("version", "licenses", "purl")),
        )
    page = re.findall(r"(?:^|-{80}\n\n)(\S+)\n\n", files["gatewright/inspector/static/LICENSES"].decode())
    compiled = {"nanobind", "robin-map"}
    module = next(content for name, content in files.items() if PurePosixPath(name).suffix in MODULES)
    if b"St3__1" in module or b"libc++abi" in module:
        compiled.add(LIBCXX)
        _same(path, "licence of LLVM", True, f"{info}licenses/llvm-license.txt" in files)
    _same(path, "parts in the bill of materials", sorted(compiled | set(page)), sorted(parts))


if __name__ == "__main__":
    main()
