"""The parts of the worker that need no gunicorn: board, turnstile, threads, waiting rooms."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from gunicorn.config import Config

from atom_platform.server import runfile
from atom_platform.server.board import BOARD, Board
from atom_platform.server.connection import Connection, WaitingRoom
from atom_platform.server.pool import ThreadPool
from atom_platform.server.turnstile import Turnstile
from tests.polling import wait_until


class TestBoard:
    def test_is_shared_with_processes_forked_later(self) -> None:
        board = Board()
        seat = board.take_seat()
        assert seat is not None

        def child() -> None:
            board.say_free(seat, True)
            board.say_farewell(seat, 2)
            board.draining = True

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(10)

        assert board.others_free(seat + 1) == [seat]
        assert board.farewell(seat) == 2
        assert board.draining

    def test_a_seat_that_was_left_is_the_next_taken(self) -> None:
        board = Board()
        seats = [board.take_seat() for _ in range(3)]
        board.say_farewell(1, 2)

        board.leave_seat(1)

        assert seats == [0, 1, 2]
        assert board.take_seat() == 1
        assert board.farewell(1) == 0

    def test_has_no_end_of_seats_that_a_service_could_reach(self) -> None:
        """A thousand workers are the most that can be asked for, twice that during a reload."""
        board = Board()

        assert [board.take_seat() for _ in range(2000)] == list(range(2000))
        assert [board.take_seat() for _ in range(100)][-1] is None

    def test_a_worker_that_left_is_not_free(self) -> None:
        board = Board()
        seat = board.take_seat()
        assert seat is not None
        board.say_free(seat, True)

        board.leave_seat(seat)

        assert board.others_free(99) == []


@pytest.fixture(name="seats")
def _seats() -> Iterator[tuple[int, int]]:
    """Two seats of the real board, as this process were an arbiter."""
    mine, other = BOARD.take_seat(), BOARD.take_seat()
    assert mine is not None
    assert other is not None
    yield mine, other
    BOARD.leave_seat(mine)
    BOARD.leave_seat(other)


class TestTurnstile:
    def test_takes_what_comes_while_nobody_else_is_free(self, seats: tuple[int, int]) -> None:
        assert not Turnstile(seats[0]).leaves_to_sibling()

    def test_leaves_it_to_a_free_sibling_that_is_seen_to_move(self, seats: tuple[int, int]) -> None:
        mine, other = Turnstile(seats[0]), Turnstile(seats[1])
        other.say_free(True)

        for _ in range(3):
            assert mine.leaves_to_sibling()
            other.beat()

    def test_has_patience_with_a_sibling_that_does_not_move(self, seats: tuple[int, int]) -> None:
        """Once; from then on it takes what comes, until the sibling moves again."""
        start = time.monotonic()
        moment = iter([start + after for after in (0.0, 0.03, 0.06, 0.07, 9.0, 9.01)])
        mine, other = Turnstile(seats[0], clock=lambda: next(moment)), Turnstile(seats[1])
        other.say_free(True)

        left = [mine.leaves_to_sibling() for _ in range(4)]
        other.beat()

        assert left == [True, True, False, False]
        assert [mine.leaves_to_sibling() for _ in range(2)] == [True, True]

    def test_without_a_seat_takes_what_comes(self, seats: tuple[int, int]) -> None:
        Turnstile(seats[1]).say_free(True)
        seatless = Turnstile(None)
        seatless.beat()
        seatless.say_free(True)

        assert not seatless.leaves_to_sibling()


class TestThreadPool:
    def test_runs_as_many_at_once_as_it_has_threads(self) -> None:
        pool = ThreadPool(3, name="test")
        inside, leave = threading.Semaphore(0), threading.Event()
        order: list[int] = []

        def task(number: int) -> None:
            order.append(number)
            inside.release()
            leave.wait(10)

        for number in range(5):
            pool.submit(task, number)
        for _ in range(3):
            assert inside.acquire(timeout=10)

        assert sorted(order) == [0, 1, 2]
        leave.set()
        wait_until(lambda: sorted(order) == [0, 1, 2, 3, 4])
        pool.shutdown()

    def test_starts_no_more_threads_than_are_needed(self) -> None:
        pool = ThreadPool(8, name="needed")
        for _ in range(5):
            done = threading.Event()
            pool.submit(done.set)
            assert done.wait(10)
            wait_until(lambda: pool._pending == 0)

        assert [t.name for t in threading.enumerate() if t.name.startswith("needed")] == [
            "needed-1"
        ]
        pool.shutdown()

    def test_a_task_that_exits_takes_no_thread_with_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        pool = ThreadPool(1, name="exits")
        with caplog.at_level(logging.ERROR, "atom_platform.server"):
            pool.submit(exec, "raise SystemExit")
            done = threading.Event()
            pool.submit(done.set)

            assert done.wait(10)
        assert caplog.messages == ["request_thread_failed"]
        pool.shutdown()

    def test_a_thread_that_cannot_be_started_is_not_counted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pool = ThreadPool(2, name="short")
        leave, done = threading.Event(), threading.Event()

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(RuntimeError):
                pool.submit(done.set)
        assert (pool._started, pool._pending, done.is_set()) == (0, 0, False)
        pool.submit(leave.wait, 10)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            pool.submit(done.set)

        assert (pool._started, pool._pending) == (1, 2)
        leave.set()
        assert done.wait(10)
        pool.shutdown()

    def test_threads_end_when_shut_down(self) -> None:
        pool = ThreadPool(2, name="ends")
        pool.submit(lambda: None)
        pool.submit(lambda: None)

        pool.shutdown()

        wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("ends")])


@pytest.fixture(name="connection")
def _connection() -> Iterator[Callable[[], Connection]]:
    """Return a function that makes one end of a connection; its other end is `peer`."""
    with ExitStack() as stack:

        def make() -> Connection:
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            connection = Connection(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
            connection.peer = stack.enter_context(theirs)
            return connection

        yield make


class TestConnection:
    def test_gathers_pieces_and_hands_all_to_the_parser(
        self, connection: Callable[[], Connection]
    ) -> None:
        gathering = connection()
        for piece in (b"GET /a", b" HTTP/1.1\r\nHo", b"st: x\r\n\r\n"):
            gathering.peer.send(piece)
            assert gathering.receive(100)

        gathering.hand_to_parser()

        assert next(gathering.parser).path == "/a"
        assert gathering.received == b""

    def test_says_when_nothing_is_there_and_when_nothing_will_be(
        self, connection: Callable[[], Connection]
    ) -> None:
        ended = connection()
        with pytest.raises(BlockingIOError):
            ended.receive(100)

        ended.peer.close()

        assert not ended.receive(100)


class TestWaitingRoom:
    def test_sees_out_who_has_waited_long_enough(
        self, connection: Callable[[], Connection]
    ) -> None:
        out: list[Connection] = []

        def see_out(connection: Connection) -> None:
            out.append(connection)
            room.leave(connection)

        room = WaitingRoom(10, on_expiry=see_out)
        first, second, third = connection(), connection(), connection()
        for moment, each in enumerate((first, second, third)):
            room.enter(each, float(moment))
        room.enter(first, 3.0)

        assert room.seconds_to_next(5.0) == 6.0
        room.expire(12.0)

        assert out == [second, third]
        assert (len(room), room.longest_waiting()) == (1, first)
        assert second.room is None

    def test_moving_to_another_room_starts_anew(self, connection: Callable[[], Connection]) -> None:
        hall, office = (WaitingRoom(seconds, on_expiry=lambda c: None) for seconds in (5, 50))
        mover = connection()
        hall.enter(mover, 0.0)

        office.enter(mover, 1.0)

        assert (len(hall), len(office), mover.room) == (0, 1, office)
        assert hall.seconds_to_next(0.0) == math.inf
        assert office.seconds_to_next(1.0) == 50

    def test_can_be_shortened_but_not_lengthened(
        self, connection: Callable[[], Connection]
    ) -> None:
        room = WaitingRoom(10, on_expiry=lambda c: None)
        room.enter(connection(), 0.0)
        room.enter(connection(), 8.0)

        room.shorten(12.0)

        assert room.seconds_to_next(0.0) == 10
        room.leave(room.longest_waiting() or pytest.fail("empty"))
        assert room.seconds_to_next(0.0) == 12


@pytest.fixture(name="own_directory")
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run files of these tests must not meet those of services that run meanwhile."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


class TestRunfile:
    def test_finds_a_living_arbiter(self, own_directory: Path) -> None:
        runfile.announce([1234], drain_seconds=2.5)

        arbiter = runfile.find(1234)

        assert arbiter is not None
        assert (arbiter.pid, arbiter.drain_seconds, arbiter.alive) == (os.getpid(), 2.5, True)
        assert runfile.find(1235) is None

    def test_is_gone_once_withdrawn(self, own_directory: Path) -> None:
        runfile.announce([1234], drain_seconds=0)

        runfile.withdraw([1234, 1235])

        assert list(own_directory.iterdir()) == []

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            '{"pid": 1}',
            '{"pid": 999999999, "started": 1, "drain_seconds": 1}',
            f'{{"pid": {os.getpid()}, "started": 1, "drain_seconds": 1}}',
        ],
        ids=["empty", "no-object", "incomplete", "no-such-process", "another-start"],
    )
    def test_is_not_believed_about_another_process(self, own_directory: Path, text: str) -> None:
        """A pid that repeats names somebody whom the drain's signal would kill."""
        runfile.announce([1234], drain_seconds=0)
        (path,) = own_directory.iterdir()
        path.write_text(text)

        assert runfile.find(1234) is None

    def test_follows_no_link(
        self, own_directory: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        victim = tmp_path_factory.mktemp("elsewhere") / "victim"
        victim.write_text("untouched")
        runfile.announce([1234], drain_seconds=0)
        (path,) = own_directory.iterdir()
        path.unlink()
        path.symlink_to(victim)
        assert runfile.find(1234) is None

        runfile.announce([1234], drain_seconds=0)

        assert victim.read_text() == "untouched"
        assert runfile.find(1234) is not None

    def test_clears_up_behind_the_dead(self, own_directory: Path) -> None:
        runfile.announce([1], drain_seconds=0)
        (stale,) = own_directory.iterdir()
        stale.write_text('{"pid": 999999999, "started": 1, "drain_seconds": 1}')

        runfile.announce([2], drain_seconds=0)

        assert not stale.exists()
        assert runfile.find(2) is not None

    def test_start_time_survives_a_name_with_brackets(self) -> None:
        name = Path("/proc/self/comm")
        before, called = runfile.started_at(os.getpid()), name.read_text()
        try:
            name.write_text("a) (b c")
            after = runfile.started_at(os.getpid())
        finally:
            name.write_text(called)

        assert after == before
        assert before is not None
        ticks = os.sysconf("SC_CLK_TCK")
        assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - before / ticks < 86_400
