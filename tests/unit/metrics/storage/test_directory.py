"""One directory per life of the service: whose it is, when it is emptied, when it goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.polling import wait_until
from tests.support.script import Script, running_script

SERVICE = """
import os, signal, sys
from pathlib import Path
from atom_platform.metrics.storage import directory

def start(path):
    made = directory.prepare(Path(path) if path else None)
    problem = made.problem
    return [str(made.path), made.private, problem and problem.event, problem and problem.fault]

def fork_worker():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid

def reexec(path, announced=True):
    '''What gunicorn's arbiter does on SIGUSR2.'''
    master = os.getpid()
    answers, child_writes = os.pipe()
    child_reads, orders = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(child_reads, 0)
        os.dup2(child_writes, 1)
        environment = {**os.environ, **({"GUNICORN_PID": str(master)} if announced else {})}
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        os.execve(sys.executable, sys.orig_argv, environment)
    os.close(child_reads)
    os.close(child_writes)
    global successor
    successor = pid, open(answers), open(orders, "w")
    return pid

def ask_successor(line):
    import json
    print(line, file=successor[2], flush=True)
    return json.loads(successor[1].readline())

def end_successor():
    successor[2].close()
    os.waitpid(successor[0], 0)
"""


@pytest.fixture(name="memory")
def _memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where private directories go: no other service of this machine looks there."""
    return tmp_path_factory.mktemp("memory")


@pytest.fixture(name="service")
def _service(memory: Path) -> Iterator[Callable[..., Script]]:
    with ExitStack() as stack:
        yield lambda **env: stack.enter_context(running_script(SERVICE, env=env, memory=memory))


def test_the_configured_directory_is_made_and_named(
    service: Callable[..., Script], tmp_path: Path
) -> None:
    path = tmp_path / "not" / "yet"
    one = service()

    assert one.ask(f"start({str(path)!r})") == [str(path), False, None, None]
    assert one.ask("os.environ['PROMETHEUS_MULTIPROC_DIR']") == str(path)
    assert path.is_dir()


def test_what_an_earlier_life_left_is_removed_and_nothing_else(
    service: Callable[..., Script], tmp_path: Path
) -> None:
    for name in (
        "counter_slot0.columnar",
        "counter_slot0.db",
        "histogram_77.db",
        "exemplars_slot0.exemplars",
        "x.0.corrupt",
        "notes.txt",
    ):
        (tmp_path / name).write_bytes(b"x")

    service().ask(f"start({str(tmp_path)!r})")

    assert sorted(p.name for p in tmp_path.iterdir()) == [".owner", "notes.txt"]


def test_asking_again_changes_nothing(service: Callable[..., Script], tmp_path: Path) -> None:
    """gunicorn runs its configuration again on SIGHUP."""
    one = service()
    first = one.ask(f"start({str(tmp_path)!r})")
    (tmp_path / "counter_slot0.columnar").write_bytes(b"x")

    assert one.ask(f"start({str(tmp_path)!r})") == first
    assert (tmp_path / "counter_slot0.columnar").exists()


def test_without_a_setting_a_private_directory_lives_as_long_as_the_service(
    service: Callable[..., Script], memory: Path
) -> None:
    one = service()
    path, private, event, _ = one.ask("start(None)")

    assert private
    assert event is None
    assert Path(path).parent == memory
    assert Path(path).stat().st_mode & 0o777 == 0o700

    one.end()

    assert not Path(path).exists()


def test_a_killed_service_leaves_a_directory_that_the_next_one_removes(
    service: Callable[..., Script],
) -> None:
    one = service()
    path = Path(one.ask("start(None)")[0])
    one.kill()
    assert path.exists()

    other = service().ask("start(None)")[0]

    assert not path.exists()
    assert Path(other).exists()


@pytest.mark.parametrize("path", ["/dev/null/metrics", "/proc/metrics"])
def test_an_unusable_directory_is_replaced_and_told(
    service: Callable[..., Script], memory: Path, path: str
) -> None:
    chosen, private, event, fault = service().ask(f"start({path!r})")

    assert private
    assert Path(chosen).parent == memory
    assert (event, fault) == ("metrics_directory_unusable", True)


