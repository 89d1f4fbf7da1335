"""
The private parts of werkzeug that are used, and the proof that they work as they were read.

Read on werkzeug 3.0 and 3.1. `Response.__call__` returns a `ClosingIterator` whose `_callbacks` are
the `close` of the generator that encodes the body and `Response.close`. The response holds its
pieces in `response` and the functions of `call_on_close` in `_on_close`.

Any other version, or one that fails the proof, costs about 3 µs more a request, in
`response_body.py`. Nothing else depends on it, so no warning is logged.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any, Final

from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator

__all__ = ["is_proven", "whole_body_of"]

READ_VERSIONS: Final = ("3.0.", "3.1.")

#: The methods that make the body of a response; a class that overrides one is not looked into.
_BODY_METHODS: Final = ("__call__", "get_app_iter", "get_wsgi_response", "iter_encoded", "close")
_MAX_CLASSES: Final = 100
_close: Final = Response.close
_encoder_code: Final = getattr(Response(b"").iter_encoded(), "gi_code", None)
#: Classes known to override none of them; limited, as an application may make many.
_plain_classes: Final[set[type]] = set()


def whole_body_of(body: object) -> list[bytes] | None:
    """
    Return the list of the one piece of *body*, if it is all that the response has to do.

    Then no code of the application runs while *body* is read or closed, and neither is needed. None
    for any other body, and for all bodies if werkzeug is not proven. Never raises.
    """
    if type(body) is not ClosingIterator:
        return None
    try:
        callbacks: list[Any] = body._callbacks
        close_encoder, close = callbacks  # only one for HEAD, 204 and 304
        response = close.__self__
        pieces = response.response
        if (
            type(pieces) is list
            and len(pieces) == 1
            and type(pieces[0]) is bytes
            and not response._on_close
            and close.__func__ is _close
            and close_encoder.__self__.gi_code is _encoder_code
            and (type(response) in _plain_classes or _is_plain(type(response)))
        ):
            return pieces
    except (AttributeError, TypeError, ValueError):
        pass
    return None


def _is_plain(kind: type) -> bool:
    """Return whether responses of the class *kind* make their bodies as werkzeug's own do."""
    plain = (
        _PROVEN
        and issubclass(kind, Response)
        and all(getattr(kind, name) is getattr(Response, name) for name in _BODY_METHODS)
    )
    if plain and len(_plain_classes) < _MAX_CLASSES:
        _plain_classes.add(kind)
    return plain


def is_proven() -> bool:
    """Return whether this werkzeug was read and works as it was read."""
    version = importlib.metadata.version("werkzeug")
    if not version.startswith(READ_VERSIONS):
        return False
    response = Response(b"x")
    body: Any = ClosingIterator(response.iter_encoded(), response.close)
    try:
        return (
            len(body._callbacks) == 2
            and body._callbacks[1] == response.close
            and body._callbacks[0].__self__.gi_code is _encoder_code
            and _encoder_code is not None
            and response.response == [b"x"]
            and response._on_close == []
        )
    except (AttributeError, TypeError):
        return False


_PROVEN: Final = is_proven()
