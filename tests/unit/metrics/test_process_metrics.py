"""What /proc says of the service: the arbiter, its workers, and those that are gone."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from atom_platform.metrics.process_metrics import (
    CpuLedger,
    CpuReading,
    ProcessMetrics,
    watch_listeners,
)
from tests.support.polling import wait_until
from tests.support.script import Script, running_script

SERVICE = """
import os, signal, threading, time
from pathlib import Path
from atom_platform.metrics.storage import directory
from atom_platform.metrics.process_metrics import ProcessMetrics

processes = ProcessMetrics()

def start(path):
    directory.prepare(Path(path))

def fork_worker(seconds):
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass
        os.write(done, b"x")
        signal.pause()
    os.read(ready, 1)
    return pid

def reap(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def values():
    return {s.name: s.value for f in processes.families() for s in f.samples}

def values_in_worker():
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writes, repr(values()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return eval(os.read(reads, 9999))

def churn():
    for _ in range(60):
        reap(fork_worker(0.01))

churning = threading.Thread(target=churn)
"""


@pytest.fixture(name="service")
def _service(tmp_path: Path) -> Iterator[Script]:
    with running_script(SERVICE) as script:
        script.ask(f"start({str(tmp_path)!r})")
        yield script


def values(processes: ProcessMetrics) -> dict[str, float]:
    return {s.name: s.value for family in processes.families() for s in family.samples}


def test_without_an_arbiter_the_service_is_this_process() -> None:
    found = values(ProcessMetrics())

    usage = resource.getrusage(resource.RUSAGE_SELF)
    process = psutil.Process()
    assert found["process_cpu_seconds_total"] >= usage.ru_utime + usage.ru_stime - 1
    assert found["process_resident_memory_bytes"] == pytest.approx(
        process.memory_info().rss, rel=0.2
    )
    assert found["process_virtual_memory_bytes"] == pytest.approx(
        process.memory_info().vms, rel=0.2
    )
    assert found["process_open_fds"] == pytest.approx(process.num_fds(), abs=2)
    assert found["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert found["process_start_time_seconds"] == pytest.approx(process.create_time(), abs=2)
    assert "gunicorn_backlog" not in found


def test_the_service_is_its_arbiter_and_workers_together(service: Script) -> None:
    alone: dict[str, float] = service.ask("values()")
    workers = [service.ask("fork_worker(0.2)") for _ in range(2)]

    together: dict[str, float] = service.ask("values()")

    assert together["process_cpu_seconds_total"] >= alone["process_cpu_seconds_total"] + 0.38
    memory = "process_resident_memory_bytes"
    assert together[memory] == pytest.approx(
        sum(psutil.Process(pid).memory_info().rss for pid in (service.pid, *workers)), rel=0.1
    )
    assert together["process_open_fds"] > alone["process_open_fds"] * 2
    assert together["process_max_fds"] == alone["process_max_fds"] * 3
    assert together["process_virtual_memory_bytes"] > alone["process_virtual_memory_bytes"] * 2
    assert together["process_start_time_seconds"] == alone["process_start_time_seconds"]
    assert abs(together["process_start_time_seconds"] - time.time()) < 60
    for worker in workers:
        service.ask(f"reap({worker})")


def test_a_worker_sees_the_whole_service(service: Script) -> None:
    """Whichever worker is scraped."""
    service.ask("fork_worker(0.2)")

    in_worker: dict[str, Any] = service.ask("values_in_worker()")

    here: dict[str, Any] = service.ask("values()")
    assert in_worker["process_cpu_seconds_total"] <= here["process_cpu_seconds_total"]
    assert in_worker["process_cpu_seconds_total"] >= 0.2
    assert in_worker["process_start_time_seconds"] == here["process_start_time_seconds"]


def test_cpu_time_of_dead_workers_stays(service: Script) -> None:
    last = 0.0
    for _ in range(5):
        worker = service.ask("fork_worker(0.05)")
        for step in ("values()", f"reap({worker})", "values()"):
            answer = service.ask(step)
            if answer is not None:
                assert answer["process_cpu_seconds_total"] >= last
                last = answer["process_cpu_seconds_total"]

    assert last >= 0.24


def test_cpu_time_never_goes_back_while_workers_die(service: Script) -> None:
    """From outside, as another worker sees it: deaths and reapings in the middle of readings."""
    service.ask("churning.start()")
    seen: list[float] = []
    while service.ask("churning.is_alive()"):
        seen.append(service.ask("ProcessMetrics()._consistent([os.getpid()])[1]"))

    assert len(seen) > 5
    assert seen == sorted(seen)


def test_a_worker_reaped_between_two_readings_is_not_counted_twice(tmp_path: Path) -> None:
    """Its ticks move to the arbiter's; a sum over the moment of the move would be wrong."""

    class Reaping(ProcessMetrics):
        """A service whose worker is reaped while its numbers are read for the first time."""

        readings = 0

        def _children(self, pid: int) -> list[int]:
            self.readings += 1
            return [2] if self.readings == 1 else []

        def _stat(self, pid: int) -> Any:
            found = super()._stat(pid)
            if pid == 2:
                write_stat(tmp_path, 1, "arbiter", 10, 500)
            return found

    write_stat(tmp_path, 1, "arbiter", 10, 0)
    write_stat(tmp_path, 2, "worker", 500, 0)

    assert Reaping(proc=tmp_path)._consistent([1]) == ([1], 510)


def write_stat(root: Path, pid: int, name: str, own: int, reaped: int) -> None:
    (root / str(pid)).mkdir(parents=True, exist_ok=True)
    fields = ["S", "1", *["0"] * 9, str(own), "0", str(reaped), "0", *["0"] * 4, "77", *["0"] * 30]
    (root / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


def test_a_process_may_be_called_anything(tmp_path: Path) -> None:
    """The name in /proc/<pid>/stat may hold spaces and brackets."""
    write_stat(tmp_path, os.getpid(), "a) b (c", 300, 200)

    found = values(ProcessMetrics(proc=tmp_path))

    assert found["process_cpu_seconds_total"] == 500 / os.sysconf("SC_CLK_TCK")


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    found = values(ProcessMetrics(proc=tmp_path))

    assert "process_cpu_seconds_total" not in found
    assert "process_start_time_seconds" not in found


def test_a_counter_stays_when_it_cannot_be_read_again(tmp_path: Path) -> None:
    """An arbiter that leaves after SIGUSR2 may be gone between two looks at it."""
    processes = ProcessMetrics(proc=tmp_path)
    write_stat(tmp_path, os.getpid(), "arbiter", 300, 200)
    before = values(processes)
    shutil.rmtree(tmp_path / str(os.getpid()))

    after = values(processes)

    counter = "process_cpu_seconds_total"
    assert after[counter] == before[counter] > 0


@pytest.fixture(name="listener")
def _listener() -> Iterator[Callable[[], socket.socket]]:
    with ExitStack() as stack:

        def listen() -> socket.socket:
            made = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=16))
            watch_listeners([made])
            stack.callback(watch_listeners, [])
            return made

        yield listen


def test_connections_that_nobody_took_are_the_backlog(
    listener: Callable[[], socket.socket],
) -> None:
    server = listener()
    assert values(ProcessMetrics())["gunicorn_backlog"] == 0

    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(server.getsockname()))

        def waiting() -> bool:
            return values(ProcessMetrics())["gunicorn_backlog"] == 3

        wait_until(waiting)
        server.accept()[0].close()
        assert values(ProcessMetrics())["gunicorn_backlog"] == 2


