"""What a wheel has to be, and which one `make run` uses: small wheels made here, good ones and wrong ones."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from pathlib import Path

import pytest
from wheels import build, check, fits, sbom

ROOT = Path(__file__).parents[1]
INFO = "gatewright-0.1.0.dist-info/"
NAME = "gatewright-0.1.0-cp312-abi3-manylinux_2_28_x86_64.whl"
PAGE = [(one["name"], one["version"]) for one in json.loads((ROOT / "wheels" / "page.json").read_text())]


@pytest.fixture
def nanobind(tmp_path):
    """The folder of nanobind, as far as the bill of materials reads it."""
    header = tmp_path / "nanobind" / "ext" / "robin_map" / "include" / "tsl" / "robin_growth_policy.h"
    header.parent.mkdir(parents=True)
    lines = [
        f"#define TSL_RH_VERSION_{part} {number}"
        for part, number in zip(("MAJOR", "MINOR", "PATCH"), (1, 4, 0), strict=True)
    ]
    header.write_text("\n".join(lines))
    return tmp_path / "nanobind"


@pytest.fixture
def files(nanobind):
    """Names and contents of a wheel's files, RECORD left out."""
    bill = sbom.bill_of("0.1.0", sbom.components(nanobind, "3.1.0"))
    page = (ROOT / "src/gatewright/inspector/static/LICENSES").read_bytes()
    metadata = ["Metadata-Version: 2.4", "Name: gatewright", "Version: 0.1.0", "Requires-Python: >=3.10"]
    return {
        "gatewright/__init__.py": b"",
        "gatewright/py.typed": b"",
        "gatewright/_kernels.abi3.so": b"\x7fELF",
        "gatewright/inspector/static/inspector.js": b"",
        "gatewright/inspector/static/LICENSES": page,
        f"{INFO}WHEEL": b"Wheel-Version: 1.0\nTag: cp312-abi3-manylinux_2_28_x86_64\n",
        f"{INFO}METADATA": "\n".join(
            [*metadata, *(f"License-File: {name}" for name in sorted(check.LICENCES))]
        ).encode(),
        f"{INFO}{check.BILL}": json.dumps(bill).encode(),
        **{f"{INFO}licenses/{name}": (ROOT / name).read_bytes() for name in check.LICENCES},
    }


def written(folder, files, name=NAME, record=None):
    rows = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}")
    wheel = folder / name
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{INFO}RECORD", record or "\n".join([*rows, f"{INFO}RECORD,,"]))
    return wheel


@pytest.fixture(autouse=True)
def _of_the_small_package(tmp_path, files, monkeypatch):
    """The package of these wheels in place of ours."""
    for name, content in files.items():
        if name.startswith("gatewright/"):
            (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "src" / name).write_bytes(content)
    monkeypatch.setattr(check.check, "__defaults__", (tmp_path,))


def test_a_good_wheel_passes(tmp_path, files, capsys):
    wheel = written(tmp_path, files)
    check.main([str(wheel)])
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("gatewright/notes.orig", b"", "files that are not of the package"),
        ("gatewright/__pycache__/a.py", b"", "files that are not of the package"),
        ("native/simd.h", b"", "files that are not of the package"),
        ("gatewright/_kernels.cpython-312-x86_64-linux-gnu.so", b"", "native modules: expected 1, got 2"),
        ("gatewright/_kernels.abi3.so", b"\0/tmp/build-env-1/x.cpp\0", "folders of the build"),
        ("gatewright/_kernels.abi3.so", b"_ZNSt3__16vectorIlE", "licence of LLVM"),
        ("gatewright/py.typed", None, "missing files"),
        (f"{INFO}licenses/LICENSE", b"", "licence files that are empty or missing"),
        (f"{INFO}{check.BILL}", None, "expected a bill of materials"),
        (f"{INFO}{check.BILL}", b"{", "expected a bill of materials"),
        (f"{INFO}WHEEL", b"Tag: cp312-abi3-linux_x86_64\n", "tags"),
    ],
)
def test_a_wrong_wheel_is_refused(tmp_path, files, path, content, expected):
    changed = {**files, path: content}
    wheel = written(tmp_path, {name: data for name, data in changed.items() if data is not None})
    with pytest.raises(check.WheelError, match=re.escape(expected)):
        check.check(wheel)


