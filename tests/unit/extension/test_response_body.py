"""A client gets the same bytes with and without the middleware."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, stream_with_context
from werkzeug.test import create_environ, run_wsgi_app

from atom_platform.extension.middleware import MonitoringMiddleware
from tests.support.counts import Counts


class Shouting(Response):
    """A response that makes its body in its own way."""

    def iter_encoded(self) -> Iterator[bytes]:
        return (piece.upper() for piece in super().iter_encoded())


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/text", "/json", "/empty", "/stream", "/own", "/missing"])
def test_every_answer_is_the_one_that_flask_gives(path: str, method: str) -> None:
    def application() -> Flask:
        app = Flask("plain")
        app.add_url_rule("/text", view_func=lambda: "text ü", methods=["GET", "POST"])
        app.add_url_rule("/json", "json", lambda: {"a": [1, 2]})
        app.add_url_rule("/empty", "empty", lambda: ("", 204))
        app.add_url_rule("/stream", "stream", lambda: stream_with_context(iter(["a", "b"])))
        app.add_url_rule("/own", "own", lambda: Shouting("quiet"))
        return app

    def ask(wsgi: Any) -> tuple[bytes, str, list[tuple[str, str]]]:
        pieces, status, headers = run_wsgi_app(wsgi, create_environ(path, method=method))
        return b"".join(pieces), status, list(headers)

    counts, app = Counts(), application()

    plain = ask(application())
    observed = ask(MonitoringMiddleware(app.wsgi_app, app=app, recorder=counts))

    assert observed == plain
    assert [status for _, _, status in counts.requests] == [int(plain[1][:3])]


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_client_that_disconnects_from_a_list_is_counted(kind: type) -> None:
    counts = Counts()

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return kind((b"a", b"b"))

    middleware = MonitoringMiddleware(application, recorder=counts)
    body: Any = middleware(create_environ("/"), lambda *_: lambda data: None)
    assert list(body) == [b"a", b"b"]
    try:
        raise BrokenPipeError
    except BrokenPipeError:
        body.close()

    assert len(counts.requests) == 1
    assert counts.aborted == ["disconnect"]
