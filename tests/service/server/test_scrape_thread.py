"""Scrapes that the server answers without the application: as the route does, in batches."""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from flask import Flask
from gunicorn.config import Config

from atom_platform.metrics import instruments
from atom_platform.metrics.scrape.page import MetricsPage
from atom_platform.monitoring import Monitoring
from atom_platform.server import scrape_thread
from atom_platform.server.connections import Connection
from atom_platform.server.request_head import ProbeRequest, probe_request
from atom_platform.server.scrape_thread import (
    ScrapeRequest,
    ScrapeResult,
    ScrapeResults,
    ScrapeThread,
    scrape_thread_of,
)
from atom_platform.settings import Settings
from tests.support.client import Client, get
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled

Connect = Callable[[Service], Client]

PATH = "/health/metrics"
#: Sends a scrape to the application: any header that the server does not know does.
DETOUR = "X-Detour: 1"
PROMETHEUS = (
    "User-Agent: Prometheus/2.42.0",
    "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
    "Accept-Encoding: gzip",
    "X-Prometheus-Scrape-Timeout-Seconds: 10",
)
FORMATS = {
    "plain": (),
    "gzip": ("Accept-Encoding: gzip",),
    "refused-gzip": ("Accept-Encoding: gzip;q=0",),
    "openmetrics": ("Accept: application/openmetrics-text",),
    "nonsense": ("Accept: text/plain;version=x",),
    "prometheus": PROMETHEUS,
}
VARYING = {"date", "x-request-id", "content-length"}


@pytest.mark.parametrize("headers", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("version", "closes"), [("1.0", True), ("1.1", False), ("1.1", True)])
def test_server_and_application_answer_alike(
    service: Service,
    connect: Connect,
    headers: tuple[str, ...],
    method: str,
    version: str,
    closes: bool,
) -> None:
    """Same head in the same order; both close or both go on; the same families in the body."""
    sent = (*headers, "Connection: close") if closes else headers
    clients = [connect(service), connect(service)]
    replies = [
        client.ask(PATH, *sent, *detour, method=method, version=version)
        for client, detour in zip(clients, ([], [DETOUR]), strict=True)
    ]
    by_server, by_application = replies

    assert by_server.status == by_application.status == 200
    assert (by_server.reason, by_server.version) == (by_application.reason, by_application.version)
    fixed = [
        {name: value for name, value in reply.headers.items() if name not in VARYING}
        for reply in replies
    ]
    assert fixed[0] == fixed[1]
    assert list(by_server.headers) == list(by_application.headers)
    assert [bool(reply.body) for reply in replies] == [method == "GET"] * 2
    assert int(by_server.headers["content-length"]) > 1000
    if by_server.headers["connection"] == "close":
        assert [client.is_closed() for client in clients] == [True, True]
    else:
        assert [client.ask("/health/live").status for client in clients] == [200, 200]


def test_a_scrape_has_the_same_body_as_the_route(service: Service, connect: Connect) -> None:
    client = connect(service)
    client.ask(PATH)  # the first scrape of a service adds the series of its own endpoint

    by_server, by_application = (client.ask(PATH), client.ask(PATH, DETOUR))

    # The numbers of two scrapes differ; what they are numbers of does not.
    names = [re.sub(rb" \S+\n", b"\n", reply.body) for reply in (by_server, by_application)]
    assert names[0] == names[1]
    assert b"\nhttp_requests_in_progress 1.0\n" in by_server.body
    assert b"\nhttp_requests_in_progress 1.0\n" in by_application.body


def test_a_scrape_is_counted_and_logged_once_before_it_is_sent(
    serve: Callable[..., Service], connect: Connect
) -> None:
    service = serve(env={"ATOM_LOG_LEVEL": "DEBUG", "WEB_CONCURRENCY": "1"})
    client = connect(service)
    first = service.total("http_requests_total", endpoint=PATH, method="GET")

    ids = [client.ask(PATH).headers["x-request-id"] for _ in range(5)]

    assert service.total("http_requests_total", endpoint=PATH, method="GET") == first + 1 + 5
    for each in ids:
        wait_until(partial(service.logged, "http_request", request_id=each))
        (line,) = service.logged("http_request", request_id=each)
        assert (line["level"], line["path"], line["status"]) == ("DEBUG", PATH, 200)
        assert line["bytes"] > 1000


