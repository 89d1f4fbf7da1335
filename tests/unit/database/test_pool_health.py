"""PoolHealth: when a broken pool is reset and its worker restarted, on a clock of the test."""

from __future__ import annotations

import pytest

from atom_platform.database.pool_health import PoolAction, PoolHealth

NOTHING, RECONNECT, RESET, RESTART = (
    PoolAction.NOTHING,
    PoolAction.RECONNECT_PING,
    PoolAction.RESET_POOL,
    PoolAction.RESTART_WORKER,
)


class World:
    """A pool and a ping as PoolHealth sees them, one second at a time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.health = PoolHealth(statement_seconds=30.0, clock=lambda: self.now)
        self.actions: list[tuple[float, PoolAction]] = []

    def seconds(
        self, count: int, *, pool: str | None = None, ping: bool = True, every: int = 1
    ) -> list[tuple[float, PoolAction]]:
        """Let *count* seconds pass, with a result of the pool every so many; return the actions."""
        start, first = self.now, len(self.actions)
        for second in range(1, count + 1):
            self.now = start + second
            if pool is not None and second % every == 0:
                getattr(self.health, f"record_{pool}")()
            if ping:
                action = self.health.evaluate()
                if action is not NOTHING:
                    self.actions.append((self.now - 1000.0, action))
            else:
                self.health.record_ping_failure()
        return self.actions[first:]


@pytest.fixture
def world() -> World:
    world = World()
    world.seconds(10, pool="success")
    return world


def kinds(actions: list[tuple[float, PoolAction]]) -> list[PoolAction]:
    return [action for _, action in actions]


def test_a_pool_that_works_is_left_alone(world: World) -> None:
    assert world.seconds(200, pool="success") == []


def test_a_broken_pool_is_reset_and_then_its_worker_restarted(world: World) -> None:
    """Each time after a new connection of the ping has shown that the database accepts one."""
    assert world.seconds(90, pool="failure") == [
        (16, RECONNECT),
        (17, RESET),
        (77, RECONNECT),
        (78, RESTART),
    ]


def test_after_a_reset_that_helps_the_worker_goes_on(world: World) -> None:
    assert kinds(world.seconds(8, pool="failure")) == [RECONNECT, RESET]

    assert world.seconds(200, pool="success") == []


def test_failures_long_after_a_reset_begin_with_a_reset_again(world: World) -> None:
    world.seconds(8, pool="failure")
    world.seconds(100, pool="success")

    assert kinds(world.seconds(30, pool="failure")) == [RECONNECT, RESET]


def test_an_outage_of_the_database_restarts_no_worker(world: World) -> None:
    assert world.seconds(300, pool="failure", ping=False) == []


def test_failures_of_an_outage_do_not_count_after_its_end(world: World) -> None:
    world.seconds(60, pool="failure", ping=False)

    assert world.seconds(60) == []


def test_an_outage_clears_earlier_failures(world: World) -> None:
    world.seconds(4, pool="failure")
    world.seconds(1, pool="failure", ping=False)

    assert world.seconds(4, pool="failure") == []


def test_only_a_new_connection_of_the_ping_counts(world: World) -> None:
    """After a changed password the new connection fails, as that of a new worker would."""
    assert kinds(world.seconds(6, pool="failure")) == [RECONNECT]

    assert world.seconds(100, pool="failure", ping=False) == []


def test_a_busy_pool_is_not_broken(world: World) -> None:
    """All connections taken by queries that take as long as they may, again and again."""
    for _ in range(10):
        assert world.seconds(29, pool="exhausted") == []
        assert world.seconds(1, pool="success") == []


def test_a_pool_whose_connections_never_return_is_broken(world: World) -> None:
    """No statement has ended for longer than a statement may take."""
    assert kinds(world.seconds(36, pool="exhausted")) == []
    assert kinds(world.seconds(10, pool="exhausted")) == [RECONNECT, RESET]


def test_one_failure_is_not_enough(world: World) -> None:
    world.seconds(1, pool="failure")

    assert world.seconds(100) == []


def test_without_traffic_the_worker_is_not_restarted(world: World) -> None:
    assert kinds(world.seconds(8, pool="failure")) == [RECONNECT, RESET]

    assert world.seconds(200) == []


def test_a_failure_every_twenty_seconds_is_enough(world: World) -> None:
    assert kinds(world.seconds(120, pool="failure", every=20)) == [
        RECONNECT,
        RESET,
        RECONNECT,
        RESTART,
    ]


def test_a_success_between_failures_resets_the_time(world: World) -> None:
    for _ in range(20):
        assert world.seconds(4, pool="failure") == []
        world.health.record_success()