def test_a_unix_socket_has_no_backlog_to_tell(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        watch_listeners([server])
        try:
            assert "gunicorn_backlog" not in values(ProcessMetrics())
        finally:
            watch_listeners([])


def test_what_one_worker_told_no_other_takes_back(tmp_path: Path) -> None:
    """A reading across a death lacks the dead one's ticks for a moment."""
    one, other = CpuLedger(tmp_path, "life"), CpuLedger(tmp_path, "life")

    told = [
        one.advance(lambda: CpuReading(100, (7,))),
        other.advance(lambda: CpuReading(90, (7,))),
        one.advance(lambda: CpuReading(130, (7,))),
    ]

    assert told == [100, 100, 130]


def test_an_arbiter_that_leaves_takes_nothing_along(tmp_path: Path) -> None:
    ledger = CpuLedger(tmp_path, "life")

    told = [
        ledger.advance(lambda: CpuReading(1000, (7,))),
        ledger.advance(lambda: CpuReading(1200, (7, 8))),
        ledger.advance(lambda: CpuReading(150, (8,))),
        ledger.advance(lambda: CpuReading(170, (8,))),
    ]

    assert told == [1000, 1200, 1200, 1220]


@pytest.mark.parametrize("before", [b"", b"nonsense", b"another 500 0 7\n"])
def test_another_life_or_none_is_a_new_beginning(tmp_path: Path, before: bytes) -> None:
    (tmp_path / ".cpu").write_bytes(before)

    assert CpuLedger(tmp_path, "life").advance(lambda: CpuReading(3, (7,))) == 3


def test_who_holds_it_for_ever_is_not_waited_for(tmp_path: Path) -> None:
    ledger = CpuLedger(tmp_path, "life")
    ledger.advance(lambda: CpuReading(3, (7,)))

    with (tmp_path / ".cpu").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            ledger.advance(lambda: CpuReading(4, (7,)))