def test_pipelined_scrapes_and_probes_are_answered_in_order(
    service: Service, connect: Connect
) -> None:
    client = connect(service)

    client.send(get(PATH) + get("/health/live") + get(PATH, "Accept-Encoding: gzip") + get("/pid"))

    types = [client.reply().headers["content-type"] for _ in range(4)]
    assert [each.partition(";")[0] for each in types] == [
        "text/plain",
        "application/json",
        "text/plain",
        "text/html",
    ]


# One at a time, without a worker.


class Desk:
    """Scrapes of a page of its own; what they report and observe is kept."""

    def __init__(self, page: MetricsPage) -> None:
        self.reported: queue.SimpleQueue[tuple[ScrapeRequest, ScrapeResult]] = queue.SimpleQueue()
        self.observed: list[tuple[Any, ...]] = []
        self.scrapes = ScrapeThread(
            page,
            observe=lambda *args: self.observed.append(args),
            report=self._report,
        )
        self._sockets = ExitStack()

    def put(self, *headers: str, small: bool = False) -> socket.socket:
        """Have one more scrape answered, and return the client's end."""
        here, there = socket.socketpair()
        for each in (here, there):
            self._sockets.enter_context(each)
        if small:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        there.settimeout(scaled(20))
        head = get(PATH, *headers)
        request = probe_request(head)
        assert isinstance(request, ProbeRequest)
        connection = Connection(Config(), here, ("127.0.0.1", 1), None)
        self.scrapes.put(ScrapeRequest(connection, request, len(head), False, time.perf_counter()))
        return there

    def _report(self, outcomes: ScrapeResults) -> None:
        for each in outcomes:
            self.reported.put(each)

    def outcomes(self, count: int) -> list[ScrapeResult]:
        return [self.reported.get(timeout=scaled(20))[1] for _ in range(count)]

    def close(self) -> None:
        self.scrapes.close()
        self._sockets.close()


@pytest.fixture(name="desk")
def _desk() -> Iterator[Callable[..., Desk]]:
    with ExitStack() as stack:

        def desk(on_scrape: Callable[[], None] = lambda: None) -> Desk:
            made = Desk(MetricsPage(on_scrape=on_scrape))
            stack.callback(made.close)
            return made

        yield desk


class Gate:
    """Holds each collection just before it begins, until it is told to go on."""

    def __init__(self) -> None:
        self.entered = 0
        self.open = threading.Semaphore(0)

    def __call__(self) -> None:
        self.entered += 1
        assert self.open.acquire(timeout=scaled(20))


def read_all(sock: socket.socket, *, until: bytes) -> bytes:
    text = b""
    while until not in text:
        piece = sock.recv(65_536)
        assert piece
        text += piece
    return text


def errors(reply: bytes) -> float:
    (line,) = [line for line in reply.decode().splitlines() if 'level="ERROR"' in line]
    return float(line.rpartition(" ")[2])


def test_scrapes_that_arrive_during_one_share_the_next_collection(
    desk: Callable[..., Desk],
) -> None:
    gate = Gate()
    waiting = desk(gate)
    first = waiting.put()
    wait_until(lambda: gate.entered == 1)
    late = [waiting.put(*FORMATS["openmetrics"] if number % 2 else ()) for number in range(6)]
    gate.open.release()
    before = errors(read_all(first, until=b"skill_executions_total"))
    wait_until(lambda: gate.entered == 2)
    instruments.count_log_message("ERROR")  # before the second collection reads it
    gate.open.release()

    after = [errors(read_all(each, until=b"skill_executions_total")) for each in late]
    assert after == [before + 1] * 6
    assert waiting.outcomes(7) == [True] * 7
    assert gate.entered == 2
    assert len(waiting.observed) == 7


def test_a_page_that_fails_is_left_to_the_application(
    desk: Callable[..., Desk], caplog: pytest.LogCaptureFixture
) -> None:
    """The application logs and counts the error; the scrape thread sends nothing."""
    broken = [True]

    def fail() -> None:
        if broken:
            raise RuntimeError

    failing = desk(fail)
    clients = [failing.put(), failing.put()]

    assert failing.outcomes(2) == [None, None]
    assert failing.observed == []
    for client in clients:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    assert [record.message for record in caplog.records] == ["scrape_failed"]
    broken.clear()
    assert b"\nhttp_requests_in_progress 1.0\n" in read_all(failing.put(), until=b"skill_exec")


