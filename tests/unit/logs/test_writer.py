"""Lines stay whole and writers never block, whatever the reader does; with real processes."""

from __future__ import annotations

import collections
import fcntl
import json
import math
import os
import select
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from atom_platform.logs.access_log import AccessEntry
from atom_platform.logs.writer import Writer
from tests.support.polling import wait_until
from tests.support.records import record_of
from tests.support.service import ROOT
from tests.support.stalls import scaled

PRELUDE = """
import json, os, signal, sys, time
from atom_platform.logs.writer import Writer
drops = {}
def on_drop(reason, lines):
    drops[reason] = drops.get(reason, 0) + lines
def line(**fields):
    return json.dumps(fields).encode() + b"\\n"
def report(**fields):
    sys.stderr.write(json.dumps({"drops": drops, **fields}) + "\\n")
    sys.stderr.flush()
"""


@pytest.fixture(name="run")
def _run() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that runs code after the prelude; its processes are killed at the end."""
    started = []

    def run(code: str, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **{"stdout": subprocess.PIPE, **options},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait(scaled(10))
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def result_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return the report of the process, which must have ended by itself."""
    assert process.stderr is not None
    report = process.stderr.read()
    assert process.wait(scaled(30)) == 0, report
    decoded: dict[str, Any] = json.loads(report)
    return decoded


