"""The pid file by which other processes find a service."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from atom_platform.server import pidfile


@pytest.fixture(name="own_directory")
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pid files of these tests must not meet those of services that run meanwhile."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_finds_a_living_arbiter(own_directory: Path) -> None:
    pidfile.write([1234], drain_seconds=2.5)

    service = pidfile.find(1234)

    assert service is not None
    assert (service.pid, service.drain_seconds, service.alive) == (os.getpid(), 2.5, True)
    assert pidfile.find(1235) is None


def test_remove_leaves_nothing(own_directory: Path) -> None:
    pidfile.write([1234], drain_seconds=0)

    pidfile.remove([1234, 1235])

    assert list(own_directory.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"pid": 1}',
        '{"pid": 999999999, "started": 1, "drain_seconds": 1}',
        f'{{"pid": {os.getpid()}, "started": 1, "drain_seconds": 1}}',
    ],
    ids=["empty", "no-object", "incomplete", "no-such-process", "another-start"],
)
def test_a_file_about_another_process_is_ignored(own_directory: Path, text: str) -> None:
    """A pid that repeats belongs to a process that the drain signal would kill."""
    pidfile.write([1234], drain_seconds=0)
    (path,) = own_directory.iterdir()
    path.write_text(text)

    assert pidfile.find(1234) is None


def test_follows_no_link(own_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    victim = tmp_path_factory.mktemp("elsewhere") / "victim"
    victim.write_text("untouched")
    pidfile.write([1234], drain_seconds=0)
    (path,) = own_directory.iterdir()
    path.unlink()
    path.symlink_to(victim)
    assert pidfile.find(1234) is None

    pidfile.write([1234], drain_seconds=0)

    assert victim.read_text() == "untouched"
    assert pidfile.find(1234) is not None


def test_files_of_dead_arbiters_are_removed(own_directory: Path) -> None:
    pidfile.write([1], drain_seconds=0)
    (stale,) = own_directory.iterdir()
    stale.write_text('{"pid": 999999999, "started": 1, "drain_seconds": 1}')

    pidfile.write([2], drain_seconds=0)

    assert not stale.exists()
    assert pidfile.find(2) is not None


def test_start_time_survives_a_name_with_brackets() -> None:
    name = Path("/proc/self/comm")
    before, called = pidfile.started_at(os.getpid()), name.read_text()
    try:
        name.write_text("a) (b c")
        after = pidfile.started_at(os.getpid())
    finally:
        name.write_text(called)

    assert after == before
    assert before is not None
    ticks = os.sysconf("SC_CLK_TCK")
    assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - before / ticks < 86_400
