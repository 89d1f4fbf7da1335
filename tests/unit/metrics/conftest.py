"""Every test starts with zero counts, in memory unless it asks for a metrics directory."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from atom_platform.logs.config import set_line_counters
from atom_platform.metrics import label_limits
from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.storage.storage import STORAGE

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def _fresh_storage() -> Iterator[None]:
    """Reset the storage of the process, so that no test sees what another counted."""
    value_class = values.ValueClass
    set_line_counters()  # an application of another test may have had log lines counted
    STORAGE.switch_to(None)
    label_limits.set_max_values(1000)
    yield
    STORAGE.switch_to(None)
    label_limits.set_max_values(1000)
    values.ValueClass = value_class


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    """Return the metrics directory in which this process counts."""
    path = tmp_path / "metrics"
    path.mkdir()
    STORAGE.switch_to(path)
    return path


@pytest.fixture
def collected() -> Callable[[], Samples]:
    """Return a function that reads the samples of all processes."""
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
    """Return a function that calls its argument in a forked process and waits for its exit."""

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
