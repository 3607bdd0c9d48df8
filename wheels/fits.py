"""Whether a wheel was built from this very checkout: `make run WHEEL=...` uses no other.

python -m wheels.fits dist/gatewright-0.1.0-cp312-abi3-manylinux_2_28_x86_64.whl
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from wheels.check import package_files
from wheels.sbom import NATIVE, native_sources

ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit with the first difference, or in silence."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if len(given) != 1:
        raise SystemExit(f"expected one wheel, got {len(given)}")
    found = difference(Path(given[0]), ROOT)
    if found:
        raise SystemExit(
            f"{given[0]}: {found}; build a wheel of this checkout by `make wheel`, or leave WHEEL out"
        )


def difference(wheel: Path, root: Path) -> str:
    """Return how a wheel differs from a checkout, or nothing: version, Python files, native sources."""
    if not wheel.is_file():
        return "expected a wheel, got no file"
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    version = re.search(r'^version = "(.+)"$', (root / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    own = version[1] if version else "?"
    bill = files.get(f"gatewright-{own}.dist-info/sboms/gatewright.cdx.json")
    if bill is None:
        return f"expected version {own}, got another one"
    checkout = package_files(root)
    packed = {
        name: data
        for name, data in files.items()
        if name.startswith("gatewright/") and not name.endswith((".so", ".pyd"))
    }
    differing = sorted(name for name in checkout.keys() | packed.keys() if checkout.get(name) != packed.get(name))
    if differing:
        return f"expected the files of src/, got another {differing[0]}"
    properties = {
        one["name"]: one["value"] for one in json.loads(bill)["metadata"]["component"].get("properties", [])
    }
    if properties.get(NATIVE) != native_sources(root):
        return "expected a native module of the sources in native/, got one of others"
    return ""


if __name__ == "__main__":
    main()
