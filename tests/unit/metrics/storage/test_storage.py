"""Where a process counts, and that no fault of a file system ever reaches who counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import mmap_key

from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.storage.storage import STORAGE
from tests.support.script import ROOT, running_script
from tests.support.stalls import scaled
from tests.unit.metrics.conftest import Samples

Collected = Callable[[], Samples]
Fork = Callable[[Callable[[], None]], int]

COUNT = ("things_total", ())


COUNTER = """
from tests.unit.metrics.storage.test_storage import STORAGE, count
"""


def key(number: int = 0, family: str = "things") -> bytes:
    labels = [("n", str(number))] if number else []
    names, values = [n for n, _ in labels], [v for _, v in labels]
    return mmap_key(family, f"{family}_total", names, values, "Things.").encode()


def count(number: int = 0, amount: float = 1.0) -> None:
    with STORAGE.lock:
        cells, at = STORAGE.cell("counter", key(number))
        cells[at] += amount


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def test_without_a_directory_values_are_in_memory(collected: Collected) -> None:
    count()
    count()

    assert collected() == {COUNT: 2}


def test_each_process_counts_into_its_own_slot(
    directory: Path, collected: Collected, fork: Fork
) -> None:
    count()
    fork(count)
    fork(count)  # takes the slot that the first child left, and goes on with its file

    assert names(directory) == ["counter_slot0.columnar", "counter_slot1.columnar"]
    assert collected() == {COUNT: 3}


def test_a_fork_inside_a_fork_counts_apart(
    directory: Path, collected: Collected, fork: Fork
) -> None:
    def child() -> None:
        count()
        fork(count)
        count()

    count()
    fork(child)
    count()

    assert collected() == {COUNT: 5}
    assert len(names(directory)) == 3


def test_cells_survive_the_growth_of_their_file(directory: Path, collected: Collected) -> None:
    """A cell handed out before keeps counting into what others read."""
    with STORAGE.lock:
        first, at = STORAGE.cell("counter", key())
    size = (directory / "counter_slot0.columnar").stat().st_size
    for number in range(1, 5000):
        count(number)
    first[at] += 7

    found = collected()

    assert (directory / "counter_slot0.columnar").stat().st_size > 10 * size
    assert found[COUNT] == 7
    assert len(found) == 5000


def columnar(text: bytes, *, size: int = 4096, used: int | None = None) -> bytes:
    """A columnar file of one segment, spelled out."""
    used = len(text) if used is None else used
    head = b"columns1" + size.to_bytes(8, "little") + used.to_bytes(8, "little") + bytes(8)
    return (head + text).ljust(4096, b"\0")


#: What is wrong in either format.
BAD = {
    "zero-length": b"",
    "shorter-than-its-head": b"\x08\0",
    "garbage": os.urandom(5000),
}
BAD_FILES = {
    **BAD,
    "says-more-than-it-holds": b"\xff\xff\xff\x7f" + bytes(4092),
    "bad-length": b"\x18\0\0\0\0\0\0\0\xff\xff\xff\x7f" + bytes(4084),
    "bad-utf-8": b"\x28\0\0\0\0\0\0\0\x04\0\0\0\xff\xfe\xfd\xfc" + b" " * 8 + bytes(4096),
    "not-a-key": b"\x28\0\0\0\0\0\0\0\x04\0\0\0oops" + b" " * 8 + bytes(4096),
    "negative": b"\xf0\xff\xff\xff" + bytes(4092),
}
LINE = b'\n["f", "l", "v"]\t"Help."\t'
BAD_TALLIES = {
    **BAD,
    "zeros": bytes(4096),
    "a-segment-longer-than-the-file": columnar(LINE + b".f_total", size=8192),
    "a-segment-of-nothing": columnar(b"", size=0),
    "an-odd-segment": columnar(b"", size=4095),
    "says-more-than-it-holds": columnar(LINE + b".f_total", used=1 << 40),
    "numbers-without-room": columnar((LINE + b".a\t.b").ljust(4096 - 32 - 15, b"b")),
    "text-before-the-first-line": columnar(b"x" + LINE + b".f_total"),
    "no-sample-ids": columnar(b'\n["f", "l", "v"]\t"Help."'),
    "no-help": columnar(b'\n["f", "l", "v"]\t7\t.f_total'),
    "no-line": columnar(b"\noops"),
    "half-a-label": columnar(b'\n["f", "l"]\t"Help."\t.f_total'),
    "labels-that-are-no-texts": columnar(b'\n["f", "l", 7]\t"Help."\t.f_total'),
    "bad-utf-8": columnar(b'\n["\xff"]\t"Help."\t.f_total'),
    "half-a-surrogate": columnar(b'\n["f", "l", "\\ud800"]\t"Help."\t.f_total'),
    "a-bound-that-is-none": columnar(LINE + b"=wide"),
    "a-sample-id-that-is-none": columnar(LINE + b"f_total"),
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(
            pytest.param(name, content, id=f"{name}-{what}")
            for name in ("counter_slot0.db", "counter_4711.db", "histogram_slot9.db")
            for what, content in BAD_FILES.items()
        ),
        *(
            pytest.param(name, content, id=f"{name}-{what}")
            for name in ("counter_slot0.columnar", "histogram_slot9.columnar")
            for what, content in BAD_TALLIES.items()
        ),
    ],
)
def test_a_bad_file_costs_its_own_numbers_only(
    directory: Path,
    collected: Collected,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    name: str,
) -> None:
    """Also under the name that the next process will open: it is set aside, told once, counted."""
    (directory / name).write_bytes(content)

    count()
    found = [collected() for _ in range(3)]
    STORAGE.problems.log()

    assert found == [{COUNT: 1}] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert STORAGE.problems.uncounted()
    if "slot0" in name:
        assert names(directory) == sorted([f"{name}.0.corrupt", "counter_slot0.columnar"])


def test_only_a_few_bad_files_are_kept(directory: Path) -> None:
    for _ in range(30):
        (directory / "counter_slot0.columnar").write_bytes(b"")
        count()
        STORAGE.switch_to(directory)

    assert len(list(directory.glob("*.corrupt"))) == 8


def test_a_file_cut_while_it_is_read_is_skipped(
    directory: Path, collected: Collected, fork: Fork
) -> None:
    """Reading on would be a SIGBUS, and the end of the worker that happened to be scraped."""

    def run() -> None:
        for number in range(1, 2000):
            count(number)

    count()
    fork(run)
    assert len(collected()) == 2000

    os.truncate(directory / "counter_slot1.columnar", 16)

    assert collected() == {COUNT: 1}


@pytest.mark.parametrize("everything", [True, False], ids=["directory", "files"])
def test_deleting_the_directory_loses_no_count(
    directory: Path, collected: Collected, everything: bool
) -> None:
    count(amount=5)
    assert collected() == {COUNT: 5}

    if everything:
        shutil.rmtree(directory)
        directory.mkdir()
    else:
        (directory / "counter_slot0.columnar").unlink()
    count()
    STORAGE.heartbeat()
    count()

    assert collected() == {COUNT: 7}
    assert "counter_slot0.columnar" in names(directory)


@pytest.mark.parametrize("everything", [True, False], ids=["directory", "files"])
def test_deleted_files_of_others_are_read_until_they_are_made_again(
    directory: Path, collected: Collected, everything: bool
) -> None:
    """A living process that has not noticed yet, and a dead one that never will."""
    with running_script(COUNTER, env={"PROMETHEUS_MULTIPROC_DIR": str(directory)}) as living:
        living.ask("count(0, 10)")
        count()
        with running_script(COUNTER, env={"PROMETHEUS_MULTIPROC_DIR": str(directory)}) as dead:
            dead.ask("count(0, 100)")
        assert collected() == {COUNT: 111}

        if everything:
            shutil.rmtree(directory)
            directory.mkdir()
        else:
            for path in directory.glob("*.columnar"):
                path.unlink()
        STORAGE.heartbeat()
        living.ask("count(0, 1000)")

        seen = [collected() for _ in range(3)]
        living.ask("STORAGE.heartbeat()")
        living.ask("count(0, 10000)")
        seen.append(collected())

    assert seen == [{COUNT: 1111}] * 3 + [{COUNT: 11111}]
    assert len(names(directory)) == 3
    STORAGE.switch_to(directory)
    assert Collector().collect().families()[0].samples[0].value == 11111


def test_a_holder_carries_what_its_slot_had_before(directory: Path, collected: Collected) -> None:
    """Also of kinds that it has not counted itself."""
    count(amount=5)
    STORAGE.switch_to(directory)
    with STORAGE.lock:
        STORAGE.cell("summary", key(family="other"))

    shutil.rmtree(directory)
    directory.mkdir()
    STORAGE.heartbeat()

    assert collected()[COUNT] == 5


def test_who_moved_waits_for_the_others_but_not_for_ever(directory: Path) -> None:
    with running_script(COUNTER, env={"PROMETHEUS_MULTIPROC_DIR": str(directory)}) as other:
        other.ask("count()")
        count()
        shutil.rmtree(directory)
        directory.mkdir()
        assert not STORAGE.is_moving()

        STORAGE.heartbeat()

        assert STORAGE.is_moving()
        other.ask("STORAGE.heartbeat()")
        assert not STORAGE.is_moving()


def test_a_directory_that_is_gone_for_good_leaves_memory(
    directory: Path, collected: Collected
) -> None:
    count()
    shutil.rmtree(directory)
    STORAGE.heartbeat()
    count()

    STORAGE.switch_to(directory)
    count()

    assert collected() == {COUNT: 1}
    assert not directory.exists()


def test_what_was_counted_in_memory_joins_the_slot_that_is_found_later(
    tmp_path: Path, collected: Collected, fork: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atom_platform.metrics.storage.slot_files._RETRY_SECONDS", 0)
    monkeypatch.setattr("atom_platform.metrics.storage.storage._RETRY_SECONDS", 0)
    directory = tmp_path / "later"
    STORAGE.switch_to(directory)
    count(amount=5)
    assert collected() == {COUNT: 5}
    directory.mkdir()

    def run() -> None:
        STORAGE.heartbeat()
        count(amount=100)

    fork(run)  # leaves a slot 0 with 100 in it
    STORAGE.heartbeat()
    count(amount=1000)

    assert collected() == {COUNT: 1105}
    assert names(directory) == ["counter_slot0.columnar"]


MEMBER = """
from pathlib import Path
from atom_platform.metrics.storage import directory
from atom_platform.metrics.scrape.collector import Collector
from tests.unit.metrics.storage.test_storage import STORAGE, count