def test_lines_of_eight_processes_do_not_mix(run: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = run(
        """
        writer = Writer(1, on_drop=on_drop)
        sizes = (10, 5_000, 100_000, 300, 70_000, 1_000_000)
        children = []
        for child in range(8):
            pid = os.fork()
            if pid == 0:
                for number in range(24):
                    writer.write(line(child=child, number=number, text="x" * sizes[number % 6]))
                    if number % 4 == 3:
                        writer.flush(60)
                writer.close(60)
                os._exit(1 if drops else 0)
            children.append(pid)
        report(failed=sum(os.waitpid(pid, 0)[1] for pid in children))
        """
    )
    assert process.stdout is not None

    lines = [json.loads(each) for each in process.stdout]

    assert result_of(process)["failed"] == 0
    per_child = collections.defaultdict(list)
    for each in lines:
        per_child[each["child"]].append(each["number"])
    assert per_child == {child: list(range(24)) for child in range(8)}


def test_a_stopped_reader_blocks_no_writer(run: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = run(
        """
        writer = Writer(1, on_drop=on_drop, describe_loss=lambda lines: line(lost=lines))
        slowest = 0.0
        for number in range(30_000):
            before = time.monotonic()
            writer.write(line(number=number, text="x" * 300))
            slowest = max(slowest, time.monotonic() - before)
        report(slowest=slowest)
        sys.stdin.readline()
        writer.write(line(number="after"))
        """
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stderr is not None
    report = json.loads(process.stderr.readline())

    assert report["slowest"] < 2
    assert report["drops"]["queue_full"] > 10_000

    reader = iter(process.stdout)
    first = [json.loads(next(reader)) for _ in range(5_000)]
    process.stdin.write(b"\n")
    process.stdin.close()
    rest = [json.loads(each) for each in reader]
    numbers = [each["number"] for each in first + rest if "number" in each]

    assert process.wait(scaled(10)) == 0
    assert numbers[-1] == "after"
    assert numbers[:-1] == list(range(30_000 - report["drops"]["queue_full"]))
    assert sum(each.get("lost", 0) for each in first + rest) == report["drops"]["queue_full"]


def test_exit_does_not_wait_for_a_stopped_reader(
    run: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = run(
        """
        writer = Writer(1, on_drop=on_drop)
        for number in range(5_000):
            writer.write(line(number=number, text="x" * 300))
        """
    )

    started = time.monotonic()
    assert process.wait(scaled(30)) == 0

    # The timeout is 2 s; a busy machine needs the rest.
    assert time.monotonic() - started < scaled(15)


def test_a_closed_reader_costs_lines_only(
    run: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = run(
        """
        writer = Writer(1, on_drop=on_drop)
        sys.stdin.readline()
        for number in range(100):
            writer.write(line(number=number))
        writer.flush(10)
        report()
        """
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()

    assert result_of(process)["drops"] == {"write_error": 100}


def test_a_full_disk_costs_lines_only() -> None:
    drops: dict[str, int] = collections.Counter()
    fd = os.open("/dev/full", os.O_WRONLY)
    writer = Writer(fd, on_drop=lambda reason, lines: drops.update({reason: lines}))

    for _ in range(10):
        writer.write(b"{}\n")
    writer.flush(10)
    writer.close()
    os.close(fd)

    assert drops == {"write_error": 10}


def test_a_line_after_an_incomplete_one_is_whole(
    tmp_path: Path, run: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """A limit on the size of the file simulates a disk that is full, and has room again."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        process = run(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            writer = Writer(1, on_drop=on_drop)
            writer.write(line(number=1, text="x" * 600))
            writer.write(line(number=2, text="x" * 600))
            writer.flush(10)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            writer.write(line(number=3))
            writer.flush(10)
            report()
            """,
            stdout=file,
        )
        report = result_of(process)

    first, half, third = path.read_bytes().splitlines()
    assert report["drops"] == {"write_error": 1}
    assert json.loads(first)["number"] == 1
    assert len(half) == 1000 - len(first) - 1
    assert json.loads(third) == {"number": 3}


def test_a_process_killed_in_the_middle_of_a_line_breaks_no_other(
    run: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = run(
        """
        writer = Writer(1, on_drop=on_drop)
        child = os.fork()
        if child == 0:
            writer.write(line(number=1, text="x" * 500_000))
            time.sleep(600)
        sys.stdin.readline()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        writer.write(line(number=2))
        writer.close(60)
        report()
        """
    )
    assert process.stdout is not None
    assert process.stdin is not None
    wait_until(lambda: bytes_in(process) >= 60_000)
    process.stdin.write(b"\n")
    process.stdin.close()

    torn, whole = process.stdout.read().splitlines()

    assert torn.startswith(b'{"number": 1')
    assert json.loads(whole) == {"number": 2}
    assert result_of(process)["drops"] == {}


def bytes_in(process: subprocess.Popen[bytes]) -> int:
    """Return the unread bytes in the pipe."""
    assert process.stdout is not None
    (waiting,) = struct.unpack("i", fcntl.ioctl(process.stdout, termios.FIONREAD, b"\0" * 4))
    return int(waiting)


def test_lines_queued_before_a_fork_are_written_once(
    run: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = run(
        """
        writer = Writer(1, on_drop=on_drop, batch_seconds=1.0)
        writer.write(line(who="parent"))
        for child in range(3):
            if os.fork() == 0:
                writer.write(line(who=f"child {child}"))
                if os.fork() == 0:
                    writer.write(line(who=f"grandchild {child}"))
                sys.exit()
            os.wait()
        report()
        """
    )
    assert process.stdout is not None
    assert process.stderr is not None

    written = sorted(json.loads(each)["who"] for each in process.stdout)

    expected = [f"{who} {child}" for who in ("child", "grandchild") for child in range(3)]
    assert written == [*expected, "parent"]


def test_a_process_of_multiprocessing_loses_no_lines(
    run: Callable[..., subprocess.Popen[bytes]],
) -> None:
    """Such a process ends without `atexit`."""
    process = run(
        """
        import multiprocessing
        writer = Writer(1, on_drop=on_drop, batch_seconds=30.0)
        def work():
            writer.write(line(who="pool"))
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        report()
        """
    )
    assert process.stdout is not None

    assert [json.loads(each) for each in process.stdout] == [{"who": "pool"}]


def test_a_non_blocking_output_gets_everything(
    run: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = run(
        """
        os.set_blocking(1, False)
        writer = Writer(1, on_drop=on_drop)
        for number in range(200):
            writer.write(line(number=number, text="x" * 10_000))
        writer.close(60)
        report()
        """
    )
    assert process.stdout is not None

    assert [json.loads(each)["number"] for each in process.stdout] == list(range(200))
    assert result_of(process)["drops"] == {}


def test_a_signal_handler_may_log_at_any_moment(
    run: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = run(
        """
        writer = Writer(1, on_drop=on_drop, max_lines=10**6, max_bytes=10**9)
        handled = 0
        def handler(number, frame):
            global handled
            handled += 1
            writer.write(line(handled=handled))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for number in range(20_000):
            writer.write(line(number=number))
        signal.setitimer(signal.ITIMER_REAL, 0)
        writer.close(60)
        report(handled=handled)
        """
    )
    assert process.stdout is not None
    lines = [json.loads(each) for each in process.stdout]
    report = result_of(process)

    assert report["handled"] > 0
    assert report["drops"] == {}
    assert sum("handled" in each for each in lines) == report["handled"]
    assert [each["number"] for each in lines if "number" in each] == list(range(20_000))


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        os.close(fd)


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_a_critical_line_is_written_without_a_pause(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = Writer(writing, batch_seconds=60)

    writer.write(b"{}\n")
    writer.write(b"[]\n", "CRITICAL")

    wait_until(lambda: readable(reading), seconds=10)
    assert os.read(reading, 100) == b"{}\n[]\n"
    writer.close()


def test_a_line_after_close_is_written_or_dropped_at_once(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    drops: list[tuple[str, int]] = []
    writer = Writer(writing, on_drop=lambda reason, lines: drops.append((reason, lines)))
    writer.close()

    writer.write(b"{}\n")
    assert os.read(reading, 100) == b"{}\n"

    fill(writing)
    writer.write(b"{}\n")
    assert drops == [("write_error", 1)]


def fill(fd: int) -> None:
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(fd, True)


def test_a_failing_tick_or_counter_costs_no_line(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    ticked = threading.Event()

    def tick() -> None:
        ticked.set()
        raise RuntimeError

    def count(reason: str, lines: int) -> None:
        raise RuntimeError

    writer = Writer(writing, on_tick=tick, on_drop=count, max_bytes=100)
    writer.write(b"x" * 200 + b"\n")
    writer.start()
    assert ticked.wait(10)
    writer.write(b"{}\n")
    assert writer.flush(10)

    assert os.read(reading, 1000) == b"{}\n"
    writer.close()


def test_a_closed_descriptor_costs_lines_only(run: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = run(
        """
        os.close(1)
        writer = Writer(1, on_drop=on_drop)
        writer.write(line())
        writer.close()
        report()
        """
    )

    assert result_of(process)["drops"] == {"write_error": 1}


def test_short_lines_are_bounded_by_number_and_long_ones_by_size(pipe: tuple[int, int]) -> None:
    """The bounds hold while nobody reads, and again after everything was written."""
    _, writing = pipe
    drops: collections.Counter[str] = collections.Counter()
    counted: collections.Counter[str] = collections.Counter()
    writer = Writer(
        writing,
        max_lines=10,
        max_bytes=1000,
        batch_seconds=60.0,
        on_drop=lambda reason, lines: drops.update({reason: lines}),
        on_lines=lambda level, lines: counted.update({level: lines}),
    )
    try:
        for _ in range(2):
            drops.clear()
            for level in ("INFO", "ERROR", "INFO", "INFO"):
                writer.write(b"x" * 399 + b"\n", level)

            assert drops == {"queue_full": 2}

            for _ in range(12):
                writer.write(b"y" * 99 + b"\n")

            assert drops == {"queue_full": 6}
            assert writer.flush(30)
    finally:
        writer.close()

    assert counted == {"INFO": 18, "ERROR": 2}


def test_threads_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    """`write` takes no lock."""
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = Writer(fd, max_lines=10**6, max_bytes=10**9, batch_seconds=0.0)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def write(thread: int) -> None:
            for number in range(1000):
                writer.write(b"%d %d\n" % (thread, number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        wait_until(lambda: path.read_bytes().count(b"\n") == 8000)
    finally:
        sys.setswitchinterval(before)
        writer.close()
        os.close(fd)

    numbers = collections.defaultdict(list)
    for each in path.read_text().splitlines():
        thread, number = map(int, each.split())
        numbers[thread].append(number)
    assert numbers == {thread: list(range(1000)) for thread in range(8)}


def entry(level: str = "INFO", seconds: float = 0.25) -> AccessEntry:
    record = record_of("GET", "/a", 200, seconds, body_bytes=7, request_id="req-1")
    return AccessEntry(1.5, record, "", level)


def test_an_access_line_is_made_by_the_thread_that_writes(tmp_path: Path) -> None:
    """It is written between the lines before and after it, and counted under its own level."""
    levels: list[tuple[str, int]] = []
    with (tmp_path / "log").open("wb") as file:
        writer = Writer(file.fileno(), on_lines=lambda *told: levels.append(told))
        writer.write_deferred(entry())
        wait_until(lambda: (tmp_path / "log").stat().st_size > 0)
        writer.write(b"before\n")
        writer.write_deferred(entry(level="WARNING"))
        writer.write(b"after\n")
        writer.close()

    _, before, line, after = (tmp_path / "log").read_bytes().splitlines()
    assert (before, after) == (b"before", b"after")
    assert json.loads(line)["duration_ms"] == 250
    assert sum(lines for level, lines in levels if level == "WARNING") == 1
    assert sum(lines for level, lines in levels if level == "INFO") == 3


def test_access_lines_in_a_full_queue_are_dropped_and_counted(tmp_path: Path) -> None:
    drops: list[tuple[str, int]] = []
    with (tmp_path / "log").open("wb") as file:
        writer = Writer(
            file.fileno(), max_lines=2, batch_seconds=60, on_drop=lambda *told: drops.append(told)
        )
        for _ in range(5):
            writer.write_deferred(entry())
        writer.close()

    assert drops == [("queue_full", 1)] * 3
    assert len((tmp_path / "log").read_bytes().splitlines()) == 2


def test_an_access_line_after_close_is_written_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = Writer(file.fileno())
        writer.close()
        writer.write_deferred(entry())

    assert json.loads((tmp_path / "log").read_bytes())["path"] == "/a"


def test_an_invalid_entry_costs_its_own_line_only(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = Writer(file.fileno())
        writer.write_deferred(entry(seconds=math.nan))
        writer.write_deferred(entry())
        writer.close()

    events = [json.loads(x)["event"] for x in (tmp_path / "log").read_bytes().splitlines()]
    assert events == ["log_line_discarded", "http_request"]
