"""Which URL rule a request matches: all that is ever said of its path in a label."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect

from atom_platform.extension.request_record import UNMATCHED

__all__ = ["Endpoints"]


class Endpoints:
    """The rules of an application's *url_map*; without one, everything is `unmatched`."""

    def __init__(self, url_map: Map | None) -> None:
        self._url_map = url_map

    def of(self, environ: dict[str, Any]) -> str:
        """
        Return the URL rule that *environ* matches, whatever its method.

        Flask knows it while it answers, except for a method that the rule does not take and for a
        redirect to the rule's own slash; those, and what Flask did not see, are matched again.
        """
        request = environ.get("werkzeug.request")
        rule = getattr(request, "url_rule", None)
        if rule is not None:
            return str(rule.rule)
        if isinstance(getattr(request, "routing_exception", None), NotFound):
            return UNMATCHED
        try:
            return self._match_again(environ)
        except Exception:  # nothing matches, or the request is not fit to be matched
            return UNMATCHED

    def _match_again(self, environ: dict[str, Any]) -> str:
        if self._url_map is None:
            return UNMATCHED
        adapter = self._url_map.bind_to_environ(environ)
        path: str | None = None
        method: str | None = None
        for _ in range(3):  # a redirect may lead to a rule that does not take the method
            try:
                return adapter.match(path, method, return_rule=True)[0].rule
            except MethodNotAllowed as error:
                method = next(iter(error.valid_methods or ()), None)
            except RequestRedirect as error:
                target = urlsplit(error.new_url).path
                path = target.removeprefix(adapter.script_name.rstrip("/"))
        return UNMATCHED