def start(path):
    made = directory.prepare(Path(path))
    STORAGE.switch_to(made.path)
    return str(made.path)

def total():
    return sum(s.value for f in Collector().collect().families() for s in f.samples)
"""


def test_a_directory_that_became_another_services_is_left_to_it(tmp_path: Path) -> None:
    """Deleted under one service and taken by the next: neither shows the other's counts."""
    path = str(tmp_path / "metrics")
    with running_script(MEMBER) as one, running_script(MEMBER) as two:
        one.ask(f"start({path!r})")
        one.ask("count(0, 5)")
        shutil.rmtree(path)
        assert two.ask(f"start({path!r})") == path
        two.ask("count(0, 100)")

        one.ask("STORAGE.heartbeat()")
        one.ask("count(0, 5)")
        one.ask("STORAGE.heartbeat()")

        assert two.ask("total()") == 100
        assert one.ask("total()") != 110
        assert len(list(Path(path).glob("*.columnar"))) == 1


def test_gauges_of_a_slots_last_holder_are_not_the_next_ones(
    directory: Path, collected: Collected, fork: Fork
) -> None:
    def run() -> None:
        with STORAGE.lock:
            cells, at = STORAGE.cell("gauge_livesum", gauge)
            cells[at] = 4

    gauge = mmap_key("running", "running", [], [], "Running.").encode()
    count()  # this process has slot 0
    fork(run)

    assert collected() == {COUNT: 1}
    assert "gauge_livesum_slot1.db" in names(directory)
    fork(count)
    assert "gauge_livesum_slot1.db" not in names(directory)


