"""Every request is counted once, as what its client got, before the client has all of it."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from flask import Flask, Response, abort, redirect, send_file, stream_with_context
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response as PlainResponse

from atom_platform.extension.labels import queue_seconds
from atom_platform.extension.middleware import MonitoringMiddleware
from atom_platform.monitoring import Monitoring
from tests.support.counts import Counts
from tests.support.polling import wait_until
from tests.support.records import record_of


@pytest.fixture(name="counts")
def _counts() -> Iterator[Counts]:
    counts = Counts()
    yield counts
    assert counts.in_progress == 0


@pytest.fixture(name="app")
def _app(counts: Counts) -> Flask:
    app = Flask("observed")
    app.wsgi_app = MonitoringMiddleware(app.wsgi_app, recorder=counts, app=app, access=counts)  # type: ignore[method-assign]

    @app.get("/things/<int:number>")
    def thing(number: int) -> dict[str, int]:
        return {"number": number}

    @app.get("/folder/")
    def folder() -> str:
        return "folder"

    @app.get("/raises")
    def raises() -> str:
        raise KeyError("no")

    @app.get("/aborts/<int:code>")
    def aborts(code: int) -> str:
        abort(code)

    @app.get("/moved")
    def moved() -> PlainResponse:
        return redirect("/things/1")

    @app.route("/empty", methods=["GET", "POST"])
    def empty() -> tuple[str, int]:
        return "", 204

    @app.get("/unchanged")
    def unchanged() -> Response:
        return Response(status=304)

    return app


def test_what_matched_is_counted_once(app: Flask, counts: Counts) -> None:
    assert app.test_client().get("/things/7").status_code == 200

    assert counts.requests == [("GET", "/things/<int:number>", 200)]
    assert counts.exceptions == []
    assert counts.aborted == []


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "status"),
    [
        ("GET", "/nowhere", "unmatched", 404),
        ("GET", "/things/x", "unmatched", 404),
        ("POST", "/things/7", "/things/<int:number>", 405),
        ("BREW", "/things/7", "/things/<int:number>", 405),
        ("GET", "/folder", "/folder/", 308),
        ("POST", "/folder/", "/folder/", 405),
        ("POST", "/folder", "unmatched", 404),
        ("GET", "/folder/", "/folder/", 200),
        ("HEAD", "/things/7", "/things/<int:number>", 200),
        ("OPTIONS", "/things/7", "/things/<int:number>", 200),
        ("GET", "/aborts/404", "/aborts/<int:code>", 404),
        ("GET", "/aborts/418", "/aborts/<int:code>", 418),
        ("GET", "/aborts/503", "/aborts/<int:code>", 503),
        ("GET", "/moved", "/moved", 302),
        ("POST", "/empty", "/empty", 204),
        ("GET", "/unchanged", "/unchanged", 304),
        ("GET", "/static/none.css", "/static/<path:filename>", 404),
        ("GET", "/things//7", "/things/<int:number>", 308),
    ],
)
def test_the_rule_is_known_whatever_the_answer(
    app: Flask, counts: Counts, method: str, path: str, endpoint: str, status: int
) -> None:
    answer = app.test_client().open(path, method=method)

    assert answer.status_code == status
    assert counts.requests == [(method, endpoint, status)]
    assert counts.exceptions == []
    assert counts.aborted == []


def test_an_application_below_a_prefix_recovers_its_rules(app: Flask, counts: Counts) -> None:
    client = app.test_client()
    client.post("/things/7", base_url="http://localhost/prefix")
    client.get("/folder", base_url="http://localhost/prefix")

    assert [endpoint for _, endpoint, _ in counts.requests] == ["/things/<int:number>", "/folder/"]


def test_an_exception_is_one_500_and_has_its_name(app: Flask, counts: Counts) -> None:
    assert app.test_client().get("/raises").status_code == 500

    assert counts.requests == [("GET", "/raises", 500)]
    assert counts.exceptions == [("/raises", "KeyError")]


def test_an_exception_on_its_way_to_the_server_is_one_500(app: Flask, counts: Counts) -> None:
    app.testing = True

    with pytest.raises(KeyError):
        app.test_client().get("/raises")

    assert counts.requests == [("GET", "/raises", 500)]
    assert counts.exceptions == [("/raises", "KeyError")]


def test_an_exception_that_a_handler_answers_is_none(app: Flask, counts: Counts) -> None:
    app.register_error_handler(KeyError, lambda error: ("known", 409))

    assert app.test_client().get("/raises").status_code == 409
    assert counts.requests == [("GET", "/raises", 409)]
    assert counts.exceptions == []


def test_an_early_answer_of_a_hook_counts(app: Flask, counts: Counts) -> None:
    app.before_request(lambda: ("who are you", 401))

    assert app.test_client().get("/things/7").status_code == 401
    assert counts.requests == [("GET", "/things/<int:number>", 401)]


def test_an_error_in_teardown_is_the_500_that_the_client_gets(app: Flask, counts: Counts) -> None:
    @app.teardown_request
    def broken(error: BaseException | None) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        app.test_client().get("/things/7")

    assert counts.requests == [("GET", "/things/<int:number>", 500)]
    assert counts.exceptions == [("/things/<int:number>", "RuntimeError")]


def test_an_error_in_after_request_is_one_500(app: Flask, counts: Counts) -> None:
    @app.after_request
    def broken(response: Response) -> Response:
        raise RuntimeError

    assert app.test_client().get("/things/7").status_code == 500
    assert counts.requests == [("GET", "/things/<int:number>", 500)]


def test_the_end_of_a_worker_is_counted_and_goes_on(app: Flask, counts: Counts) -> None:
    @app.get("/hangs")
    def hangs() -> str:
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        app.test_client().get("/hangs")

    assert counts.requests == [("GET", "/hangs", 500)]
    assert counts.exceptions == [("/hangs", "SystemExit")]


def call(
    wsgi_app: Callable[..., Iterable[bytes]], **environ: Any
) -> tuple[Any, list[tuple[str, list[tuple[str, str]]]]]:
    """Call *wsgi_app* as a server does, and return the body, unread, and what was started."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return written.append

    base = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": "", "REMOTE_ADDR": "::1"}
    return wsgi_app({**base, **environ}, start_response), started


