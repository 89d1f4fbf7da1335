"""
Around somebody else's application: probes that its hooks cannot stop, paths that are left out, and
requests counted by a label of its owner's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from flask import Blueprint, Flask, abort, got_request_exception, request

from atom_platform.access import Access
from atom_platform.logs.context import current_request_scope, note_exception
from atom_platform.metrics.answer import Answer
from atom_platform.metrics.custom import Counter
from atom_platform.metrics.http import ObservedWSGI

__all__ = ["ChosenWSGI", "ProbesFirst", "keep_to_health", "label_request", "observed"]

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: Where a request carries what `label_request` said of it.
LABELS: Final = "atom.labels"


class ProbesFirst:
    """
    Answers the requests that *blueprints* have routes for, and leaves all others to *wsgi_app*.

    The routes get an application of their own, because the other one's hooks are for its users: a
    login would refuse the probe, a redirect to HTTPS would hide the answer, and a hook that asks
    the database would take liveness down with it.

    Args:
        wsgi_app: What would answer otherwise.
        blueprints: Their rules must be plain paths, of which a trailing slash is served too, or
            begin with a folder that is theirs alone.

    Attributes:
        answer: The WSGI application.
        paths: The rules.
        short_cut: What all paths that it answers begin with, and what answers all others.
    """

    def __init__(self, wsgi_app: WSGI, blueprints: Iterable[Blueprint]) -> None:
        own = Flask(__name__, static_folder=None)
        for blueprint in blueprints:
            own.register_blueprint(blueprint)
        got_request_exception.connect(_note_exception, own)
        self.paths = frozenset(str(rule.rule) for rule in own.url_map.iter_rules())
        self.short_cut = os.path.commonpath(self.paths), wsgi_app
        self.answer = self._answering(wsgi_app, own.wsgi_app)

    def _answering(self, others: WSGI, ours: WSGI) -> WSGI:
        """Return the application; a function, because a `__call__` costs every request more."""
        paths = self.paths
        slashless = frozenset(path[:-1] for path in paths if path.endswith("/"))
        folders = tuple(path.partition("<")[0] for path in paths if "<" in path)
        # Nearly every request is another one, and asked one question then rather than four.
        beginning, _ = self.short_cut

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            path = environ.get("PATH_INFO", "")
            if path.startswith(beginning) and (
                path in paths
                or path in slashless
                or path.startswith(folders)
                or (path[-1:] == "/" and path.rstrip("/") in paths)
            ):
                return ours(environ, start_response)
            return others(environ, start_response)

        return answer


class ChosenWSGI(ObservedWSGI):
    """
    An `ObservedWSGI` for which some requests do not exist, and others have more to tell.

    Args:
        excluded_paths: Not counted, timed or logged. One that ends in a slash stands for all below.
        counters: By label, what counts requests by that label, the endpoint and the status.
    """

    def __init__(
        self,
        wsgi_app: WSGI,
        *,
        excluded_paths: Collection[str],
        counters: Mapping[str, Counter],
        **observing: Any,
    ) -> None:
        super().__init__(wsgi_app, **observing)
        self._excluded = frozenset(excluded_paths)
        self._excluded_below = tuple(path for path in excluded_paths if path.endswith("/"))
        self._counters = counters

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ.get("PATH_INFO", "")
        if path in self._excluded or path.startswith(self._excluded_below):
            return self.wsgi_app(environ, start_response)
        return super().__call__(environ, start_response)

    def record(self, answer: Answer) -> None:
        """Count and log *answer*, and count it again by each label."""
        super().record(answer)
        if self._counters:
            endpoint = answer.endpoint or self.endpoint_of(answer.environ)
            said = answer.environ.get(LABELS) or {}
            for label, counter in self._counters.items():
                counter.inc(
                    endpoint=endpoint, status=answer.status or 500, **{label: said.get(label, "")}
                )


def observed(
    probes: ProbesFirst,
    *,
    excluded_paths: Collection[str],
    counters: Mapping[str, Counter],
    **observing: Any,
) -> ObservedWSGI:
    """
    Return *probes*, and what they stand before, observed as the arguments of `ObservedWSGI` say.

    Who asks for nothing special pays for nothing special.
    """
    observing["short_cut"] = probes.short_cut
    if not excluded_paths and not counters:
        return ObservedWSGI(probes.answer, **observing)
    return ChosenWSGI(probes.answer, excluded_paths=excluded_paths, counters=counters, **observing)


def label_request(**labels: str) -> None:
    """
    Say what the extra labels of the request being answered are; outside of one, do nothing.

    A label that `Monitoring` was not told of is ignored; a value not in its list counts as `other`.
    """
    environ = getattr(current_request_scope(), "environ", None)
    if environ is not None:
        environ.setdefault(LABELS, {}).update(labels)


def keep_to_health(app: Flask, access: Access) -> None:
    """Have *app* answer on the management port for its health alone."""

    def refuse_the_rest() -> None:
        ours = request.path == "/health" or request.path.startswith("/health/")
        if not ours and access.on_management_port(request.environ):
            abort(404)

    # Before the application's own, which may let in or redirect.
    app.before_request_funcs.setdefault(None, []).insert(0, refuse_the_rest)


def _note_exception(sender: object, exception: BaseException, **extra: Any) -> None:
    note_exception(exception)
