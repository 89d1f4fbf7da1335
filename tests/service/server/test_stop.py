"""Stopping, reloading and recycling lose nothing that was accepted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.client import Client, Reply, get
from tests.support.load import connected, occupied, under_load, workers_of
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled

Serve = Callable[..., Service]
Connect = Callable[[Service], Client]


def in_background(client: Client, path: str) -> tuple[threading.Thread, list[Reply]]:
    """Ask for *path* in a thread; its reply appears in the list."""
    replies: list[Reply] = []
    client.send(get(path))
    thread = threading.Thread(target=lambda: replies.append(client.reply()), daemon=True)
    thread.start()
    return thread, replies


@pytest.mark.parametrize("keep_alive", [False, True])
def test_sigterm_answers_what_was_accepted(
    serve: Serve, connect: Connect, keep_alive: bool
) -> None:
    """Under load: new connections are refused, but none that was taken is reset."""
    service = serve()
    thread, replies = in_background(connect(service), "/sleep/2.0")
    with under_load(service, "/sleep/0.01", clients=12, keep_alive=keep_alive) as load:
        wait_until(lambda: load.answers[200] > 50)
        os.kill(service.arbiter, signal.SIGTERM)
        service.process.wait(scaled(20))
    thread.join(scaled(10))

    assert set(load.answers) == {200}
    assert set(load.failures) <= {"refused"}
    assert replies[0].status == 200


def test_a_reload_fails_no_request(serve: Serve) -> None:
    service = serve()
    before = set(workers_of(service, 2))
    with (
        under_load(service, "/pid", clients=4) as closing,
        under_load(service, "/health/live", clients=2, keep_alive=True) as keeping,
    ):
        wait_until(lambda: closing.answers[200] > 50)
        os.kill(service.arbiter, signal.SIGHUP)
        wait_until(lambda: not before & set(service.workers()), seconds=30)

    assert set(closing.answers) == set(keeping.answers) == {200}
    assert not closing.failures
    assert not keeping.failures


def test_recycling_fails_no_request(serve: Serve) -> None:
    """A worker sixty requests, and many more requests."""
    service = serve(args=["--max-requests", "60", "--max-requests-jitter", "20"])
    with under_load(service, "/pid", clients=4) as load:
        wait_until(lambda: load.answers[200] > 400, seconds=60)

    assert set(load.answers) == {200}
    assert not load.failures
    assert service.sample("gunicorn_worker_exits_total", reason="recycled") >= 3


def test_probes_do_not_count_toward_max_requests(serve: Serve) -> None:
    service = serve(env={"WEB_CONCURRENCY": "1"}, args=["--max-requests", "50"])
    pid = service.workers()

    with connected(service, 1) as (client,):
        for _ in range(200):
            assert client.ask("/health/live").status == 200

    assert service.workers() == pid


def test_idle_connections_do_not_delay_a_stop(serve: Serve) -> None:
    service = serve()
    with connected(service, 20, get("/pid")) as kept, connected(service, 20):
        for client in kept:
            assert client.reply().status == 200
        started = time.monotonic()

        assert service.stop() == 0

        assert time.monotonic() - started < scaled(10)
        assert all(client.is_closed() for client in kept)


@pytest.mark.parametrize("seconds", [0.5, 1.6], ids=["hidden", "accepted"])
def test_a_connection_made_before_the_stop_is_answered_after_it(
    serve: Serve, seconds: float
) -> None:
    """The kernel hides it until its request comes, or for a second."""
    service = serve()
    with connected(service, 6) as clients:
        os.kill(service.arbiter, signal.SIGTERM)
        time.sleep(seconds)

        assert [client.ask("/pid").status for client in clients] == [200] * 6
    assert service.process.wait(scaled(20)) == 0


def test_a_silent_connection_does_not_outlast_the_graceful_timeout(serve: Serve) -> None:
    service = serve(args=["--graceful-timeout", "1"])
    with connected(service, 6) as clients:
        began = time.monotonic()
        os.kill(service.arbiter, signal.SIGTERM)
        time.sleep(0.3)
        assert clients[0].ask("/pid").status == 200

        assert service.process.wait(scaled(20)) == 0

        assert time.monotonic() - began < scaled(3)


def test_a_stopping_worker_closes_after_its_answer(serve: Serve, connect: Connect) -> None:
    """The response on a kept connection says `Connection: close`."""
    service = serve(env={"WEB_CONCURRENCY": "1"})
    busy, probing = connect(service), connect(service)
    thread, replies = in_background(busy, "/sleep/3.0")
    assert probing.ask("/health/live").headers["connection"] == "keep-alive"

    os.kill(service.workers()[0], signal.SIGTERM)
    probing.send(get("/health/live"))
    reply = probing.reply()

    assert reply.headers["connection"] == "close"
    assert probing.is_closed()
    thread.join(scaled(10))
    assert replies[0].status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_sigint_and_sigquit_wait_for_no_request(serve: Serve, number: signal.Signals) -> None:
    """gunicorn's own threaded worker joins its threads, until the arbiter kills it."""
    service = serve()
    with occupied(service, 4, "/sleep/30.0"):
        wait_until(lambda: service.sample("gunicorn_threads_busy") == 4)
        started = time.monotonic()
        os.kill(service.arbiter, number)

        assert service.process.wait(scaled(20)) == 0

        assert time.monotonic() - started < scaled(8)


def test_a_request_longer_than_the_graceful_timeout_is_cut_off(serve: Serve) -> None:
    service = serve(args=["--graceful-timeout", "2"])
    with occupied(service, 2, "/sleep/30.0"):
        wait_until(lambda: service.sample("gunicorn_threads_busy") == 2)
        started = time.monotonic()

        assert service.stop() == 0

        assert 1.9 < time.monotonic() - started < scaled(10)
    assert service.logged("requests_cut_off")
