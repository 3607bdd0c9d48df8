"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewright.files import atomic
from gatewright.files.model_file import write
from tests.support.model_files import SYMBOLS


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")
    yield path
    assert [entry.name for entry in tmp_path.iterdir() if "partial" in entry.name] == []


def test_a_file_is_replaced_whole(target: Path) -> None:
    atomic.write_bytes(str(target), b"new" * 1000)
    assert target.read_bytes() == b"new" * 1000


def test_bytes_are_on_the_disk_before_the_name_is(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        folder = os.path.isdir(f"/proc/self/fd/{descriptor}")  # noqa: PTH112
        events.append(("sync", "folder" if folder else os.fstat(descriptor).st_size))
        sync(descriptor)

    def noted_replace(self: Path, to: Path) -> Path:
        events.append(("replace", to.name))
        return replace(self, to)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    atomic.write_bytes(target, b"12345")
    assert events == [("sync", 5), ("replace", "file"), ("sync", "folder")]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(
    target: Path, where: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(*((os, "fsync", fail) if where == "fsync" else (Path, "replace", fail)))
    with pytest.raises(type(error)):
        atomic.write_bytes(target, b"new")
    with pytest.raises(type(error)):
        write(target, SYMBOLS)
    assert target.read_bytes() == b"old"


def test_what_a_killed_writer_left_is_overwritten_and_not_followed(target: Path) -> None:
    victim = target.with_name("victim")
    victim.write_bytes(b"untouched")
    partial = target.with_name(".file.partial")
    partial.write_bytes(b"a long rest of a killed writer")
    atomic.write_bytes(target, b"new")
    partial.symlink_to(victim)
    atomic.write_bytes(target, b"newer")
    assert target.read_bytes() == b"newer"
    assert not target.is_symlink()
    assert victim.read_bytes() == b"untouched"


def test_a_folder_is_not_replaced(target: Path) -> None:
    folder = target.with_name("folder")
    folder.mkdir()
    with pytest.raises(OSError, match="folder"):
        atomic.write_bytes(folder, b"new")
    with pytest.raises(FileNotFoundError):
        atomic.write_bytes(folder / "absent" / "file", b"new")
    assert folder.is_dir()
