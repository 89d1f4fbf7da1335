"""The worker speaks HTTP as gunicorn does, whether the loop or a thread answers."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable

import pytest

from tests.support.client import Client, Reply, get
from tests.support.load import connected
from tests.support.polling import wait_until
from tests.support.service import Service

Connect = Callable[[Service], Client]

#: Sends liveness to the application: any header that the loop does not know does.
DETOUR = "X-Detour: 1"


#: What differs from one answer to the next; of readiness also its length: free space has digits.
VARYING = {
    "/health/live": {"date", "x-request-id"},
    "/health/ready": {"date", "x-request-id", "content-length"},
}


BODIES = {
    "/health/live": rb'{"status":"alive","timestamp":"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z"}',
    "/health/ready": rb'{"status":"ready","timestamp":"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z",'
    rb'"checks":{.*}}',
}


def assert_alike(path: str, by_loop: Reply, by_application: Reply) -> None:
    """Same status line, and same headers in the same order."""
    fixed, expected = (
        {name: value for name, value in reply.headers.items() if name not in VARYING[path]}
        for reply in (by_loop, by_application)
    )
    assert (by_loop.status, by_loop.version) == (by_application.status, by_application.version)
    assert by_loop.reason == by_application.reason
    assert fixed == expected
    assert list(by_loop.headers) == list(by_application.headers)
    assert re.fullmatch(r"[0-9a-f]{32}", by_loop.headers["x-request-id"])


@pytest.mark.parametrize("path", list(BODIES))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("connection", ["", "Connection: close", "Connection: keep-alive"])
def test_loop_and_application_answer_probes_alike(
    service: Service, connect: Connect, path: str, method: str, version: str, connection: str
) -> None:
    """Same head, same body; and both close or both go on."""
    headers = [connection] if connection else []
    replies, closed = [], []
    for detour in ([], [DETOUR]):
        client = connect(service)
        replies.append(client.ask(path, *headers, *detour, method=method, version=version))
        client.send(b"") if replies[-1].headers["connection"] == "keep-alive" else closed.append(
            client.is_closed()
        )
    by_loop, by_application = replies

    assert_alike(path, by_loop, by_application)
    if method == "GET":
        assert re.fullmatch(BODIES[path], by_loop.body)
        assert re.fullmatch(BODIES[path], by_application.body)
    assert closed in ([], [True, True])


def test_loop_and_application_refuse_alike(serve: Callable[..., Service]) -> None:
    """Not ready: the status line has a reason, the body the failed check, the log a line."""
    service = serve(
        app="wsgi:app", env={"ATOM_DISK_MIN_FREE_GB": "100000000", "WEB_CONCURRENCY": "1"}
    )
    with connected(service, 2) as (first, second):
        wait_until(lambda: service.get("/health/ready").status == 503)
        by_loop = first.ask("/health/ready")
        by_application = second.ask("/health/ready", DETOUR)

    assert by_loop.status == 503
    assert_alike("/health/ready", by_loop, by_application)
    for reply in (by_loop, by_application):
        checks = json.loads(reply.body)["checks"]
        assert {name: check["healthy"] for name, check in checks.items()} == {
            "database": True,
            "disk": False,
        }
    wait_until(lambda: service.logged("http_request", request_id=by_loop.headers["x-request-id"]))


def test_loop_answers_even_the_first_probe_of_its_kind(service: Service, connect: Connect) -> None:
    """Counted as liveness, without a thread: the application's own name for it never appears."""
    before = service.total("http_requests_total", endpoint="/health/live", method="GET")

    connect(service).ask("/health/live", "User-Agent: never-seen-before")

    assert service.total("http_requests_total", endpoint="/health/live", method="GET") == before + 1


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        pytest.param("abc-DEF_1.2", True, id="good"),
        pytest.param("x" * 128, True, id="longest"),
        pytest.param("x" * 129, False, id="too-long"),
        pytest.param("white space", False, id="space"),
        pytest.param("<script>", False, id="markup"),
    ],
)
def test_request_id_is_taken_when_it_is_one(
    service: Service, connect: Connect, sent: str, taken: bool
) -> None:
    reply = connect(service).ask("/health/live", f"X-Request-ID: {sent}")

    assert (reply.headers["x-request-id"] == sent) is taken


def test_request_id_is_not_remembered(service: Service, connect: Connect) -> None:
    client = connect(service)
    request = get("/health/live", "X-Request-ID: mine")

    ids = []
    for data in (request, get("/health/live"), request.replace(b"mine", b"ours")):
        client.send(data)
        ids.append(client.reply().headers["x-request-id"])

    assert ids[0] == "mine"
    assert ids[1] not in ("mine", "ours")
    assert ids[2] == "ours"


def test_one_connection_serves_probes_and_requests_in_turn(
    service: Service, connect: Connect
) -> None:
    client = connect(service)

    for _ in range(3):
        assert client.ask("/health/live").status == 200
        assert client.ask("/thread").body.startswith(b"request")
        assert client.ask("/health/ready").status == 200
        assert client.ask("/health/live", method="HEAD").body == b""


