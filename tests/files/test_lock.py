"""A lock is one process's, and goes with it; partial files of several writers do not meet."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gatewright.files import atomic, lock, regular_file

HOLD = """
import sys, time
from pathlib import Path
from gatewright.files import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("not a number, and longer than one\n")
    with holder(path) as process:
        for _ in range(2):
            with pytest.raises(lock.LockedError) as caught, lock.held(path):
                pass
            assert caught.value.holder == str(process.pid)
        process.kill()
        process.wait()
        with lock.held(path), pytest.raises(lock.LockedError), lock.held(path):
            pass
        with lock.held(path):
            pass


@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP"])
def test_where_there_are_no_locks_nothing_is_held(
    tmp_path: Path, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    def unknown(*_: object) -> None:
        raise OSError(getattr(errno, error), "no locks")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with lock.held(tmp_path / "lock"), lock.held(tmp_path / "lock"):
        atomic.write_bytes(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_two_writers_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has written and not yet renamed while the second writes from beginning to end."""
    target = tmp_path / "file"
    replace, second = Path.replace, threading.Event()

    def late(self: Path, to: Path) -> Path:
        if threading.current_thread().name == "first":
            second.wait()
        else:
            assert self.read_bytes() == b"second"
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", late)
    first = threading.Thread(target=atomic.write_bytes, args=(target, b"first" * 1000), name="first")
    first.start()
    while not list(tmp_path.glob(".file.*.partial")):
        pass
    atomic.write_bytes(target, b"second")
    assert target.read_bytes() == b"second"
    second.set()
    first.join()
    assert target.read_bytes() == b"first" * 1000
    assert list(tmp_path.iterdir()) == [target]


def test_a_partial_file_that_is_taken_for_abandoned_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer cleans up between the making of a file and its lock."""
    real, cleaned = lock.try_lock, []

    def raced(descriptor: int) -> bool:
        if not cleaned:
            cleaned.extend(tmp_path.glob(".file.*.partial"))
            cleaned[0].unlink()
        return real(descriptor)

    monkeypatch.setattr(lock, "try_lock", raced)
    atomic.write_bytes(tmp_path / "file", b"whole")
    assert len(cleaned) == 1
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_what_several_killed_writers_left_goes(tmp_path: Path) -> None:
    for name in (".file.partial", ".file.0123456789ab.partial", ".file.ba9876543210.partial"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".other.partial").write_bytes(b"another's")
    atomic.write_bytes(tmp_path / "file", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.partial", "file"]


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    import os
    import socket

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"text")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, kind in (
            ("pipe", "a named pipe"),
            ("link", "a named pipe"),
            ("socket", "a socket"),
            (".", "a directory"),
            ("/dev/zero", "a device"),
        ):
            with pytest.raises(regular_file.IrregularFileError, match=kind):
                regular_file.open_file(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        regular_file.open_file(tmp_path / "absent")
    with regular_file.open_file(tmp_path / "file") as file:
        assert file.read() == b"text"
        assert os.get_blocking(file.fileno()) in (True, False)


def test_a_pipe_that_takes_a_file_s_place_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    path = tmp_path / "file"
    path.write_bytes(b"text")
    require = regular_file.require

    def replaced(name: Path) -> None:
        require(name)
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr(regular_file, "require", replaced)
    with pytest.raises(regular_file.IrregularFileError, match="a named pipe"):
        regular_file.open_file(path)
