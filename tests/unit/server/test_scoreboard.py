"""The memory that the arbiter and its workers share."""

from __future__ import annotations

import multiprocessing

from atom_platform.server.scoreboard import Scoreboard


def test_processes_that_are_forked_later_share_it() -> None:
    scoreboard = Scoreboard()
    index = scoreboard.assign_index()
    assert index is not None

    def child() -> None:
        scoreboard.set_free_thread(index, True)
        scoreboard.set_exit_code(index, 2)
        scoreboard.draining = True

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(10)

    assert scoreboard.others_with_free_thread(index + 1) == [index]
    assert scoreboard.exit_code(index) == 2
    assert scoreboard.draining


def test_a_released_index_is_the_next_assigned() -> None:
    scoreboard = Scoreboard()
    indexes = [scoreboard.assign_index() for _ in range(3)]
    scoreboard.set_exit_code(1, 2)

    scoreboard.release_index(1)

    assert indexes == [0, 1, 2]
    assert scoreboard.assign_index() == 1
    assert scoreboard.exit_code(1) == 0


def test_there_are_more_indexes_than_workers() -> None:
    """A thousand workers are the most that can be asked for, twice that during a reload."""
    scoreboard = Scoreboard()

    assert [scoreboard.assign_index() for _ in range(2000)] == list(range(2000))
    assert [scoreboard.assign_index() for _ in range(100)][-1] is None


def test_a_worker_that_ended_has_no_free_thread() -> None:
    scoreboard = Scoreboard()
    index = scoreboard.assign_index()
    assert index is not None
    scoreboard.set_free_thread(index, True)

    scoreboard.release_index(index)

    assert scoreboard.others_with_free_thread(99) == []
