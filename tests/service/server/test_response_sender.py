"""Responses that a client reads in more than one piece, or not at all."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.support.client import Client, get
from tests.support.load import slow_readers
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled

PATH = "/health/metrics"
MOST = 32


@pytest.fixture(name="large")
def _large(serve: Callable[..., Service]) -> Service:
    return serve(app="tests.support.large_application:app", env={"WEB_CONCURRENCY": "1"})


@contextmanager
def reader(service: Service) -> Iterator[Client]:
    """A client whose socket takes a small part of the page at once."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        sock.settimeout(scaled(20))
        sock.connect(("127.0.0.1", service.port))
        yield Client(sock)


def accepts(service: Service) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=scaled(5)):
            return True
    except OSError:
        return False


def aborted(service: Service) -> float:
    return service.total("http_responses_aborted_total", reason="disconnect")


def memory(service: Service) -> int:
    return int(psutil.Process(service.workers()[0]).memory_info().rss)


def threads(service: Service) -> int:
    return int(psutil.Process(service.workers()[0]).num_threads())


def test_a_response_sent_in_pieces_keeps_the_connection_open(large: Service) -> None:
    before = aborted(large)
    with reader(large) as client:
        client.send(get(PATH) + get("/health/live"))
        time.sleep(0.5)

        reply = client.reply()

        assert reply.status == 200
        assert b"skill_executions_total" in reply.body.splitlines()[-1]
        assert client.reply().body.startswith(b"{")
        assert client.ask(PATH).status == 200
    assert aborted(large) == before


def test_a_client_that_does_not_read_holds_no_thread(large: Service) -> None:
    assert large.get(PATH).status == 200
    before = threads(large)
    with slow_readers(large, 20):
        assert threads(large) == before
        began = time.monotonic()
        for _ in range(3):
            with reader(large) as client:
                assert len(client.ask(PATH).body) > 1_000_000
        assert large.get("/health/live").status == 200

        assert time.monotonic() - began < scaled(5)


def test_clients_that_do_not_read_share_one_body(large: Service) -> None:
    page = len(large.get(PATH).body)
    before = memory(large)
    with slow_readers(large, MOST):
        assert memory(large) - before < MOST / 2 * page


def test_a_client_that_reads_too_slowly_is_cut_off_and_counted(large: Service) -> None:
    """However often it reads a little."""
    before = aborted(large)
    with slow_readers(large, 1) as (sock,):
        began = time.monotonic()

        def is_over() -> bool:
            sock.recv(100)
            return aborted(large) > before

        wait_until(is_over, every=0.2)
        assert 9 < time.monotonic() - began < scaled(60)

    assert aborted(large) == before + 1


def test_the_oldest_unread_response_is_dropped_for_a_new_one(large: Service) -> None:
    before = aborted(large)
    began = time.monotonic()
    with slow_readers(large, MOST + 5):
        wait_until(lambda: aborted(large) >= before + 5)
        # Ten seconds after it began, a response is dropped for its own slowness.
        assert aborted(large) == before + 5 or time.monotonic() - began > 9

    wait_until(lambda: aborted(large) == before + 5 + MOST)


def test_a_stop_waits_for_clients_that_read(large: Service) -> None:
    with reader(large) as client, slow_readers(large, 1):
        client.send(get(PATH, "Connection: close"))
        assert client.sock.recv(1, socket.MSG_PEEK)
        began = time.monotonic()
        large.process.terminate()
        wait_until(lambda: not accepts(large))
        assert len(client.reply().body) > 1_000_000

        assert large.process.wait(scaled(30)) == 0

        assert time.monotonic() - began < scaled(14)
