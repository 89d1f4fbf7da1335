"""Connections between requests, and the queues that they wait in."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from gunicorn.config import Config

from atom_platform.server.connections import Connection, TimeoutQueue


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


def test_received_pieces_are_handed_to_the_parser(connection: Callable[[], Connection]) -> None:
    receiver = connection()
    for piece in (b"GET /a", b" HTTP/1.1\r\nHo", b"st: x\r\n\r\n"):
        receiver.peer.send(piece)
        assert receiver.receive(100)

    receiver.hand_to_parser()

    assert next(receiver.parser).path == "/a"
    assert receiver.received == b""


def test_receive_tells_nothing_yet_from_the_end(connection: Callable[[], Connection]) -> None:
    ended = connection()
    with pytest.raises(BlockingIOError):
        ended.receive(100)

    ended.peer.close()

    assert not ended.receive(100)


def test_a_connection_past_its_deadline_expires(connection: Callable[[], Connection]) -> None:
    out: list[Connection] = []

    def expire(connection: Connection) -> None:
        out.append(connection)
        queue.remove(connection)

    queue = TimeoutQueue(10, on_expiry=expire)
    first, second, third = connection(), connection(), connection()
    for moment, each in enumerate((first, second, third)):
        queue.add(each, float(moment))
    queue.add(first, 3.0)

    assert queue.seconds_to_deadline(5.0) == 6.0
    queue.expire(12.0)

    assert out == [second, third]
    assert (len(queue), queue.oldest()) == (1, first)
    assert second.queue is None


def test_a_move_to_another_queue_starts_a_new_deadline(
    connection: Callable[[], Connection],
) -> None:
    short, long = (TimeoutQueue(seconds, on_expiry=lambda c: None) for seconds in (5, 50))
    mover = connection()
    short.add(mover, 0.0)

    long.add(mover, 1.0)

    assert (len(short), len(long), mover.queue) == (0, 1, long)
    assert short.seconds_to_deadline(0.0) == math.inf
    assert long.seconds_to_deadline(1.0) == 50


def test_deadlines_can_be_capped_but_not_extended(connection: Callable[[], Connection]) -> None:
    queue = TimeoutQueue(10, on_expiry=lambda c: None)
    queue.add(connection(), 0.0)
    queue.add(connection(), 8.0)

    queue.cap_deadlines(12.0)

    assert queue.seconds_to_deadline(0.0) == 10
    queue.remove(queue.oldest() or pytest.fail("empty"))
    assert queue.seconds_to_deadline(0.0) == 12
