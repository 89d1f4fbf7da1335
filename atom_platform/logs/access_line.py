"""
The access line, as it waits in the queue and as it is written.

A request only leaves the parts. The thread that writes puts them together, many in a row: behind a
framework's caches the same work costs a request three times as much.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from atom_platform.extension.request_record import RequestRecord
from atom_platform.logs.encode import encode_line
from atom_platform.logs.json_texts import JSONTexts
from atom_platform.logs.redact import redact_text
from atom_platform.timestamps import rfc3339, rfc3339_now

__all__ = ["ACCESS_LOGGER", "MAX_PATH", "AccessEntry", "access_line", "shown_path"]

ACCESS_LOGGER: Final = "atom_platform.access"
#: A longer path is cut: it is a client's text.
MAX_PATH: Final = 1024
#: What is searched for secrets: of what comes later nothing is shown.
_MOST_REDACTED: Final = 16 * MAX_PATH


class AccessEntry(NamedTuple):
    """
    What an access line is made of.

    Attributes:
        created: When the request ended, in seconds since the Unix epoch.
        record: The request.
        more: Further fields as they are to stand in the line, each with a comma before it.
        level: `DEBUG`, `INFO` or `WARNING`.
    """

    created: float
    record: RequestRecord
    more: str
    level: str


#: What stands between timestamp and request id.
_HEADS: Final = {
    level: f'","level":"{level}","logger":"{ACCESS_LOGGER}","event":"http_request","request_id":"'
    for level in ("DEBUG", "INFO", "WARNING")
}
_THOUSANDTHS: Final = tuple(f"{number:03d}" for number in range(1000))


def access_line(entry: AccessEntry) -> bytes:
    """Return the line of *entry*, fields ordered as in `AccessLog`'s long way. Never raises."""
    created, record, more, level = entry
    try:
        method, path, endpoint, status, seconds, size, address, request_id, trace, _ = record
        ids = (
            request_id
            if trace is None
            else f'{request_id}","trace_id":"{trace.trace_id}","span_id":"{trace.span_id}'
        )
        micros = int(seconds * 1e6)
        return (
            f'{{"timestamp":"{rfc3339(created)}{_HEADS[level]}{ids}",'
            f'"method":{_texts[method]},"path":{_paths[path]},'
            f'"endpoint":{_texts[endpoint]},"status":{status},'
            f'"duration_ms":{micros // 1000}.{_THOUSANDTHS[micros % 1000]},'
            f'"bytes":{size},"remote_addr":{_texts[address]}{more}}}\n'
        ).encode()
    except Exception as error:
        return encode_line(
            {
                "timestamp": rfc3339_now(),
                "level": level,
                "logger": ACCESS_LOGGER,
                "event": "log_line_not_encodable",
                "error": type(error).__name__,
            }
        )


def shown_path(path: str) -> str:
    """Return *path* as the client meant it, without secrets."""
    text = path[:_MOST_REDACTED]
    if not text.isascii():  # WSGI hands bytes over as latin-1
        text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    text = redact_text(text)  # before it is cut: half a secret may not look like one
    return text if len(text) <= MAX_PATH else f"{text[:MAX_PATH]}…"


# Each thread that writes may use them: a lookup that another one's clearing overtakes is made anew.
_paths: Final = JSONTexts(shown_path)
_texts: Final = JSONTexts()
