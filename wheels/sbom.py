"""The bill of materials of a wheel (PEP 770), in CycloneDX 1.6: what is in it that is not Gatewright's own code.

CMakeLists.txt runs this file for each wheel. It holds no time and no random number: equal sources, equal bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

#: The property that has the digest of the native sources.
NATIVE = "gatewright:native-sources"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the bill of materials of one wheel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True, help="of Gatewright")
    parser.add_argument("--nanobind", required=True, type=Path, help="its folder, with ext/robin_map")
    parser.add_argument("--nanobind-version", required=True)
    parser.add_argument("--llvm", default="", help="version of LLVM's C++ library, where it is linked statically")
    parser.add_argument("--out", required=True, type=Path)
    given = parser.parse_args(arguments)
    bill = bill_of(given.version, components(given.nanobind, given.nanobind_version, given.llvm))
    given.out.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def components(nanobind: Path, nanobind_version: str, llvm: str = "") -> list[dict[str, Any]]:
    """Return what is compiled in, and what the inspector's page consists of."""
    all_of_them = [
        component("nanobind", nanobind_version, "BSD-3-Clause", f"pkg:pypi/nanobind@{nanobind_version}"),
        component("robin-map", robin_map(nanobind), "MIT", f"pkg:github/Tessil/robin-map@v{robin_map(nanobind)}"),
    ]
    if llvm:
        purl = f"pkg:github/llvm/llvm-project@llvmorg-{llvm}"
        all_of_them.append(component("libc++", llvm, "Apache-2.0 WITH LLVM-exception", purl))
    for package in json.loads((HERE / "page.json").read_text(encoding="utf-8")):
        name, version = package["name"], package["version"]
        purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
        all_of_them.append(component(name, version, package["license"], purl))
    return all_of_them


def component(name: str, version: str, license_expression: str, purl: str) -> dict[str, Any]:
    """Return one library as CycloneDX has it."""
    return {
        "type": "library",
        "name": name,
        "version": version,
        "licenses": [{"expression": license_expression}],
        "purl": purl,
        "bom-ref": purl,
    }


def robin_map(nanobind: Path) -> str:
    """Return the version of the hash map that nanobind brings."""
    header = nanobind / "ext" / "robin_map" / "include" / "tsl" / "robin_growth_policy.h"
    text = header.read_text(encoding="utf-8")
    numbers = [re.search(rf"TSL_RH_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "PATCH")]
    if not all(numbers):
        raise SystemExit(f"{header}: expected TSL_RH_VERSION_MAJOR, _MINOR and _PATCH, got another file")
    return ".".join(number[1] for number in numbers if number)


def native_sources(root: Path) -> str:
    """Return the digest of what the native module is compiled from."""
    native = root / "native"
    files = [path for path in native.rglob("*") if path.suffix in {".cpp", ".h", ".cmake"}]
    paths = [path for path in files if "tests" not in path.relative_to(native).parts]
    digest = hashlib.sha256()
    for path in [*sorted(paths), root / "CMakeLists.txt"]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def bill_of(version: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole document."""
    own = component("gatewright", version, "Apache-2.0", f"pkg:pypi/gatewright@{version}")
    own["properties"] = [{"name": NATIVE, "value": native_sources(HERE.parent)}]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": parts,
        "dependencies": [{"ref": own["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]}],
    }


if __name__ == "__main__":
    main()