def test_without_a_log_exceptions_are_counted_all_the_same(counts: Counts) -> None:
    app = Flask("unlogged")
    app.wsgi_app = MonitoringMiddleware(app.wsgi_app, recorder=counts, app=app)  # type: ignore[method-assign]

    @app.get("/raises")
    def raises() -> str:
        raise KeyError("no")

    assert app.test_client().get("/raises").status_code == 500

    assert counts.requests == [("GET", "/raises", 500)]
    assert counts.exceptions == [("/raises", "KeyError")]


def streamed(
    *chunks: bytes | BaseException, status: str = "200 OK", length: int | None = None
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """An application whose body yields *chunks*, and raises those that can be raised."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        headers = [] if length is None else [("content-length", str(length))]
        start_response(status, headers)

        def body() -> Iterator[bytes]:
            for chunk in chunks:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk

        return body()

    return application


def test_a_streamed_body_is_counted_at_its_end(counts: Counts) -> None:
    body, _ = call(MonitoringMiddleware(streamed(b"a", b"", b"bc"), recorder=counts, access=counts))

    assert next(body) == b"a"
    assert counts.requests == []
    assert counts.in_progress == 1
    assert list(body) == [b"", b"bc"]
    assert counts.requests == [("GET", "unmatched", 200)]
    body.close()

    assert counts.bytes == [3]
    assert len(counts.requests) == 1


def test_the_duration_runs_to_the_end_of_the_body(counts: Counts) -> None:
    body, _ = call(MonitoringMiddleware(streamed(b"a", b"b"), recorder=counts))
    next(body)
    threading.Event().wait(0.05)
    list(body)
    body.close()

    assert 0.05 <= counts.durations[0] < 5


@pytest.mark.parametrize("chunks", [(b"abc",), (b"a", b"bc"), (b"", b"abc"), (b"ab", b"c", b"")])
def test_it_is_counted_before_the_last_byte_leaves(
    counts: Counts, chunks: tuple[bytes, ...]
) -> None:
    body, _ = call(
        MonitoringMiddleware(streamed(*chunks, length=3), recorder=counts, access=counts)
    )
    sent = b""
    for chunk in body:
        sent += chunk
        assert bool(counts.requests) is (sent == b"abc")
    body.close()

    assert counts.bytes == [3]
    assert len(counts.requests) == 1


def test_a_list_is_counted_at_once(counts: Counts) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("201 Created", [])
        return [b"ab", b"c"]

    body, _ = call(MonitoringMiddleware(application, recorder=counts, access=counts))

    assert counts.requests == [("GET", "unmatched", 201)]
    assert counts.bytes == [3]
    assert body == [b"ab", b"c"]


@pytest.mark.parametrize("length", [None, 10])
def test_a_body_that_fails_at_once_is_a_500(counts: Counts, length: int | None) -> None:
    observed = MonitoringMiddleware(streamed(ValueError(), length=length), recorder=counts)

    with pytest.raises(ValueError):
        list(call(observed)[0])

    assert counts.requests == [("GET", "unmatched", 500)]
    assert counts.exceptions == [("unmatched", "ValueError")]
    assert counts.aborted == []


@pytest.mark.parametrize("length", [None, 10])
def test_a_body_that_fails_in_the_middle_keeps_its_status(
    counts: Counts, length: int | None
) -> None:
    observed = MonitoringMiddleware(streamed(b"ab", ValueError(), length=length), recorder=counts)
    body, _ = call(observed)

    assert next(body) == b"ab"
    with pytest.raises(ValueError):
        next(body)
    body.close()

    assert counts.requests == [("GET", "unmatched", 200)]
    assert counts.exceptions == [("unmatched", "ValueError")]
    assert counts.aborted == ["error"]


@pytest.mark.parametrize("length", [None, 10])
def test_a_client_that_hangs_up_is_counted(counts: Counts, length: int | None) -> None:
    observed = MonitoringMiddleware(
        streamed(b"ab", b"cd", length=length), recorder=counts, access=counts
    )
    body, _ = call(observed)
    next(body)
    try:
        raise BrokenPipeError
    except BrokenPipeError:
        body.close()

    assert counts.requests == [("GET", "unmatched", 200)]
    assert counts.aborted == ["disconnect"]
    assert counts.bytes == [2]


@pytest.mark.parametrize("chunks", [(b"abcd",), (b"ab", b"cd")])
def test_a_client_that_hangs_up_on_the_last_piece_is_counted_too(
    counts: Counts, chunks: tuple[bytes, ...]
) -> None:
    observed = MonitoringMiddleware(streamed(*chunks, length=4), recorder=counts, access=counts)
    body, _ = call(observed)
    list(body)
    try:
        raise ConnectionResetError
    except ConnectionResetError:
        body.close()

    assert len(counts.requests) == 1
    assert counts.aborted == ["disconnect"]


def test_a_worker_that_ends_in_the_middle_is_not_the_clients_fault(counts: Counts) -> None:
    body, _ = call(MonitoringMiddleware(streamed(b"ab", b"cd"), recorder=counts))
    next(body)
    try:
        raise SystemExit
    except SystemExit:
        body.close()

    assert counts.aborted == ["error"]


def test_the_applications_body_is_closed_once(counts: Counts) -> None:
    closed = []

    class Body:
        def __init__(self, *chunks: bytes) -> None:
            self.chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.chunks)

        def close(self) -> None:
            closed.append(self.chunks)

    for length in ("2", "4", None):

        def application(environ: Any, start_response: Any, length: str | None = length) -> Body:
            start_response("200 OK", [("Content-Length", length)] if length else [])
            return Body(b"ab")

        body, _ = call(MonitoringMiddleware(application, recorder=counts))
        assert list(body) == [b"ab"]
        body.close()

    assert closed == [(b"ab",)] * 3
    assert len(counts.requests) == 3


def test_the_write_callable_counts(counts: Counts) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"abc")
        return [b"de"]

    call(MonitoringMiddleware(application, recorder=counts, access=counts))

    assert counts.bytes == [5]


def test_an_error_after_write_has_cut_the_answer_off(counts: Counts) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"abc")
        raise ValueError

    with pytest.raises(ValueError):
        call(MonitoringMiddleware(application, recorder=counts))

    assert counts.requests == [("GET", "unmatched", 200)]
    assert counts.aborted == ["error"]


def test_the_second_start_response_counts(counts: Counts) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError as error:
            start_response("502 Bad Gateway", [], (ValueError, error, error.__traceback__))
        return [b"sorry"]

    _, started = call(MonitoringMiddleware(application, recorder=counts))

    assert [status for status, _ in started] == ["200 OK", "502 Bad Gateway"]
    assert counts.requests == [("GET", "unmatched", 502)]


def test_no_start_response_is_a_500(counts: Counts) -> None:
    body, _ = call(MonitoringMiddleware(lambda environ, start: [b"x"], recorder=counts))
    list(body)
    body.close()

    assert counts.requests == [("GET", "unmatched", 500)]


def test_a_late_start_response_counts(counts: Counts) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("202 Accepted", [])
        yield b"x"

    body, _ = call(MonitoringMiddleware(application, recorder=counts))
    list(body)
    body.close()

    assert counts.requests == [("GET", "unmatched", 202)]


def test_head_and_not_modified_have_no_body_to_be_cut_off(app: Flask, counts: Counts) -> None:
    app.test_client().head("/things/7")
    body, _ = call(
        MonitoringMiddleware(streamed(b"ab"), recorder=counts, access=counts), REQUEST_METHOD="HEAD"
    )
    body.close()

    assert counts.aborted == []
    assert counts.bytes == [0, 0]


def test_our_request_id_is_returned_once(counts: Counts) -> None:
    headers = [("X-Request-Id", "theirs"), ("Content-Length", "0")]

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return []

    for _ in range(2):
        _, started = call(MonitoringMiddleware(application, recorder=counts, access=counts))
        assert started == [("200 OK", [("Content-Length", "0"), ("X-Request-ID", "req-1")])]
    assert headers == [("X-Request-Id", "theirs"), ("Content-Length", "0")]


def test_a_list_of_headers_that_the_application_keeps_does_not_grow(counts: Counts) -> None:
    headers = [("Content-Length", "0")]

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return []

    call(MonitoringMiddleware(application, recorder=counts, access=counts))

    assert headers == [("Content-Length", "0")]


def test_a_body_for_head_is_none(counts: Counts) -> None:
    """The server drops it, so it is no byte of the answer."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"body"]

    call(MonitoringMiddleware(application, recorder=counts, access=counts), REQUEST_METHOD="HEAD")

    assert counts.bytes == [0]


def test_without_a_log_no_header_is_added(counts: Counts) -> None:
    body, started = call(MonitoringMiddleware(streamed(b"x"), recorder=counts))
    body.close()

    assert started == [("200 OK", [])]


class FileWrapper:
    """What gunicorn puts into `wsgi.file_wrapper`: it looks for exactly this type."""

    def __init__(self, file: Any, size: int = 8192) -> None:
        self.filelike = file
        self.size = size
        self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.size), b"")