def test_a_second_service_gets_a_directory_of_its_own_inside(
    service: Callable[..., Script], tmp_path: Path
) -> None:
    one, two = service(), service()
    one.ask(f"start({str(tmp_path)!r})")
    counted = tmp_path / "counter_slot0.columnar"
    counted.write_bytes(b"x")

    path, private, event, fault = two.ask(f"start({str(tmp_path)!r})")

    assert Path(path).parent == tmp_path
    assert private
    assert (event, fault) == ("metrics_directory_in_use", False)
    assert counted.exists()

    two.end()

    assert not Path(path).exists()
    assert counted.exists()


def test_nothing_is_emptied_under_a_worker_that_outlived_its_arbiter(
    service: Callable[..., Script], tmp_path: Path
) -> None:
    one = service()
    one.ask(f"start({str(tmp_path)!r})")
    worker = one.ask("fork_worker()")
    try:
        one.kill()
        (tmp_path / "counter_slot0.columnar").write_bytes(b"x")

        early = service().ask(f"start({str(tmp_path)!r})")

        assert early[2] == "metrics_directory_in_use"
        assert (tmp_path / "counter_slot0.columnar").exists()
    finally:
        os.kill(worker, 9)
    # Its parent is gone, so this test cannot wait for it: only the lock tells that it has ended.

    def takes_it() -> bool:
        return bool(service().ask(f"start({str(tmp_path)!r})")[2] is None)

    wait_until(takes_it)

    assert not (tmp_path / "counter_slot0.columnar").exists()


@pytest.mark.parametrize("configured", [True, False], ids=["configured", "private"])
def test_a_reexecuted_arbiter_joins_the_directory_of_the_old_one(
    service: Callable[..., Script], tmp_path: Path, configured: bool
) -> None:
    """SIGUSR2: both count side by side, and the directory stays until the last of them goes."""
    asked = str(tmp_path) if configured else None
    old = service()
    path = Path(old.ask(f"start({asked!r})")[0])
    counted = path / "counter_slot0.columnar"
    counted.write_bytes(b"x")
    new = old.ask(f"reexec({asked!r})")

    joined = old.ask(f"ask_successor({f'start({asked!r})'!r})")

    assert joined == [str(path), not configured, None, None]
    assert counted.exists()
    assert str(new) in (path / ".owner").read_text().split()
    assert old.ask("end_successor()") is None
    assert counted.exists()

    old.end()

    assert path.exists() is configured


def test_a_gunicorn_that_an_arbiter_merely_started_is_a_service_of_its_own(
    service: Callable[..., Script], tmp_path: Path
) -> None:
    one = service()
    one.ask(f"start({str(tmp_path)!r})")
    one.ask(f"reexec({str(tmp_path)!r}, announced=False)")

    other = one.ask(f"ask_successor({f'start({str(tmp_path)!r})'!r})")

    assert other[2] == "metrics_directory_in_use"
    one.ask("end_successor()")


def test_a_gunicorn_that_a_worker_started_is_a_service_of_its_own(
    service: Callable[..., Script], tmp_path: Path
) -> None:
    """It inherits the environment with GUNICORN_PID, but was not re-executed by an arbiter."""
    one = service()
    one.ask(f"start({str(tmp_path)!r})")

    other = service(GUNICORN_PID=str(one.pid)).ask(f"start({str(tmp_path)!r})")

    assert other[2] == "metrics_directory_in_use"


def test_the_arbiter_of_a_daemon_adopts_what_its_parent_prepared(
    service: Callable[..., Script], tmp_path: Path
) -> None:
    """`--daemon` forks after the configuration ran."""
    one = service()
    one.ask(f"start({str(tmp_path)!r})")

    one.ask("directory.become_arbiter()")
    assert (tmp_path / ".owner").read_text().split()[2:] == [str(one.pid)]
    child = one.ask("(pid := os.fork()) or (directory.become_arbiter(), os._exit(0))")
    one.ask(f"os.waitpid({child}, 0)")

    assert (tmp_path / ".owner").read_text().split()[2:] == [str(child)]
