"""Probes that are answered on a new connection, and in which order."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from atom_platform.extension.request_record import RequestRecord
from atom_platform.server.express import BAD_NEWS_SECONDS, Express
from atom_platform.server.heads import lane_request
from atom_platform.server.lane import LaneAnswers
from tests.server.client import get
from tests.server.test_lane import Readiness, lane

LIVE = get("/health/live", "Connection: close")
READY = get("/health/ready", "Connection: close")
CLIENT = ("127.0.0.1", 1)

Pair = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture(name="pair")
def _pair() -> Iterator[Pair]:
    with ExitStack() as stack:

        def pair() -> tuple[socket.socket, socket.socket]:
            here, there = socket.socketpair()
            there.settimeout(20)
            return stack.enter_context(here), stack.enter_context(there)

        yield pair


def express(answers: LaneAnswers | None) -> Express:
    for head in (LIVE, READY):
        assert lane_request(head)  # it knows only what has come before
    return Express(answers)


def test_liveness_does_not_stand_in_line_behind_readiness(pair: Pair) -> None:
    observed: list[RequestRecord] = []
    door = express(lane(Readiness(200, b"ok"), observed))
    clients = []
    for data in (READY, READY, LIVE):
        here, there = pair()
        assert door.takes(here, CLIENT, None, data)
        clients.append(there)
    assert clients[2].recv(1000).endswith(b"alive")
    assert [record.path for record in observed] == ["/health/live"]

    left = list(door.answer_put_off())

    assert left == []
    assert [client.recv(1000)[-2:] for client in clients[:2]] == [b"ok", b"ok"]
    assert [client.recv(1) for client in clients] == [b"", b"", b""]
    assert list(door.answer_put_off()) == []


def test_bad_news_is_told_in_batches(pair: Pair) -> None:
    """Who asks again at once would else take the machine from everybody else."""
    door = express(lane(Readiness(503, b"no"), []))
    first, second = pair(), pair()
    door.takes(first[0], CLIENT, None, READY)
    assert door.seconds_to_due(time.monotonic()) == 0
    assert list(door.answer_put_off()) == []
    assert first[1].recv(1000).endswith(b"no")

    door.takes(second[0], CLIENT, None, READY)
    asked_at = time.monotonic()
    due = door.seconds_to_due(asked_at)
    while (now := time.monotonic()) < asked_at + 20 and door.seconds_to_due(now):
        assert list(door.answer_put_off()) == []
    assert list(door.answer_put_off()) == []

    assert due is not None
    assert due <= BAD_NEWS_SECONDS
    assert second[1].recv(1000).endswith(b"no")
    assert door.seconds_to_due(time.monotonic()) is None


def test_nobody_is_kept_waiting_at_the_end(pair: Pair) -> None:
    door = express(lane(Readiness(503, b"no"), []))
    pairs = [pair() for _ in range(2)]
    for here, _ in pairs:
        door.takes(here, CLIENT, None, READY)
        assert list(door.answer_put_off(at_once=True)) == []

    assert [there.recv(1000)[-2:] for _, there in pairs] == [b"no", b"no"]


def test_what_only_the_application_can_answer_comes_back(pair: Pair) -> None:
    door = express(lane(None, []))
    here, _ = pair()
    assert door.takes(here, CLIENT, ("server", 2), READY)

    (guest,) = door.answer_put_off()

    assert guest == (here, CLIENT, ("server", 2), READY)
    assert here.fileno() > 0


@pytest.mark.parametrize(
    "data",
    [get("/health/live"), get("/health/live", "User-Agent: new"), LIVE + b"x", b"GET /", get("/")],
    ids=["kept-alive", "new", "more", "half", "other"],
)
def test_others_go_their_way(pair: Pair, data: bytes) -> None:
    here, _ = pair()

    assert not express(lane(None, [])).takes(here, CLIENT, None, data)
    assert not express(None).takes(here, CLIENT, None, LIVE)
