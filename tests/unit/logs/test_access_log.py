"""Every request has one access line, with its ids and without secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from atom_platform.extension.middleware import MonitoringMiddleware
from atom_platform.logs import RequestContext, get_logger, log_request, propagate
from atom_platform.logs.access_log import AccessLog, _paths
from atom_platform.logs.context import RequestScope, bound_fields, note_query, outgoing_headers
from atom_platform.logs.records import LOG_OUTPUT
from atom_platform.logs.writer import Writer
from atom_platform.trace_context import parse_trace_context
from tests.support.counts import Counts
from tests.support.records import record_of
from tests.unit.logs.conftest import Log

logger = get_logger("app")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(name="make")
def _make(log: Log) -> Callable[..., Flask]:
    """Return a function that makes an observed application with the given access log."""

    def make(**options: Any) -> Flask:
        app = Flask("observed")
        app.wsgi_app = MonitoringMiddleware(  # type: ignore[method-assign]
            app.wsgi_app, recorder=Counts(), app=app, access=AccessLog(**options)
        )

        @app.get("/things/<thing>")
        def thing(thing: str) -> str:
            logger.info("inside")
            return "thing"

        @app.get("/status/<int:code>")
        def status(code: int) -> tuple[str, int]:
            return "", code

        @app.get("/health/<check>")
        def health(check: str) -> tuple[str, int]:
            return "", 503 if check == "broken" else 200

        @app.get("/raises")
        def raises() -> str:
            raise KeyError("no")

        return app

    return make


@pytest.fixture(name="app")
def _app(make: Callable[..., Flask]) -> Flask:
    return make()


def access(log: Log) -> list[dict[str, Any]]:
    return [line for line in log.lines() if line["event"] == "http_request"]


def test_a_request_has_one_line_with_the_documented_fields(app: Flask, log: Log) -> None:
    app.test_client().get("/things/a?password=hunter2", headers={"X-Request-ID": "req-1"})

    (line,) = access(log)
    assert list(line) == [
        "timestamp", "level", "logger", "event", "request_id", "method", "path", "endpoint",
        "status", "duration_ms", "bytes", "remote_addr",
    ]  # fmt: skip
    assert 0 < line.pop("duration_ms") < 10_000
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "atom_platform.access",
        "event": "http_request",
        "request_id": "req-1",
        "method": "GET",
        "path": "/things/a",
        "endpoint": "/things/<thing>",
        "status": 200,
        "bytes": 5,
        "remote_addr": "127.0.0.1",
    }


def test_every_line_of_a_request_has_the_requests_own_id(app: Flask, log: Log) -> None:
    client = app.test_client()

    first = client.get("/things/a").headers["X-Request-ID"]
    second = client.get("/things/b").headers["X-Request-ID"]

    assert [line["request_id"] for line in log.lines()] == [first, first, second, second]
    assert first != second
    assert len(first) == 32
    assert dict(bound_fields()) == {}


@pytest.mark.parametrize("claimed", ["a", "A-Z_0.9", "x" * 128])
def test_a_valid_request_id_of_the_client_is_used(app: Flask, log: Log, claimed: str) -> None:
    answer = app.test_client().get("/things/a", headers={"X-Request-ID": claimed})

    assert answer.headers.getlist("X-Request-ID") == [claimed]
    assert access(log)[0]["request_id"] == claimed


@pytest.mark.parametrize("claimed", ["", "x" * 129, "a b", 'a"b', "ü", "a,b", "{}", "a/b", "٣"])
def test_an_invalid_request_id_of_the_client_is_replaced(
    app: Flask, log: Log, claimed: str
) -> None:
    answer = app.test_client().get("/things/a", headers={"X-Request-ID": claimed})

    made = answer.headers["X-Request-ID"]
    assert made != claimed
    assert access(log)[0]["request_id"] == made


def test_a_valid_trace_context_is_in_every_line(app: Flask, log: Log) -> None:
    seen: dict[str, str] = {}

    @app.get("/calls")
    def calls() -> str:
        seen.update(outgoing_headers(), environ=request.environ["atom.request_id"])
        logger.info("inside")
        return ""

    headers = {"traceparent": TRACEPARENT, "tracestate": "x=1", "X-Request-ID": "req-1"}
    app.test_client().get("/calls", headers=headers)

    for line in log.lines():
        assert list(line)[4:7] == ["request_id", "trace_id", "span_id"]
        assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)
    assert seen["traceparent"].startswith(f"00-{TRACE}-")
    assert (seen["tracestate"], seen["X-Request-ID"], seen["environ"]) == ("x=1", "req-1", "req-1")


@pytest.mark.parametrize("traceparent", [TRACEPARENT.upper(), f"00-{'0' * 32}-{SPAN}-01", "x"])
def test_an_invalid_trace_context_is_in_no_line(app: Flask, log: Log, traceparent: str) -> None:
    app.test_client().get("/things/a", headers={"traceparent": traceparent})

    assert all("trace_id" not in line for line in log.lines())


def test_log_request_and_database_queries_add_fields(app: Flask, log: Log) -> None:
    @app.get("/work")
    def work() -> str:
        with RequestContext(step=1), ThreadPoolExecutor(1) as pool:
            log_request(
                agent_id="agent-1", password="hunter2", status=7, level="FAKE", event="FAKE"
            )
            note_query(0.0015)
            pool.submit(propagate(note_query), 0.001).result()
        return ""

    app.test_client().get("/work")

    (line,) = access(log)
    assert (line["agent_id"], line["password"]) == ("agent-1", "[redacted]")
    assert (line["db_queries"], line["db_ms"]) == (2, 2.5)
    assert (line["status"], line["level"], line["event"]) == (200, "INFO", "http_request")
    assert "step" not in line


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("/things/a", "INFO"),
        ("/nowhere", "INFO"),
        ("/status/429", "INFO"),
        ("/status/500", "ERROR"),
        ("/status/503", "ERROR"),
        ("/health/live", "DEBUG"),
        ("/health/broken", "WARNING"),
        ("/health/x/y", "INFO"),
    ],
)
def test_the_status_decides_the_level(app: Flask, log: Log, path: str, level: str) -> None:
    log.configure(level="DEBUG")

    app.test_client().get(path)

    assert [line["level"] for line in access(log)] == [level]


def test_successful_health_requests_are_logged_at_debug(app: Flask, log: Log) -> None:
    app.test_client().get("/health/live")
    app.test_client().get("/health/broken")

    assert [line["path"] for line in access(log)] == ["/health/broken"]


def test_a_500_names_its_exception(app: Flask, log: Log) -> None:
    app.test_client().get("/raises", headers={"X-Request-ID": "req-1"})

    (line,) = access(log)
    assert (line["status"], line["exception_type"], line["level"]) == (500, "KeyError", "ERROR")
    (flask,) = [each for each in log.lines() if "exception" in each]
    assert (flask["request_id"], flask["level"]) == ("req-1", "ERROR")
    assert flask["exception"].endswith("KeyError: 'no'")


def test_sampling_keeps_every_error(make: Callable[..., Flask], log: Log) -> None:
    client = make(sample=0.0).test_client()

    for path in ("/things/a", "/nowhere", "/status/500"):
        client.get(path)

    assert [line["status"] for line in access(log)] == [404, 500]


def test_a_sampled_line_has_the_sample_rate(make: Callable[..., Flask], log: Log) -> None:
    client = make(sample=0.5).test_client()

    for _ in range(200):
        client.get("/things/a")

    lines = access(log)
    assert 50 < len(lines) < 150  # seven standard deviations
    assert {line["sample"] for line in lines} == {0.5}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/things/%C3%BC", "/things/ü"),
        ("/things/%ff", "/things/�"),
        ("/things/a%22%0A%7B", '/things/a"\n{'),
        ("/things/token=hunter2", "/things/token=[redacted]"),
        ("/things/x%3A//u%3Ahunter2@h", "/things/x://u:[redacted]@h"),
        ("/things/Bearer%20hunter2", "/things/Bearer [redacted]"),
        ("/" + "x" * 2000, "/" + "x" * 1023 + "…"),
        (f"/{'x' * 999}/x%3A//u%3A{'hunter2' * 9}@h", f"/{'x' * 999}/x://u:[redacted]@h"),
    ],
)
def test_a_path_is_decoded_redacted_and_cut(app: Flask, log: Log, path: str, shown: str) -> None:
    for _ in range(2):
        app.test_client().get(path)

    assert [line["path"] for line in access(log)] == [shown] * 2


def test_the_string_cache_is_bounded(log: Log) -> None:
    access_log = AccessLog()

    for number in range(3000):
        access_log.observe(record_of("GET", "unmatched", 404, path=f"/{number}"))

    assert access(log)[-1]["path"] == "/2999"
    assert len(_paths) <= 1000


def test_long_parts_of_a_client_count_against_the_queues_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """The address too: a proxy may have sent it. The queue has room for a number of bytes."""
    drops: list[tuple[str, int]] = []
    with (tmp_path / "log").open("wb") as file:
        writer = Writer(
            file.fileno(), max_lines=10, max_bytes=4000, on_drop=lambda *told: drops.append(told)
        )
        monkeypatch.setattr(LOG_OUTPUT, "writer", writer)
        for method, path, address in (
            ("GET", "/a", "::1"),
            ("G" * 5000, "/a", "::1"),
            ("GET", "/" + "\n" * 1000, "::1"),
            ("GET", "/a", "x" * 5000),
        ):
            AccessLog().observe(record_of(method, "/a", path=path, remote_addr=address))
        monkeypatch.undo()
        writer.close()

    assert drops == [("queue_full", 1)] * 2
    assert len((tmp_path / "log").read_bytes().splitlines()) == 2


def test_lines_of_a_streamed_body_belong_to_its_request(app: Flask, log: Log) -> None:
    @app.get("/stream")
    def stream() -> Response:
        def body() -> Iterator[str]:
            logger.info("first")
            yield "a"
            logger.info("second")
            yield "b"

        response = Response(body())
        response.call_on_close(lambda: logger.info("closed"))
        return response

    with app.test_client() as client:
        client.get("/stream", headers={"X-Request-ID": "req-1"}).close()
        logger.info("after")

    lines = log.lines()
    assert [line["event"] for line in lines[-1:]] == ["after"]
    assert "request_id" not in lines[-1]
    assert {line["request_id"] for line in lines[:-1]} == {"req-1"}


def test_lines_logged_while_a_body_is_closed_belong_to_its_request(app: Flask, log: Log) -> None:
    @app.get("/closes")
    def closes() -> Response:
        response = Response("whole")
        response.call_on_close(lambda: logger.info("closed"))
        return response

    app.test_client().get("/closes", headers={"X-Request-ID": "req-1"}).close()

    assert {line["event"]: line["request_id"] for line in log.lines()} == {
        "http_request": "req-1",
        "closed": "req-1",
    }


def test_nothing_of_a_request_leaks_into_another_thread(app: Flask, log: Log) -> None:
    def ask(number: int) -> None:
        for _ in range(20):
            app.test_client().get(f"/things/{number}", headers={"X-Request-ID": f"req-{number}"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))

    lines = log.lines()
    assert len(lines) == 8 * 20 * 2
    for line in access(log):
        assert line["path"] == f"/things/{line['request_id'].removeprefix('req-')}"


def test_a_request_answered_by_the_server_has_the_same_line(app: Flask, log: Log) -> None:
    observed = app.wsgi_app
    assert isinstance(observed, MonitoringMiddleware)
    log.configure(level="DEBUG")
    app.test_client().get("/health/live", headers={"X-Request-ID": "r", "traceparent": TRACEPARENT})
    observed.observe(
        record_of(
            "GET",
            "/health/<check>",
            path="/health/live",
            remote_addr="127.0.0.1",
            request_id="r",
            trace=parse_trace_context(TRACEPARENT),
        )
    )

    one, other = access(log)
    for line in (one, other):
        del line["timestamp"], line["duration_ms"]
    assert list(one.items()) == list(other.items())


def test_the_line_of_a_rejected_request_has_the_reason(app: Flask, log: Log) -> None:
    observed = app.wsgi_app
    assert isinstance(observed, MonitoringMiddleware)

    observed.observe(record_of("OTHER", "unmatched", 431, path="", reason="token=hunter2"))

    (line,) = access(log)
    assert (line["status"], line["reason"]) == (431, "token=[redacted]")
    assert len(line["request_id"]) == 32


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
@pytest.mark.parametrize("traced", [True, False])
def test_the_fast_and_the_general_path_write_the_same_line(
    log: Log, level: str, traced: bool
) -> None:
    """Most lines are joined from kept strings; an unusual one is a dictionary that is encoded."""
    log.configure(level=level)
    request = record_of(
        'G"\udcffT',
        "/things/<thing>",
        200,
        1.0345,
        path='/health/\u00fc\\"\n',
        body_bytes=7,
        remote_addr='::1"',
        request_id="req-1",
        trace=parse_trace_context(TRACEPARENT) if traced else None,
    )
    created = record_of("GET", "/a", 201, 0.5, body_bytes=1, request_id="req-1")
    usual, asked, told = AccessLog(), AccessLog(), AccessLog()
    usual.observe(request)
    exchange = RequestScope()
    exchange.request_id = "req-1"
    extras = exchange.ensure_extras()
    extras.db_queries, extras.db_seconds = 2, 0.0125
    asked.write(exchange, created)
    told.observe(request._replace(reason="none"))
    extras.fields = {"reason": "none"}
    told.write(exchange, created)

    lines = [{key: each[key] for key in each if key != "timestamp"} for each in log.lines()]
    short, long = lines[: len(lines) // 2], lines[len(lines) // 2 :]

    assert len(short) == (2 if level == "DEBUG" else 1)
    assert [{**each, "reason": "none"} for each in short] == long
    assert [list(each) for each in short] == [list(each)[:-1] for each in long]


def test_an_invalid_id_from_the_server_is_replaced(log: Log) -> None:
    """The server passes on what it read, and the fast path does not escape it."""
    AccessLog().observe(record_of("GET", "/a", 404, request_id='a","level":"x'))

    assert len(access(log)[0]["request_id"]) == 32
    assert access(log)[0]["level"] == "INFO"


def test_the_console_format_shows_access_lines(app: Flask, log: Log) -> None:
    log.configure(format="console")

    app.test_client().get("/nowhere")

    assert "http_request" in log.text()


def test_the_access_logger_may_have_a_level_of_its_own(app: Flask, log: Log) -> None:
    log.configure(levels={"atom_platform.access": "WARNING"})

    app.test_client().get("/things/a")

    assert [line["event"] for line in log.lines()] == ["inside"]
    logging.getLogger("atom_platform.access").setLevel(logging.NOTSET)
