"""track_agent, track_skill and track_query: statuses, nesting, and gauges that always fall."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from atom_platform.metrics import label_limits
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.track import track_agent, track_query, track_skill
from atom_platform.skills import SkillFailed
from tests.unit.metrics.conftest import Samples
from tests.unit.metrics.test_instruments import at

Collected = Callable[[], Samples]


class Abrupt(BaseException):
    """Stands for SystemExit in the middle of an agent."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "success"),
        (SkillFailed("no"), "failure"),
        (ValueError("bug"), "error"),
        (Abrupt(), "error"),
    ],
)
@pytest.mark.parametrize("as_decorator", [True, False], ids=["decorator", "with"])
def test_the_status_is_counted_and_the_exception_passes(
    collected: Collected, error: BaseException | None, status: str, as_decorator: bool
) -> None:
    def work() -> int:
        assert collected()[at("active_agents")] == 1
        if error is not None:
            raise error
        return 7

    def run() -> int:
        if as_decorator:
            return track_agent("a")(work)()
        with track_agent("a"):
            return work()

    if error is None:
        assert run() == 7
    else:
        with pytest.raises(type(error)):
            run()

    found = collected()
    counts = {
        dict(labels)["status"]: value
        for (name, labels), value in found.items()
        if name == "agent_executions_total"
    }
    assert counts == {"success": 0, "failure": 0, "error": 0, status: 1}
    assert found[at("agent_execution_duration_seconds_count", agent_id="a")] == 1
    assert found[at("active_agents")] == 0


def test_trackers_nest_and_are_reentrant(collected: Collected) -> None:
    tracker = track_skill("s")

    with tracker, track_skill("inner"), tracker:
        pass

    found = collected()
    assert found[at("skill_executions_total", skill_id="s", status="success")] == 2
    assert found[at("skill_executions_total", skill_id="inner", status="success")] == 1


def test_threads_may_share_a_tracker(collected: Collected) -> None:
    tracker = track_agent("a")
    inside = threading.Barrier(8)

    def run() -> None:
        with tracker:
            inside.wait(10)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = collected()
    assert found[at("agent_executions_total", agent_id="a", status="success")] == 8
    assert found[at("active_agents")] == 0
    assert not tracker._entered


def test_a_coroutine_is_tracked_to_its_end(collected: Collected) -> None:
    @track_skill("s")
    async def work() -> str:
        await asyncio.sleep(0)
        assert at("skill_executions_total", skill_id="s", status="success") not in collected()
        return "done"

    assert asyncio.run(work()) == "done"
    assert collected()[at("skill_executions_total", skill_id="s", status="success")] == 1


def test_a_generator_function_is_refused() -> None:
    """Its call only makes the generator; the work comes later."""

    def work() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        track_skill("s")(work)


@pytest.mark.parametrize(
    ("operation", "label"),
    [("select", "select"), ("INSERT", "insert"), ("drop table", "other"), ("", "other")],
)
def test_an_unknown_operation_counts_as_other(
    collected: Collected, operation: str, label: str
) -> None:
    with track_query(operation):
        pass

    assert collected()[at("db_query_duration_seconds_count", operation=label)] == 1


def test_ids_are_limited_and_made_valid_text(collected: Collected) -> None:
    label_limits.set_max_values(5)
    for number in range(8):
        with track_agent(f"agent-{number}"):
            pass
    with track_agent("agent-1"):
        pass
    with track_skill("\ud800" + "x" * 500):
        pass

    found = collected()

    ids = {dict(labels)["agent_id"] for name, labels in found if name == "agent_executions_total"}
    assert ids == {*(f"agent-{number}" for number in range(5)), "other"}
    assert found[at("agent_executions_total", agent_id="other", status="success")] == 3
    assert found[at("agent_execution_duration_seconds_count", agent_id="other")] == 3
    assert found[at("agent_executions_total", agent_id="agent-1", status="success")] == 2
    for metric in ("agent_executions_total", "agent_execution_duration_seconds"):
        assert found[at("metric_label_overflows_total", metric=metric)] == 3
    skill = "?" + "x" * 127
    assert found[at("skill_executions_total", skill_id=skill, status="success")] == 1


def test_only_the_parent_counts_a_block_in_which_the_process_forks(
    tmp_path: os.PathLike[str], collected: Collected
) -> None:
    from pathlib import Path

    STORAGE.switch_to(Path(tmp_path))
    with track_agent("a"):
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
    if not pid:
        os._exit(0)  # the child left the block too, as after `sys.exit` in an agent

    found = collected()

    assert found[at("agent_executions_total", agent_id="a", status="success")] == 1
    assert found[at("active_agents")] == 0