def test_without_a_thread_a_scrape_is_left_to_the_application(
    desk: Callable[..., Desk], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next tries again."""
    serving = desk()

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        serving.put()
        assert serving.outcomes(1) == [None]

    assert read_all(serving.put(), until=b"skill_executions_total")
    assert serving.outcomes(1) == [True]
    assert caplog.messages == ["scrape_thread_not_started"]


@pytest.mark.parametrize("name", ["negotiate", "response_head"])
def test_an_exception_does_not_end_the_scrape_thread(
    desk: Callable[..., Desk],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    serving = desk()
    with monkeypatch.context() as patch:
        patch.delattr(scrape_thread, name)
        serving.put()
        serving.put()
        assert serving.outcomes(2) == [False, False]

    assert read_all(serving.put(), until=b"skill_executions_total")
    assert serving.outcomes(1) == [True]
    assert len(caplog.messages) == 1


def test_slow_clients_delay_no_scrape_and_share_the_rest_of_a_body(
    desk: Callable[..., Desk],
) -> None:
    gate = Gate()
    serving = desk(gate)
    first = serving.put()
    wait_until(lambda: gate.entered == 1)
    slow = [serving.put(small=True) for _ in range(3)]
    gate.open.release(2)
    assert read_all(first, until=b"skill_executions_total")
    assert serving.outcomes(1) == [True]

    left = serving.outcomes(3)

    bodies = set()
    for sock, pieces in zip(slow, left, strict=True):
        assert isinstance(pieces, list)
        sock.setblocking(False)
        reply = sock.recv(65_536) + b"".join(pieces)
        head, _, body = reply.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}\r\n".encode() in head
        bodies.add(id(pieces[-1].obj))
    assert len(bodies) == 1


def disconnects(reply: bytes) -> float:
    (line,) = re.findall(rb'http_responses_aborted_total{reason="disconnect"} (\S+)', reply)
    return float(line)


def test_a_client_that_disconnected_is_counted(desk: Callable[..., Desk]) -> None:
    """And is counted, as by the route."""
    serving = desk()
    before = disconnects(read_all(serving.put(), until=b"skill_executions_total"))
    assert serving.outcomes(1) == [True]
    gate = Gate()
    leaving = desk(gate)
    gone = leaving.put()
    wait_until(lambda: gate.entered == 1)
    gone.close()
    gate.open.release(2)

    assert leaving.outcomes(1) == [False]
    after = disconnects(read_all(leaving.put(), until=b"skill_executions_total"))
    assert after == before + 1
    assert leaving.outcomes(1) == [True]


def test_an_observer_that_fails_costs_no_answer(
    desk: Callable[..., Desk], caplog: pytest.LogCaptureFixture
) -> None:
    serving = desk()
    serving.observed = None  # type: ignore[assignment]  # nothing can be added to it
    clients = [serving.put(), serving.put()]

    assert serving.outcomes(2) == [True, True]
    assert all(client.recv(65_536).startswith(b"HTTP/1.1 200 OK") for client in clients)
    assert [record.message for record in caplog.records] == ["scrape_not_observed"]


def monitored(**environ: str) -> Flask:
    app = Flask("test")
    with Monitoring(app, settings=Settings.from_environ(environ), disk=False):
        return app


def test_scrapes_of_an_open_application_are_answered() -> None:
    assert scrape_thread_of(monitored(), report=print) is not None


@pytest.mark.parametrize(
    "environ", [{"ATOM_METRICS_TOKEN": "a-token-of-some-length"}, {"ATOM_MANAGEMENT_PORT": "9"}]
)
def test_an_application_with_access_control_answers_scrapes_itself(environ: dict[str, str]) -> None:
    assert scrape_thread_of(monitored(**environ), report=print) is None


def test_a_wrapped_application_sees_its_scrapes() -> None:
    """A login, for example."""
    app = monitored()
    inner = app.wsgi_app

    def guarded(environ: dict[str, Any], start_response: Any) -> Any:
        return inner(environ, start_response)

    app.wsgi_app = guarded  # type: ignore[method-assign]

    assert scrape_thread_of(app, report=print) is None


def test_an_application_without_monitoring_has_no_scrape_thread() -> None:
    assert scrape_thread_of(Flask("test"), report=print) is None
    assert scrape_thread_of(print, report=print) is None