def test_a_handler_that_interrupts_the_making_of_a_cell_is_told_so(directory: Path) -> None:
    from atom_platform.metrics.storage.storage import ReentryError

    with STORAGE.lock, STORAGE._exclusive(), pytest.raises(ReentryError):
        STORAGE.cell("counter", key())


FULL = """
import os, sys
from pathlib import Path
small, large = map(Path, sys.argv[1:])
os.environ["TMPDIR"] = str(large)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(small)
from atom_platform.metrics.storage import directory
directory.prepare(small)
from atom_platform.metrics.storage.storage import STORAGE
from tests.unit.metrics.storage.test_storage import count
from atom_platform.metrics.scrape.collector import Collector

def total():
    return sum(s.value for f in Collector().collect().families() for s in f.samples)

for number in range(9000):
    count(number)
assert total() == 9000, total()
pid = os.fork()
if pid == 0:
    for number in range(9000):
        count(number)
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
kept = total()
in_memory = sum(len(table.entries) for _, table in STORAGE.in_memory())
print(kept, in_memory, len(STORAGE.problems.uncounted()) > 0)
"""


@pytest.mark.parametrize("spill", [True, False], ids=["room-elsewhere", "no-room-anywhere"])
def test_a_full_file_system_stops_nobody(tmp_path: Path, spill: bool) -> None:
    """Filled for real: no SIGBUS, and every number that there is room for anywhere."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    mounts = f"mount -t tmpfs -o size=300k tmpfs {small} && "
    mounts += f"mount -t tmpfs -o size={'64m' if spill else '8k'} tmpfs {large} && "
    mounts += "mount -t tmpfs -o size=8k tmpfs /dev/shm && "
    command = ["unshare", "-m", "sh", "-c", mounts + 'exec "$0" "$@"']

    done = subprocess.run(
        [*command, sys.executable, "-c", FULL, str(small), str(large)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=scaled(60),
    )

    if "must be superuser" in done.stderr or "unshare failed" in done.stderr:
        assert "CI" not in os.environ, done.stderr
        pytest.skip("mounting a small file system needs more rights than this user has")
    assert done.returncode == 0, done.stderr
    kept, in_memory, told = done.stdout.split()
    assert told == "True"
    if spill:
        assert (float(kept), int(in_memory)) == (18000, 0)
    else:
        assert int(in_memory) > 0
        assert 9000 <= float(kept) < 18000