@pytest.mark.parametrize(("size", "kept"), [(10, False), (65_537, True)])
def test_a_large_file_is_left_to_the_servers_sendfile(
    app: Flask, counts: Counts, size: int, kept: bool
) -> None:
    file = io.BytesIO(b"x" * size)

    @app.get("/file")
    def download() -> Response:
        return send_file(file, mimetype="text/plain", max_age=0)

    environ = app.test_request_context("/file").request.environ
    environ.pop("werkzeug.request")
    body, _ = call(app.wsgi_app, **environ, **{"wsgi.file_wrapper": FileWrapper})

    assert isinstance(body, FileWrapper) is kept
    if not kept:
        assert counts.requests == [("GET", "/file", 200)]
        assert b"".join(body) == b"x" * size
    body.close()

    assert file.closed
    assert counts.requests == [("GET", "/file", 200)]
    assert counts.bytes == [size]


def test_a_large_file_cut_off_is_a_hang_up(counts: Counts) -> None:
    def application(environ: Any, start_response: Any) -> FileWrapper:
        start_response("200 OK", [("Content-Length", "70000")])
        return FileWrapper(io.BytesIO(b"x" * 70_000))

    observed = MonitoringMiddleware(application, recorder=counts)
    body, _ = call(observed, **{"wsgi.file_wrapper": FileWrapper})
    try:
        raise ConnectionResetError
    except ConnectionResetError:
        body.close()

    assert counts.requests == [("GET", "unmatched", 200)]
    assert counts.aborted == ["disconnect"]


