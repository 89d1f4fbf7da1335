"""A response is known to be whole only if nothing of it is left to do when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, json
from werkzeug.test import create_environ
from werkzeug.wrappers import Response as WerkzeugResponse
from werkzeug.wsgi import ClosingIterator

from atom_platform.extension import _compat_werkzeug
from atom_platform.extension._compat_werkzeug import is_proven, whole_body_of
from atom_platform.extension.middleware import MonitoringMiddleware
from tests.support.counts import Counts


class Shouting(Response):
    """A response that makes its body in its own way."""

    def iter_encoded(self) -> Iterator[bytes]:
        return (piece.upper() for piece in super().iter_encoded())


class Elsewhere(Response):
    """A response that lets werkzeug encode something other than what it holds."""

    def iter_encoded(self) -> Iterator[bytes]:
        return WerkzeugResponse(b"something else").iter_encoded()


class Closing(Response):
    """A response that does something when it is closed."""

    def close(self) -> None:
        super().close()


class Relabelled(Response):
    """A response that only has another default."""

    default_mimetype = "text/plain"


def closed_by(function: Callable[[], None]) -> Response:
    response = Response("body")
    response.call_on_close(function)
    return response


def body_of(response: WerkzeugResponse, method: str = "GET") -> Iterable[bytes]:
    return response(create_environ(method=method), lambda *_: lambda data: None)


def test_the_installed_werkzeug_is_proven() -> None:
    assert is_proven()


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
def test_a_response_of_one_piece_is_whole(response: WerkzeugResponse) -> None:
    body = body_of(response)

    assert whole_body_of(body) == list(body)


@pytest.mark.parametrize(
    "response",
    [
        Response(piece for piece in ("body",)),
        Response([b"bo", b"dy"]),
        Response((b"body",)),
        Response(["text that is still to be encoded"]),
        closed_by(lambda: None),
        Shouting("body"),
        Elsewhere("body"),
        Closing("body"),
        Response(status=204),
        Response(status=304),
    ],
    ids=[
        "generated",
        "pieces",
        "tuple",
        "text",
        "closed-by",
        "own",
        "elsewhere",
        "closing",
        "204",
        "304",
    ],
)
def test_any_other_response_is_not(response: Response) -> None:
    for _ in range(2):  # the second call knows the class
        assert whole_body_of(body_of(response)) is None


def test_the_response_to_head_is_not() -> None:
    assert whole_body_of(body_of(Response("body"), "HEAD")) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: [b"body"],
        lambda: iter([b"body"]),
        lambda: ClosingIterator([b"body"]),
        lambda: ClosingIterator([b"body"], [print, Response("other").close]),
        lambda: ClosingIterator(Response("body").iter_encoded(), [lambda: None]),
        lambda: ClosingIterator((x for x in [b"body"]), [Response("other").close]),
        lambda: ClosingIterator(Response("body").iter_encoded(), [print, Response("o").close]),
    ],
    ids=["list", "iterator", "bare", "other-close", "function", "generator", "two-callbacks"],
)
def test_an_iterator_of_others_is_not(make: Callable[[], Iterable[bytes]]) -> None:
    assert whole_body_of(make()) is None


@pytest.mark.parametrize("version", ["2.3.8", "3.2.0", "4.0.0"])
def test_a_version_that_was_not_read_is_not_proven(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)

    assert not is_proven()


def test_without_proof_every_body_takes_the_general_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compat_werkzeug, "_PROVEN", False)
    monkeypatch.setattr(_compat_werkzeug, "_plain_classes", set())
    counts, app = Counts(), Flask("plain")
    app.add_url_rule("/text", view_func=lambda: "text")
    middleware = MonitoringMiddleware(app.wsgi_app, app=app, recorder=counts)

    body: Any = middleware(create_environ("/text"), lambda *_: lambda data: None)

    assert whole_body_of(body_of(Response("body"))) is None
    assert list(body) == [b"text"]
    body.close()
    assert counts.requests == [("GET", "/text", 200)]
