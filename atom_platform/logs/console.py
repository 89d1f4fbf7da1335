"""Log lines for people who read them in a terminal."""

from __future__ import annotations

from typing import Any, Final

import orjson

from atom_platform.logs.encode import encode_line

__all__ = ["render_for_terminal"]

_COLOURS: Final = {
    "DEBUG": "\x1b[2m",
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;41m",
}
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_KEY: Final = "\x1b[36m"
_OFF: Final = "\x1b[0m"
#: Control characters in a value must not control the terminal.
_VISIBLE: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 10}


def render_for_terminal(line: dict[str, Any]) -> bytes:
    """
    Return *line* coloured: time, level, event, fields, logger, and its traceback below.

    Values are shortened and secrets removed as in the JSON form. Never raises.
    """
    encoded = encode_line(line)
    try:
        fields: dict[str, Any] = orjson.loads(encoded)
    except ValueError:
        return encoded
    timestamp, level = str(fields.pop("timestamp", "")), str(fields.pop("level", ""))
    logger, event = str(fields.pop("logger", "")), str(fields.pop("event", ""))
    below = [str(fields.pop(key)) for key in ("exception", "stack") if key in fields]
    pairs = " ".join(
        f"{_KEY}{_printable(key)}{_OFF}={_printable(value)}" for key, value in fields.items()
    )
    head = f"{_DIM}{timestamp[11:23]}{_OFF} {_COLOURS.get(level, '')}{level:<8}{_OFF} "
    what = f"{_BOLD}{_printable(event)}{_OFF} {pairs}{' ' if pairs else ''}"
    text = f"{head}{what}{_DIM}{_printable(logger)}{_OFF}"
    return "\n".join([text, *(_indented(part) for part in below)]).encode() + b"\n"


def _printable(value: object) -> str:
    if isinstance(value, str):
        return value.replace("\n", "\\n").translate(_VISIBLE)
    return orjson.dumps(value).decode()


def _indented(text: str) -> str:
    lines = text.translate(_VISIBLE).split("\n")
    *frames, last = [f"    {line}" for line in lines]
    return "\n".join([*frames, f"{_COLOURS['ERROR']}{last}{_OFF}"])