def test_a_part_that_the_bill_leaves_out_is_found(tmp_path, files):
    bill = json.loads(files[f"{INFO}{check.BILL}"])
    bill["components"] = [part for part in bill["components"] if part["name"] != "uplot"]
    wheel = written(tmp_path, {**files, f"{INFO}{check.BILL}": json.dumps(bill).encode()})
    with pytest.raises(check.WheelError, match="parts in the bill of materials"):
        check.check(wheel)


def test_a_file_that_is_not_what_the_record_says_is_found(tmp_path, files):
    wheel = written(tmp_path, files)
    with zipfile.ZipFile(wheel) as archive:
        record = archive.read(f"{INFO}RECORD").decode()
    with pytest.raises(check.WheelError, match=r"digest of gatewright/py\.typed"):
        check.check(written(tmp_path, {**files, "gatewright/py.typed": b"partial"}, record=record))


def test_a_module_of_one_python_is_named_for_it_and_for_its_system(tmp_path, files):
    tags = "cp311-cp311-manylinux_2_28_aarch64"
    module = files.pop("gatewright/_kernels.abi3.so")
    one = {**files, f"{INFO}WHEEL": f"Tag: {tags}\n".encode()}
    good = {**one, "gatewright/_kernels.cpython-311-aarch64-linux-gnu.so": module}
    check.check(written(tmp_path, good, f"gatewright-0.1.0-{tags}.whl"))
    for wrong in ("_kernels.cpython-311-x86_64-linux-gnu.so", "_kernels.cpython-310-aarch64-linux-gnu.so"):
        with pytest.raises(check.WheelError, match="native module"):
            check.check(written(tmp_path, {**one, f"gatewright/{wrong}": module}, f"gatewright-0.1.0-{tags}.whl"))


def test_the_bill_of_materials_names_every_package_of_the_page(nanobind, tmp_path):
    out = tmp_path / "bill.json"
    options = ["--version", "0.1.0", "--nanobind", str(nanobind), "--nanobind-version", "3.1.0"]
    sbom.main([*options, "--llvm", "22.1.8", "--out", str(out)])
    first = out.read_bytes()
    sbom.main([*options, "--llvm", "22.1.8", "--out", str(out)])
    assert out.read_bytes() == first
    parts = [(part["name"], part["version"]) for part in json.loads(first)["components"]]
    assert parts == [("nanobind", "3.1.0"), ("robin-map", "1.4.0"), ("libc++", "22.1.8"), *PAGE]
    locked = json.loads((ROOT / "inspector" / "package-lock.json").read_text())["packages"]
    for name, version in PAGE:
        assert locked[f"node_modules/{name}"]["version"] == version
        assert not locked[f"node_modules/{name}"].get("dev")


@pytest.fixture
def checkout(tmp_path, files):
    """A checkout of a small package, with the files of its wheel."""
    root = tmp_path / "checkout"
    sources = {f"src/{name}": content for name, content in files.items() if name.startswith("gatewright/")}
    sources |= {
        "pyproject.toml": b'version = "0.1.0"\n',
        "CMakeLists.txt": b"",
        "native/kernels/simd.h": b"// wide\n",
    }
    for name, content in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    bill = json.loads(files[f"{INFO}{check.BILL}"])
    bill["metadata"]["component"]["properties"] = [{"name": sbom.NATIVE, "value": sbom.native_sources(root)}]
    return root, {**files, f"{INFO}{check.BILL}": json.dumps(bill).encode()}


def test_only_a_wheel_of_this_checkout_fits(tmp_path, checkout):
    root, wheel = checkout
    assert fits.difference(written(tmp_path, wheel), root) == ""
    changed = {**wheel, "gatewright/__init__.py": b"# older\n"}
    assert "gatewright/__init__.py" in fits.difference(written(tmp_path, changed), root)
    del changed["gatewright/__init__.py"]
    assert "gatewright/__init__.py" in fits.difference(written(tmp_path, changed), root)
    older = {name.replace("0.1.0", "0.0.9"): content for name, content in wheel.items()}
    assert "expected version 0.1.0" in fits.difference(written(tmp_path, older), root)
    (root / "native" / "kernels" / "simd.h").write_bytes(b"// wider\n")
    assert "native module" in fits.difference(written(tmp_path, wheel), root)
    with pytest.raises(SystemExit, match="leave WHEEL out"):
        fits.main([str(tmp_path / "missing.whl")])


def test_a_target_names_its_compiler_and_its_tag():
    target = build.TARGETS["aarch64-musllinux"]
    assert target.platform == "musllinux_1_2_aarch64"
    assert "-target aarch64-linux-musl" in target.environment()["CXX"]
    assert target.system() == {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": "aarch64"}
