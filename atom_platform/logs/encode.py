"""
Log lines as JSON: valid and on one line whatever the values are, and without an exception.

A line of plain values is encoded by one call of orjson. A line is encoded value by value if orjson
refuses it (a tuple as a key, a lone surrogate, a circular reference, a huge number), if it is too
long, or if it may hold a secret.
"""

from __future__ import annotations

import datetime
import enum
import uuid
from typing import Any, Final

import orjson

from atom_platform.logs.redact import REDACTED, is_plain, is_secret, redact_text

__all__ = ["MAX_LINE_BYTES", "MAX_VALUE_BYTES", "encode_line", "escape_line_separators"]

#: The longest line, with its newline; a longer one is cut.
MAX_LINE_BYTES: Final = 1024 * 1024
#: The bytes that are kept of a value if its line is too long.
MAX_VALUE_BYTES: Final = 64 * 1024
#: Limits for the nested values of a line; the rest is left out.
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 100

# A dataclass is shown by its repr, like other objects. orjson would also write the fields that the
# repr hides.
_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS

#: The other line separators of Unicode, in UTF-8 and as JSON escapes.
_LINE_SEPARATORS: Final = (
    (b"\xe2\x80\xa8", rb"\u2028"),
    (b"\xe2\x80\xa9", rb"\u2029"),
    (b"\xc2\x85", rb"\u0085"),
)


def encode_line(line: dict[str, Any]) -> bytes:
    """
    Return *line* as a JSON object and a newline, secrets redacted.

    Never raises. A value that JSON cannot hold is shown by its repr, NaN and infinities as null. In
    a line over `MAX_LINE_BYTES` long values are cut, then the last fields are left out, and the
    field `truncated` is set.
    """
    if is_plain(line):
        try:
            encoded = _dumps(line)
        except Exception:
            encoded = b""
        if encoded and len(encoded) <= MAX_LINE_BYTES:
            return encoded
    try:
        return _encode_by_value(line)
    except Exception as error:
        # The last resort holds plain text only.
        head = {key: _utf8_text(str(line.get(key))) for key in ("timestamp", "level", "logger")}
        return (
            orjson.dumps({**head, "event": "log_line_discarded", "error": type(error).__name__})
            + b"\n"
        )


def _encode_by_value(line: dict[str, Any]) -> bytes:
    """Return *line* encoded value by value: cleaned, and cut if it is too long."""
    sanitizer = _Sanitizer()
    cleaned = {_utf8_text(key): sanitizer.clean_value(key, value, 0) for key, value in line.items()}
    encoded = _dumps(cleaned)
    if len(encoded) <= MAX_LINE_BYTES:
        return encoded
    room = MAX_LINE_BYTES - 64  # for `truncated` and the braces
    kept: dict[str, Any] = {}
    for key, value in cleaned.items():
        value = _cut(value)
        needed = len(_dumps({key: value}))
        if needed > room:
            break
        kept[key] = value
        room -= needed
    return _dumps({**kept, "truncated": True})


def escape_line_separators(lines: bytes) -> bytes:
    """
    Return *lines* of JSON with the line separators of Unicode escaped.

    JSON allows them in strings, and a client may put them into a path. But readers such as
    `str.splitlines` split lines there.
    """
    if not lines.isascii():
        for end, escape in _LINE_SEPARATORS:
            lines = lines.replace(end, escape)
    return lines


def _dumps(value: dict[str, Any]) -> bytes:
    return escape_line_separators(orjson.dumps(value, None, _OPTIONS))


def _cut(value: Any) -> Any:
    """Return *value*; if its JSON has more than `MAX_VALUE_BYTES`, the start of that as text."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    data = text.encode()
    if len(data) <= MAX_VALUE_BYTES:
        return value
    start = data[:MAX_VALUE_BYTES].decode(errors="ignore")
    return f"{start}…[cut, {len(data) - MAX_VALUE_BYTES} bytes more]"


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} without a repr>"


def _utf8_text(text: str) -> str:
    """Return *text* as a plain `str` that UTF-8 can encode."""
    text = str.__str__(text)  # a subclass may have its own
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class _Sanitizer:
    """Makes the values of one line encodable, within the limits of a line."""

    __slots__ = ("_nodes", "_open")

    def __init__(self) -> None:
        self._nodes = 0
        self._open: set[int] = set()  # ids of the containers around the current value

    def clean_value(self, key: str, value: Any, depth: int) -> Any:
        """Return *value* as orjson can encode it, or the mark of a secret. Never raises."""
        if is_secret(key, value):
            return REDACTED
        try:
            return self._clean(value, depth)
        except Exception:  # a container changes, or raises while it is read
            return self._text(_safe_repr(value))

    def _text(self, text: str) -> str:
        # Cut before the search for secrets: a text of many megabytes would stop all threads. `_cut`
        # then removes its end, where half a secret may be.
        if len(text) > MAX_LINE_BYTES:
            text = text[:MAX_LINE_BYTES]
        return redact_text(_utf8_text(text))

    def _clean(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, enum.Enum):
            return self._clean(value.value, depth)
        if isinstance(value, int):
            return int.__int__(value) if -(2**63) <= value < 2**64 else _safe_repr(value)
        if isinstance(value, float):
            return float.__float__(value)  # orjson writes NaN and infinities as null
        if isinstance(value, (datetime.date, datetime.time, uuid.UUID)):
            return value.isoformat() if not isinstance(value, uuid.UUID) else str(value)
        if isinstance(value, (dict, list, tuple)):
            return self._container(value, depth)
        return self._text(_safe_repr(value))

    def _container(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...], depth: int) -> Any:
        """Return a copy of *value* with clean values; a text if it is too large or circular."""
        self._nodes += len(value)
        if self._nodes > MAX_NODES:
            return f"[cut: {len(value)} values]"
        if depth >= MAX_DEPTH:
            return "[cut: nested too deep]"
        if id(value) in self._open:
            return "[circular]"
        self._open.add(id(value))
        try:
            if isinstance(value, dict):
                pairs = [(self._key(key), item) for key, item in list(value.items())]
                return {key: self.clean_value(key, item, depth + 1) for key, item in pairs}
            return [self._clean(item, depth + 1) for item in list(value)]
        finally:
            self._open.discard(id(value))

    def _key(self, key: object) -> str:
        if isinstance(key, str):
            return _utf8_text(key)
        return self._text(_safe_repr(key))
