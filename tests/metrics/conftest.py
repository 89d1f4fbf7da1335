"""Every test counts from nothing, and in no directory unless it asks for one."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from atom_platform.logs.config import set_line_counters
from atom_platform.metrics import caps
from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.storage.storage import STORAGE

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def _fresh_storage() -> Iterator[None]:
    """The process's storage is one per process: nothing of one test may be another's."""
    value_class = values.ValueClass
    set_line_counters()  # an application made by a test elsewhere had the log counted
    STORAGE.switch_to(None)
    caps.configure(max_ids=1000)
    yield
    STORAGE.switch_to(None)
    caps.configure(max_ids=1000)
    values.ValueClass = value_class


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    """A metrics directory that this process counts in."""
    path = tmp_path / "metrics"
    path.mkdir()
    STORAGE.switch_to(path)
    return path


@pytest.fixture
def collected() -> Callable[[], Samples]:
    """Return a function that reads back what all processes have counted."""
    collector = Collector()

    def read() -> Samples:
        return {
            (sample.name, sample.labels): sample.value
            for family in collector.collect().families()
            for sample in family.samples
        }

    return read


@pytest.fixture(name="fork")
def _fork() -> Callable[[Callable[[], None]], int]:
    """Return a function that runs another in a forked process, and waits for its end."""

    def fork(function: Callable[[], None]) -> int:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                function()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        return pid

    return fork
