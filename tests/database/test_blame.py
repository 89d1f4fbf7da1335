"""Blame: whose fault failing queries are, on a clock of the test's own."""

from __future__ import annotations

import pytest

from atom_platform.database.blame import Blame, Verdict

NOTHING, RENEW, RESET, END = (
    Verdict.NOTHING,
    Verdict.RENEW_PING,
    Verdict.RESET_POOL,
    Verdict.END_WORKER,
)


class World:
    """A pool and a ping as Blame sees them, one second at a time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.blame = Blame(statement_seconds=30.0, clock=lambda: self.now)
        self.verdicts: list[tuple[float, Verdict]] = []

    def seconds(
        self, count: int, *, pool: str | None = None, ping: bool = True, every: int = 1
    ) -> list[tuple[float, Verdict]]:
        """Let *count* seconds pass, with something in the pool every so many; return verdicts."""
        start, first = self.now, len(self.verdicts)
        for second in range(1, count + 1):
            self.now = start + second
            if pool is not None and second % every == 0:
                getattr(self.blame, f"pool_{pool}")()
            if ping:
                verdict = self.blame.ping_worked()
                if verdict is not NOTHING:
                    self.verdicts.append((self.now - 1000.0, verdict))
            else:
                self.blame.ping_failed()
        return self.verdicts[first:]


@pytest.fixture
def world() -> World:
    world = World()
    world.seconds(10, pool="worked")
    return world


def kinds(verdicts: list[tuple[float, Verdict]]) -> list[Verdict]:
    return [verdict for _, verdict in verdicts]


def test_a_pool_that_works_is_left_alone(world: World) -> None:
    assert world.seconds(200, pool="worked") == []


def test_a_wedged_pool_is_reset_and_then_the_worker_ended(world: World) -> None:
    """Each time after a new connection of the ping's has shown that there are some to be had."""
    assert world.seconds(90, pool="failed") == [(16, RENEW), (17, RESET), (77, RENEW), (78, END)]


def test_a_reset_that_helps_is_the_end_of_it(world: World) -> None:
    assert kinds(world.seconds(8, pool="failed")) == [RENEW, RESET]

    assert world.seconds(200, pool="worked") == []


def test_the_worker_gets_its_last_chance_anew_each_time(world: World) -> None:
    """Failures long after a reset that helped are another story."""
    world.seconds(8, pool="failed")
    world.seconds(100, pool="worked")

    assert kinds(world.seconds(30, pool="failed")) == [RENEW, RESET]


def test_a_dead_database_is_nobody_elses_fault(world: World) -> None:
    assert world.seconds(300, pool="failed", ping=False) == []


def test_failures_of_an_outage_do_not_count_once_it_is_over(world: World) -> None:
    world.seconds(60, pool="failed", ping=False)

    assert world.seconds(60) == []


def test_an_outage_while_suspicion_grows_clears_it(world: World) -> None:
    world.seconds(4, pool="failed")
    world.seconds(1, pool="failed", ping=False)

    assert world.seconds(4, pool="failed") == []


def test_an_old_connection_of_the_pings_proves_nothing(world: World) -> None:
    """A password that was changed: the new connection fails, as every new worker's would."""
    assert kinds(world.seconds(6, pool="failed")) == [RENEW]

    assert world.seconds(100, pool="failed", ping=False) == []


def test_a_busy_pool_is_not_broken(world: World) -> None:
    """All connections taken by queries that take as long as they may, again and again."""
    for _ in range(10):
        assert world.seconds(29, pool="exhausted") == []
        assert world.seconds(1, pool="worked") == []


def test_a_pool_that_nothing_comes_back_to_is_broken(world: World) -> None:
    """Connections that somebody took and forgot: no statement has ended for longer than any may."""
    assert kinds(world.seconds(36, pool="exhausted")) == []
    assert kinds(world.seconds(10, pool="exhausted")) == [RENEW, RESET]


def test_one_failure_is_an_accident(world: World) -> None:
    world.seconds(1, pool="failed")

    assert world.seconds(100) == []


def test_without_traffic_there_is_no_evidence(world: World) -> None:
    """After the reset nobody has tried: the worker lives."""
    assert kinds(world.seconds(8, pool="failed")) == [RENEW, RESET]

    assert world.seconds(200) == []


def test_seldom_traffic_is_evidence_all_the_same(world: World) -> None:
    assert kinds(world.seconds(120, pool="failed", every=20)) == [RENEW, RESET, RENEW, END]


def test_a_success_between_failures_is_a_pool_that_works(world: World) -> None:
    for _ in range(20):
        assert world.seconds(4, pool="failed") == []
        world.blame.pool_worked()
