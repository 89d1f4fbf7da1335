"""Which bodies are known to be whole: those, and only those, that nothing is left to do for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, json, stream_with_context
from werkzeug.test import create_environ, run_wsgi_app
from werkzeug.wrappers import Response as WerkzeugResponse
from werkzeug.wsgi import ClosingIterator

from atom_platform.extension.middleware import MonitoringMiddleware
from atom_platform.extension.response_body import piece_of
from tests.metrics.counts import Counts


class Shouting(Response):
    """A response that makes its body in its own way."""

    def iter_encoded(self) -> Iterator[bytes]:
        return (piece.upper() for piece in super().iter_encoded())


class Elsewhere(Response):
    """A response that lets werkzeug encode something else than what it holds."""

    def iter_encoded(self) -> Iterator[bytes]:
        return WerkzeugResponse(b"something else").iter_encoded()


class Relabelled(Response):
    """A response that only has another default."""

    default_mimetype = "text/plain"


class Cleaning(Response):
    """A response with a method that is to be called at the end."""

    def clean_up(self) -> None:
        self.cleaned = True


def closed_by(function: Callable[[], None]) -> Response:
    response = Response("body")
    response.call_on_close(function)
    return response


def generated() -> Response:
    return Response(piece for piece in ("body",))


def body_of(response: WerkzeugResponse, method: str = "GET") -> Iterable[bytes]:
    return response(create_environ(method=method), lambda *_: lambda data: None)


@pytest.mark.parametrize(
    "response",
    [
        Response("body"),
        Response(b"body"),
        WerkzeugResponse("body"),
        Relabelled("body"),
        Response(json.dumps({"a": 1}), mimetype="application/json"),
    ],
    ids=lambda response: type(response).__name__,
)
def test_a_response_that_is_whole_is_known_to_be(response: WerkzeugResponse) -> None:
    body = body_of(response)

    assert piece_of(body) == list(body)


@pytest.mark.parametrize(
    "response",
    [
        generated(),
        Response([b"bo", b"dy"]),
        Response((b"body",)),
        Response(["text that is still to be encoded"]),
        closed_by(lambda: None),
        Shouting("body"),
        Elsewhere("body"),
        Response(status=204),
        Response(status=304),
    ],
    ids=["generated", "pieces", "tuple", "text", "closed-by", "own", "elsewhere", "204", "304"],
)
def test_any_other_is_not(response: Response) -> None:
    for _ in range(2):  # what is found out about a class is remembered
        assert piece_of(body_of(response)) is None


def test_the_answer_to_head_has_no_piece() -> None:
    assert piece_of(body_of(Response("body"), "HEAD")) is None


@pytest.mark.parametrize(
    "made",
    [
        lambda: [b"body"],
        lambda: iter([b"body"]),
        lambda: ClosingIterator([b"body"]),
        lambda: ClosingIterator([b"body"], [print, Response("other").close]),
        lambda: ClosingIterator(Response("body").iter_encoded(), [lambda: None]),
        lambda: ClosingIterator(Response("body").iter_encoded(), [Cleaning("other").clean_up]),
        lambda: ClosingIterator((x for x in [b"body"]), [Response("other").close]),
        lambda: ClosingIterator(Response("body").iter_encoded(), [print, Response("o").close]),
    ],
    ids=["list", "iterator", "bare", "cleaned", "function", "method", "generator", "two"],
)
def test_what_others_make_of_werkzeugs_parts_is_not(made: Callable[[], Iterable[bytes]]) -> None:
    assert piece_of(made()) is None


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