def test_what_was_answered_elsewhere_counts_the_same(app: Flask, counts: Counts) -> None:
    observed = app.wsgi_app
    assert isinstance(observed, MonitoringMiddleware)

    observed.observe(record_of("GET", "/health/live", 200, 0.001, body_bytes=61))

    assert counts.requests == [("GET", "/health/live", 200)]
    assert counts.bytes == [61]


NOW = 1_712_345_678.5


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        ("t=1712345678.000", 0.5),
        ("1712345678.25", 0.25),
        ("t=1712345678000", 0.5),
        ("1712345678000.0", 0.5),
        ("t=1712345678000000", 0.5),
        (" 1712345678 ", 0.5),
        ("1712345678.52", 0.0),
        ("1712345679", None),
        ("1712340000", None),
        ("0", None),
        ("-1", None),
        ("t=", None),
        ("now", None),
        ("1e9", None),
        ("nan", None),
        ("9" * 400, None),
        ("١٧١٢٣٤٥٦٧٨", None),
    ],
)
def test_the_load_balancers_clock(header: str, waited: float | None) -> None:
    assert queue_seconds(header, NOW) == (None if waited is None else pytest.approx(waited))


def test_the_wait_in_front_of_us_is_observed(app: Flask, counts: Counts) -> None:
    app.test_client().get("/things/7", headers={"X-Request-Start": f"t={time.time() - 2:.3f}"})
    app.test_client().get("/things/7", headers={"X-Request-Start": "nonsense"})

    assert counts.queued == [pytest.approx(2, abs=1)]


