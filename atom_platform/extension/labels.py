"""
What a request is called in metrics: its endpoint, status code, queue time and extra labels.

Nothing that a client sends becomes a label value unchecked.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect

from atom_platform.extension.request_record import UNMATCHED
from atom_platform.logs.context import current_request_scope

__all__ = [
    "REQUEST_LABELS",
    "STATUS_CODES",
    "Endpoints",
    "code_of",
    "label_request",
    "queue_seconds",
]


class Endpoints:
    """Finds the endpoint of a request in *url_map*; without one, every request is `unmatched`."""

    def __init__(self, url_map: Map | None) -> None:
        self._url_map = url_map

    def of(self, environ: dict[str, Any]) -> str:
        """
        Return the URL rule that *environ* matches, whatever its method.

        Flask leaves the rule empty for a 405 and for a redirect to the rule's own slash. Those
        requests, and the ones that Flask did not see, are matched again here.
        """
        request = environ.get("werkzeug.request")
        rule = getattr(request, "url_rule", None)
        if rule is not None:
            return str(rule.rule)
        if isinstance(getattr(request, "routing_exception", None), NotFound):
            return UNMATCHED
        try:
            return self._match_again(environ)
        except Exception:  # no rule matches, or the request is malformed
            return UNMATCHED

    def _match_again(self, environ: dict[str, Any]) -> str:
        """Return the rule by path alone: try the method that the rule allows, follow redirects."""
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


#: Standard status lines. A look-up costs a third of parsing; other lines go to `code_of`.
STATUS_CODES: Final = {
    f"{status.value} {phrase}": status.value
    for status in HTTPStatus
    for phrase in (status.phrase, status.phrase.upper())
}


def code_of(status: str) -> int:
    """Return the code at the start of *status*; 500 if there is none, because servers reject it."""
    code = status[:3]
    return int(code) if code.isdigit() else 500


_START: Final = re.compile(r"(?:t=)?([0-9]{1,20}(?:\.[0-9]{1,9})?)")
#: Clocks of two machines may differ by some milliseconds.
_SKEW_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 3600


def queue_seconds(header: str, now: float) -> float | None:
    """
    Return the seconds between `X-Request-Start`, set by the load balancer, and *now*.

    The header may hold seconds, milliseconds or microseconds, with or without `t=`. Returns None
    for anything else, and for a time in the future or over an hour ago.

    Args:
        header: The value of `X-Request-Start`.
        now: Seconds since the Unix epoch.
    """
    found = _START.fullmatch(header.strip())
    if found is None:
        return None
    start = float(found[1])
    for unit in (1.0, 1e3, 1e6):
        waited = now - start / unit
        if -_SKEW_SECONDS <= waited <= _LONGEST_SECONDS:
            return max(0.0, waited)
    return None


#: The key of the extra labels in the environment of a request.
REQUEST_LABELS: Final = "atom.labels"


def label_request(**labels: str) -> None:
    """
    Set extra labels of the current request; outside of a request, do nothing.

    A label that is not in `extra_labels` of `Monitoring` is ignored. A value that is not in the
    label's list counts as `other`.
    """
    environ = getattr(current_request_scope(), "environ", None)
    if environ is not None:
        environ.setdefault(REQUEST_LABELS, {}).update(labels)
