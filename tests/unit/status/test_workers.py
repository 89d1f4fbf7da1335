"""Workers are read from the kernel's process table."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from atom_platform.metrics.storage import directory as directories
from atom_platform.metrics.storage.directory import Directory
from atom_platform.metrics.storage.directory_lock import Owner
from atom_platform.status.workers import list_workers

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(name="proc")
def _proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    owner = Owner(service="one", started_at=1.0, arbiters=(10, 20, 99))
    monkeypatch.setattr(directories, "_prepared", Directory(None, owner))
    (tmp_path / "uptime").write_text("1000.50 1.0\n")
    return tmp_path


def process(proc: Path, pid: int, *, started: float, pages: int = 1, state: str = "S") -> None:
    folder = proc / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    before = f"{pid} (gunicorn: (a) b) {state} " + "0 " * 18
    (folder / "stat").write_text(f"{before}{int(started * TICKS)} 0\n")
    (folder / "statm").write_text(f"900 {pages} 3 4 5 6 7\n")
    (folder / "task" / str(pid) / "children").write_text("")


def children(proc: Path, pid: int, text: str) -> None:
    (proc / str(pid) / "task" / str(pid) / "children").write_text(text)


def test_of_all_arbiters_and_without_them(proc: Path) -> None:
    """Around a SIGUSR2 there are two arbiters, one the other's child; 99 is long gone."""
    for pid in (10, 20):
        process(proc, pid, started=1)
    process(proc, 11, started=900.5, pages=5)
    process(proc, 21, started=990.5)
    children(proc, 10, "11 20 ")
    children(proc, 20, "21 ")

    found = list_workers(proc=proc)

    assert [(each.pid, each.age_seconds) for each in found] == [(11, 100.0), (21, 10.0)]
    assert found[0].memory_bytes == 5 * PAGE


def test_those_that_have_ended_are_left_out(proc: Path) -> None:
    process(proc, 10, started=1)
    process(proc, 11, started=2, state="Z")
    process(proc, 12, started=3)
    children(proc, 10, "11 12 13 ")

    assert [each.pid for each in list_workers(proc=proc)] == [12]


def test_without_a_process_table_nothing_is_known(tmp_path: Path) -> None:
    assert list_workers(proc=tmp_path) == []


def test_without_an_arbiter_it_is_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "_prepared", None)

    (worker,) = list_workers()

    assert worker.pid == os.getpid()
    assert worker.memory_bytes == pytest.approx(psutil.Process().memory_info().rss, rel=0.5)
    assert worker.age_seconds >= 0
