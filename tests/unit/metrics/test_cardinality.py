"""100,000 ids: memory, files and scrape stay bounded, and no observation is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from atom_platform.metrics import instruments, label_limits, track
from atom_platform.metrics.scrape.exposition import negotiate
from atom_platform.metrics.scrape.page import SharedScrape
from atom_platform.metrics.storage.storage import STORAGE
from tests.support.stalls import scaled
from tests.unit.metrics.conftest import Samples
from tests.unit.metrics.test_instruments import at

Collected = Callable[[], Samples]
Fork = Callable[[Callable[[], None]], int]


def run_agents(first: int, last: int) -> None:
    for number in range(first, last):
        with track.track_agent(f"agent-{number}"):
            pass


def test_100000_ids_take_no_more_room_than_the_limit(directory: Path, collected: Collected) -> None:
    label_limits.set_max_values(200)
    run_agents(0, 1000)
    scrape = SharedScrape()
    scrape.answer(negotiate())
    process = psutil.Process()
    resident, size = process.memory_info().rss, _size(directory)

    run_agents(1000, 100_000)
    started_at = time.perf_counter()
    body = scrape.answer(negotiate()).body
    took = time.perf_counter() - started_at

    assert process.memory_info().rss - resident < 20 * 1024**2
    assert _size(directory) == size
    assert len(body) < 1_000_000
    assert took < scaled(5.0)  # the stock collector without a limit needs 45 s
    found = collected()
    assert found[at("agent_executions_total", agent_id="other", status="success")] == 99_800
    assert found[at("metric_label_overflows_total", metric="agent_executions_total")] == 99_800
    assert found[at("agent_execution_duration_seconds_count", agent_id="other")] == 99_800


def test_the_limit_holds_for_a_slot_over_all_its_workers(
    directory: Path, collected: Collected, fork: Fork
) -> None:
    """Recycled workers, each with new ids, do not fill the file of the slot without end."""
    label_limits.set_max_values(50)
    instruments.worker_started()
    for life in range(20):
        fork(lambda first=life * 40: run_agents(first, first + 40))  # type: ignore[misc]

    found = collected()

    ids = {dict(labels)["agent_id"] for name, labels in found if name == "agent_executions_total"}
    assert len(ids) == 51
    total = sum(value for (name, _), value in found.items() if name == "agent_executions_total")
    assert total == 800


def test_the_next_worker_of_a_slot_knows_the_ids_in_it(
    directory: Path, collected: Collected, fork: Fork
) -> None:
    label_limits.set_max_values(2)
    instruments.worker_started()
    fork(lambda: run_agents(0, 2))
    fork(lambda: run_agents(1, 3))

    found = collected()

    assert found[at("agent_executions_total", agent_id="agent-1", status="success")] == 2
    assert found[at("agent_executions_total", agent_id="other", status="success")] == 1


def _size(directory: Path) -> int:
    STORAGE.heartbeat()
    return sum(path.stat().st_size for path in directory.glob("*_slot*.*"))
