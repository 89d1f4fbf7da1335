"""
The text of an access line, made of what `AccessLog.write` queues.

The writer thread makes the text, many lines in a row: after a request, with cold caches, the same
work takes three times as long. Most strings repeat from request to request, so their JSON text is
kept; a line made of such pieces takes a third of the time of one that is encoded as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from atom_platform.extension.request_record import RequestRecord
from atom_platform.logs.encode import encode_line
from atom_platform.logs.redact import redact_text
from atom_platform.timestamps import rfc3339, rfc3339_now

__all__ = [
    "ACCESS_LOGGER",
    "MAX_PATH",
    "AccessEntry",
    "JSONStringCache",
    "access_line",
    "redacted_path",
]

ACCESS_LOGGER: Final = "atom_platform.access"
#: Characters of a path that are written; a client chooses its length.
MAX_PATH: Final = 1024
#: Characters of a path that are searched for secrets; none of the later ones is written.
_MAX_SEARCHED_PATH: Final = 16 * MAX_PATH

#: The text between timestamp and request id.
_HEADS: Final = {
    level: f'","level":"{level}","logger":"{ACCESS_LOGGER}","event":"http_request","request_id":"'
    for level in ("DEBUG", "INFO", "WARNING")
}
_THOUSANDTHS: Final = tuple(f"{number:03d}" for number in range(1000))
#: A full cache is emptied, so that a flood of different paths does not stay in memory.
_MAX_STRINGS: Final = 1000


class AccessEntry(NamedTuple):
    """
    What an access line is made of.

    Attributes:
        created: When the request ended, in seconds since the Unix epoch.
        record: The request, with its id.
        more: Further fields as JSON, each after a comma.
        level: `DEBUG`, `INFO` or `WARNING`.
    """

    created: float
    record: RequestRecord
    more: str
    level: str


def access_line(entry: AccessEntry) -> bytes:
    """Return the line of *entry*, its fields in the order of `AccessLog`. Never raises."""
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
            f'"method":{_strings[method]},"path":{_paths[path]},'
            f'"endpoint":{_strings[endpoint]},"status":{status},'
            f'"duration_ms":{micros // 1000}.{_THOUSANDTHS[micros % 1000]},'
            f'"bytes":{size},"remote_addr":{_strings[address]}{more}}}\n'
        ).encode()
    except Exception as error:
        return encode_line(
            {
                "timestamp": rfc3339_now(),
                "level": level,
                "logger": ACCESS_LOGGER,
                "event": "log_line_discarded",
                "error": type(error).__name__,
            }
        )


def redacted_path(path: str) -> str:
    """Return *path* decoded, without secrets, and cut to `MAX_PATH` characters."""
    text = path[:_MAX_SEARCHED_PATH]
    if not text.isascii():  # WSGI passes bytes as latin-1
        text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    text = redact_text(text)  # before the cut: half a secret may not look like a secret
    return text if len(text) <= MAX_PATH else f"{text[:MAX_PATH]}…"


class JSONStringCache(dict[str, str]):
    """
    A cache: `strings[text]` is *text* as a JSON string, with its quotes.

    Several threads may use one: a string that another thread's clearing removes is made again.

    Args:
        clean: Returns what of a text is written. It is called once for each text.
    """

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        super().__init__()
        self._clean = clean

    def __missing__(self, text: str) -> str:
        shown = self._clean(text)
        try:
            found = orjson.dumps(shown).decode()
        except TypeError:  # a lone surrogate: some servers do not check what they read
            found = orjson.dumps(shown.encode(errors="backslashreplace").decode()).decode()
        if len(self) >= _MAX_STRINGS:
            self.clear()
        self[text] = found
        return found


_paths: Final = JSONStringCache(redacted_path)
_strings: Final = JSONStringCache()
