"""A ring holds the last records of all processes, whatever happens to those that write."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from atom_platform.status import ring as ring_module
from atom_platform.status.ring import FileRing, MemoryRing
from tests.support.service import ROOT
from tests.support.stalls import scaled


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "ring"


def numbers(ring: FileRing | MemoryRing) -> list[int]:
    return [record["number"] for record in ring.records()]


def test_keeps_the_last(path: Path) -> None:
    for ring in (FileRing(path, "one", slots=5), MemoryRing(5)):
        for number in range(12):
            ring.add({"number": number})

        assert numbers(ring) == [7, 8, 9, 10, 11]


def test_is_empty_at_first(path: Path) -> None:
    assert FileRing(path, "one", slots=5).records() == []


def test_forgets_an_earlier_service(path: Path) -> None:
    FileRing(path, "one", slots=5).add({"number": 1})
    later = FileRing(path, "two", slots=5)

    assert later.records() == []
    later.add({"number": 2})
    assert numbers(later) == [2]


def test_never_grows(path: Path) -> None:
    ring = FileRing(path, "one", slots=5)
    ring.add({"number": 0})
    size = path.stat().st_size
    for number in range(100):
        ring.add({"number": number, "text": "ä" * 400})

    assert path.stat().st_size == size == 1024 * 6


def test_a_record_longer_than_a_slot_is_left_out(path: Path) -> None:
    """It would take its neighbour along."""
    ring = FileRing(path, "one", slots=5)
    for number in range(5):
        ring.add({"number": number})
    ring.add({"number": 5, "text": "x" * 1024})

    assert numbers(ring) == [0, 1, 2, 3, 4]


def test_what_is_no_unicode_is_kept_all_the_same(path: Path) -> None:
    ring = FileRing(path, "one", slots=5)
    ring.add({"number": 1, "text": "\ud800"})

    assert numbers(ring) == [1]


def test_processes_and_threads_lose_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a longer lock timeout than a request has, because the machine may be busy."""
    monkeypatch.setattr(ring_module, "LOCK_SECONDS", 60)
    code = (
        "import sys; from pathlib import Path; from atom_platform.status import ring; "
        "ring.LOCK_SECONDS = 60; kept = ring.FileRing(Path(sys.argv[1]), 'one', slots=400); "
        "[kept.add({'number': int(sys.argv[2]) + each}) for each in range(100)]"
    )
    command = [sys.executable, "-c", code, str(path)]
    writers = [subprocess.Popen([*command, start], cwd=ROOT) for start in ("0", "100")]
    try:
        ring = FileRing(path, "one", slots=400)

        def write(start: int) -> None:
            for number in range(start, start + 100):
                ring.add({"number": number})

        threads = [threading.Thread(target=write, args=(start,)) for start in (200, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(scaled(60))
        assert [writer.wait(60) for writer in writers] == [0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(10)

    assert sorted(numbers(ring)) == list(range(400))


def test_a_torn_record_costs_itself_alone(path: Path) -> None:
    ring = FileRing(path, "one", slots=5)
    for number in range(3):
        ring.add({"number": number})
    with path.open("r+b") as file:
        file.seek(1024 * 2)
        file.write(b'{"number":7777')

    assert numbers(ring) == [0, 2]


def test_survives_a_cleared_directory(path: Path) -> None:
    ring = FileRing(path, "one", slots=5)
    ring.add({"number": 1})
    path.unlink()

    assert ring.records() == []
    ring.add({"number": 2})
    assert numbers(FileRing(path, "one", slots=5)) == [2]


def test_a_forked_process_takes_its_own_lock(path: Path) -> None:
    """With the parent's descriptor both would hold the lock at once."""
    code = """
import os, sys
from pathlib import Path
from atom_platform.status.ring import FileRing

ring = FileRing(Path(sys.argv[1]), "one", slots=5)
ring.add({"number": 1})
go_on, locked = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(go_on, 1)
    ring.add({"number": 2})  # cannot have the lock, and gives up
    os._exit(0)
with ring._locked():
    os.write(locked, b"!")
    os.waitpid(pid, 0)
"""
    subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, check=True, timeout=scaled(60)
    )

    assert numbers(FileRing(path, "one", slots=5)) == [1]