@pytest.fixture(name="server")
def _server(app: Flask) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_real_client_that_hangs_up(app: Flask, counts: Counts, server: int) -> None:
    left = threading.Event()

    @app.get("/endless")
    def endless() -> Response:
        def body() -> Iterator[bytes]:
            yield b"x"
            left.wait(10)
            while True:
                yield b"x" * 65_536

        return Response(stream_with_context(body()))

    with socket.create_connection(("127.0.0.1", server)) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(100)
    left.set()

    wait_until(lambda: counts.aborted)
    assert counts.aborted == ["disconnect"]
    assert counts.requests == [("GET", "/endless", 200)]


def test_a_thousand_requests_in_eight_threads(app: Flask, counts: Counts) -> None:
    def work() -> None:
        client = app.test_client()
        for number in range(125):
            client.get(f"/things/{number}")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(counts.requests) == 1000


def test_werkzeugs_own_client_reads_everything(app: Flask, counts: Counts) -> None:
    """It closes a body that it has not read to the end, as some servers do for HEAD."""
    environ = app.test_request_context("/things/1").request.environ
    environ.pop("werkzeug.request")

    body, status, _ = run_wsgi_app(app.wsgi_app, environ, buffered=True)

    assert (b"".join(body), status) == (b'{"number":1}\n', "200 OK")
    assert len(counts.requests) == 1


def test_monitoring_puts_no_hook_into_the_application() -> None:
    """One hook costs every request more than counting it; ours stand around the application."""
    app = Flask("observed")
    with Monitoring(app):
        hooks = app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs

        assert hooks == ({}, {}, {})
        refused = app.test_client().post("/health/live")
        assert (refused.status_code, refused.headers["Cache-Control"]) == (405, "no-store")


@pytest.mark.parametrize("fails_at", ["iter", "next"])
def test_a_body_that_fails_before_the_server_has_it_is_closed(
    counts: Counts, fails_at: str
) -> None:
    closed: list[bool] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            if fails_at == "iter":
                raise ValueError
            return self

        def __next__(self) -> bytes:
            raise ValueError

        def close(self) -> None:
            closed.append(True)

    def application(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [("Content-Length", "5")])
        return Body()

    with pytest.raises(ValueError):
        call(MonitoringMiddleware(application, recorder=counts))

    assert closed == [True]
    assert counts.requests == [("GET", "unmatched", 500)]


@pytest.mark.parametrize("hung_up", [False, True])
def test_what_an_application_does_after_its_last_piece_is_done(
    counts: Counts, hung_up: bool
) -> None:
    done: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "5")])

        def body() -> Iterator[bytes]:
            try:
                yield b"hello"
                done.append("after")
            finally:
                done.append("closed")

        return body()

    body, _ = call(MonitoringMiddleware(application, recorder=counts))
    assert list(body) == [b"hello"]
    try:
        raise BrokenPipeError if hung_up else LookupError
    except BrokenPipeError:
        body.close()
    except LookupError:
        pass
    if not hung_up:
        body.close()

    assert done == (["closed"] if hung_up else ["after", "closed"])
    assert counts.aborted == (["disconnect"] if hung_up else [])


def test_an_application_inside_of_another_counts_once(counts: Counts) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x"]

    class Access(Counts):
        def begin(self, exchange: Any, environ: dict[str, Any]) -> None:
            super().begin(exchange, environ)
            environ["atom.request_id"] = exchange.request_id

    inner, outer = Counts(), Access()
    inside = MonitoringMiddleware(application, recorder=inner, access=inner)

    call(MonitoringMiddleware(inside, recorder=outer, access=outer))

    assert (len(outer.requests), len(inner.requests)) == (1, 0)


def test_a_piece_notices_a_hang_up_where_the_server_does_not_tell(
    app: Flask, counts: Counts
) -> None:
    environ = app.test_request_context("/things/1").request.environ
    environ.pop("werkzeug.request")
    body, _ = call(app.wsgi_app, **environ)
    assert b"".join(body) == b'{"number":1}\n'
    try:
        raise ConnectionResetError
    except ConnectionResetError:
        body.close()

    assert counts.aborted == ["disconnect"]