def test_pipelined_requests_are_answered_in_order(service: Service, connect: Connect) -> None:
    client = connect(service)
    echo = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"

    client.send(get("/health/live") + echo + get("/health/live", method="HEAD") + get("/pid"))

    assert b"alive" in client.reply().body
    assert client.reply().body == b"abc"
    assert client.reply(head_only=True).headers["content-length"] == "57"
    assert client.reply().body.isdigit()


def test_many_pipelined_probes_are_all_answered(service: Service, connect: Connect) -> None:
    client = connect(service)

    client.send(get("/health/live") * 100 + get("/health/live", "Connection: close"))

    replies = [client.reply() for _ in range(101)]
    assert {reply.status for reply in replies} == {200}
    assert client.is_closed()


@pytest.mark.parametrize("request_bytes", [get("/health/live"), get("/pid"), get("/health/ready")])
def test_a_head_may_come_byte_by_byte(
    service: Service, connect: Connect, request_bytes: bytes
) -> None:
    client = connect(service)
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    for byte in request_bytes:
        client.send(bytes([byte]))

    assert client.reply().status == 200


@pytest.mark.parametrize("size", [10, 60_000, 70_000, 900_000])
def test_a_body_may_come_in_pieces(service: Service, connect: Connect, size: int) -> None:
    """Small ones are gathered by the loop, large ones are read by a thread."""
    client = connect(service)
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    client.send(f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
    for start in range(0, size, 4096):
        client.send(body[start : start + 4096])

    assert client.reply().body == body
    assert client.ask("/health/live").status == 200


def test_chunked_bodies_pass(service: Service, connect: Connect) -> None:
    client = connect(service)

    client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    client.send(b"2\r\nde\r\n0\r\n\r\n")

    assert client.reply().body == b"abcde"


def test_expect_is_answered_before_the_body_is_sent(service: Service, connect: Connect) -> None:
    client = connect(service)
    client.send(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    )
    assert client.reply().status == 100

    client.send(b"abcde")

    assert client.reply().body == b"abcde"


def test_a_probe_with_a_body_is_no_probe(service: Service, connect: Connect) -> None:
    """It may be half-sent, and must hold no health thread; it is answered all the same."""
    client = connect(service)
    client.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")

    assert client.reply().status == 200
    assert client.ask("/health/live").status == 200


@pytest.mark.parametrize(
    "target", ["http://localhost/health/live", "/health/live?verbose", "/health/live/"]
)
def test_other_spellings_of_liveness_pass(service: Service, connect: Connect, target: str) -> None:
    assert connect(service).ask(target).status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"GET /health/live HTTP/1.1\n\n", 400, id="bare-lf"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nHost: x\n", 400, id="bare-lf-later"),
        pytest.param(b"get /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="method"),
        pytest.param(b"GET /health/live HTTP/9.1\r\nHost: x\r\n\r\n", 400, id="version"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, id="hosts"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nBad Name: x\r\n\r\n", 400, id="name"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400, id="folded"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400, id="nul"),
        pytest.param(b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, id="line"),
        pytest.param(
            b"GET /health/live HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431, id="fields"
        ),
        pytest.param(b"GET /pid HTTP/1.1\r\nX: " + b"y" * 70_000, 431, id="endless-head"),
        pytest.param(b"POST /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="post"),
        pytest.param(b"GET /health/lively HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="lively"),
    ],
)
def test_requests_that_gunicorn_refuses_are_refused(
    service: Service, connect: Connect, data: bytes, status: int
) -> None:
    client = connect(service)

    client.send(data)

    reply = client.reply()
    assert reply.status == status
    request_id = reply.headers["x-request-id"]
    wait_until(lambda: service.logged("http_request", request_id=request_id, status=status))


def test_an_unread_body_does_not_cut_the_answer_off(service: Service, connect: Connect) -> None:
    """The connection lingers: a reset could overtake what the client has not read yet."""
    client = connect(service)
    client.send(b"POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
    client.send(b"x" * 500_000)

    assert client.reply().body == b"ignored"
    client.send(b"x" * 400_000)
    assert client.sock.recv(1) == b""


def test_a_client_that_disconnects_leaves_nothing_behind(
    service: Service, connect: Connect
) -> None:
    """Whatever it has sent by then."""
    for data in (
        b"",
        b"GET /he",
        get("/health/live"),
        get("/sleep/0.1"),
        b"POST /echo HTTP/1.1\r\n",
    ):
        for _ in range(5):
            client = connect(service)
            client.send(data)
            client.sock.close()

    wait_until(lambda: service.total("http_requests_in_progress") == 1)
    assert service.get("/pid").status == 200
    assert service.workers()


def test_a_long_answer_arrives_whole(service: Service, connect: Connect) -> None:
    client = connect(service)
    client.send(get("/stream/32", version="1.0"))

    received = b""
    while piece := client.sock.recv(65_536):
        received += piece

    assert len(received.partition(b"\r\n\r\n")[2]) == 32 * 65_536
