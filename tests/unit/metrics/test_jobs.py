"""Scripts and background workers count with the service, from slots of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from atom_platform.metrics import instruments
from atom_platform.metrics.jobs import counting_with_service
from atom_platform.metrics.storage.storage import STORAGE
from tests.support.script import running_script
from tests.unit.metrics.conftest import Samples
from tests.unit.metrics.test_instruments import at

Collected = Callable[[], Samples]

JOB = """
from atom_platform.metrics import instruments, track
from atom_platform.metrics.jobs import counting_with_service
from pathlib import Path

def run(path=None):
    with counting_with_service(Path(path) if path else None) as found:
        with track.track_agent("nightly"):
            instruments.set_threads(3)
        return found and str(found)
"""

PLAIN = """
from prometheus_client import Counter, Gauge
counter = Counter("plain", "A process that knows only prometheus_client.")
gauge = Gauge("plain_running", "Its gauge.", multiprocess_mode="livesum")
"""

EXECUTIONS = at("agent_executions_total", agent_id="nightly", status="success")


@pytest.mark.parametrize("named", ["argument", "environment"])
def test_a_jobs_counts_stay_and_its_gauges_go(
    directory: Path, collected: Collected, named: str
) -> None:
    instruments.worker_started()
    env = {"PROMETHEUS_MULTIPROC_DIR": str(directory)} if named == "environment" else {}
    argument = repr(str(directory)) if named == "argument" else ""

    for _ in range(3):
        with running_script(JOB, env=env) as job:
            assert job.ask(f"run({argument})") == str(directory)

    found = collected()
    assert found[EXECUTIONS] == 3
    assert at("gunicorn_threads") not in found
    assert len(list(directory.glob("counter_*.columnar"))) == 1  # one slot for all three


SERVICE = """
from atom_platform.metrics.storage import directory

def prepare():
    return str(directory.prepare(None).path)
"""


@pytest.mark.parametrize("temporary", ["", "tmp"], ids=["in-memory", "on-disk"])
def test_a_job_finds_the_one_service_that_runs_here(tmp_path: Path, temporary: str) -> None:
    env = {"TMPDIR": str(tmp_path / temporary)}
    with running_script(SERVICE, env=env, memory=tmp_path) as one:
        path = one.ask("prepare()")

        with running_script(JOB, env=env, memory=tmp_path) as job:
            assert job.ask("run()") == path
        one.end()


def test_a_job_beside_two_services_does_not_guess(tmp_path: Path) -> None:
    with (
        running_script(SERVICE, memory=tmp_path) as one,
        running_script(SERVICE, memory=tmp_path) as two,
        running_script(JOB, memory=tmp_path) as job,
    ):
        assert one.ask("prepare()") != two.ask("prepare()")

        assert job.ask("run()") is None
        one.end()
        two.end()


def test_after_the_block_the_job_counts_for_itself(directory: Path) -> None:
    STORAGE.switch_to(None)
    with counting_with_service(directory):
        instruments.count_log_message("INFO")
    instruments.count_log_message("INFO")

    assert STORAGE.directory is None
    assert len(list(directory.glob("counter_*.columnar"))) == 1


def test_plain_prometheus_client_processes_are_scraped_too(
    directory: Path, collected: Collected
) -> None:
    """They know the environment variable and nothing else."""
    instruments.worker_started()
    env = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    with running_script(PLAIN, env=env) as plain:
        plain.ask("counter.inc(5)")
        plain.ask("gauge.set(7)")

        alive = collected()

        assert alive[at("plain_total")] == 5
        assert alive[at("plain_running")] == 7
        plain.kill()
    dead = collected()

    assert dead[at("plain_total")] == 5
    assert at("plain_running") not in dead
