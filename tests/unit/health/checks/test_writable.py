"""writable_check writes a file, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from atom_platform.health.check import CheckFailed
from atom_platform.health.checks.writable import writable_check


def test_a_directory_with_room_is_healthy_and_stays_empty(tmp_path: Path) -> None:
    result = writable_check(tmp_path)()

    assert (result.healthy, result.message) == (True, "Directory writable")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_has_a_message_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"^Directory missing$"):
        writable_check(tmp_path / "gone")()


def test_a_file_is_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CheckFailed, match=r"^Directory missing$"):
        writable_check(tmp_path / "file")()


@pytest.mark.skipif(not Path("/proc/1").exists(), reason="Linux only")
def test_a_directory_without_write_permission_is_unhealthy() -> None:
    with pytest.raises(CheckFailed, match=r"^Directory (not writable|missing)$"):
        writable_check("/proc/1")()


def test_a_full_directory_has_a_message_of_its_own(tmp_path: Path) -> None:
    """A file system of its own, filled to the last block; as root only."""
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=64k none {tmp_path}") != 0:
        pytest.skip("cannot mount a file system here")
    try:
        before = writable_check(tmp_path)().healthy
        with (tmp_path / "filler").open("wb", 0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass

        with pytest.raises(CheckFailed, match=r"^Directory full$"):
            writable_check(tmp_path)()
    finally:
        os.system(f"umount {tmp_path}")

    assert before
