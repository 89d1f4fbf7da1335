"""What a skill returned, as it is stored, shown and seen by later steps: JSON of a bounded size."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

__all__ = ["MAX_OUTPUT_BYTES", "bounded_output", "clean_text"]

MAX_OUTPUT_BYTES: Final = 65_536
#: Longest text inside an output, tried in turn until the whole fits.
_TEXT_LIMITS: Final = (MAX_OUTPUT_BYTES, 49_152, 8_192, 1_024)

#: What JSON may escape but a database's text or UTF-8 cannot hold.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str, *, max_characters: int | None = None) -> str:
    """Return *text* without NUL and lone surrogates, cut with a marker past *max_characters*."""
    cleaned = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    if max_characters is None or len(cleaned) <= max_characters:
        return cleaned
    return f"{cleaned[:max_characters]}… [cut, {len(cleaned)} characters]"


def bounded_output(value: object) -> Any:
    """
    Return *value* as JSON can hold it, in at most MAX_OUTPUT_BYTES of UTF-8.

    Tuples become lists, keys become text, NaN and infinity become null, and what JSON does not know
    becomes its `repr`. If the whole is too large its longest texts are cut, and if that does not
    help it becomes one cut text.
    """
    try:
        for limit in _TEXT_LIMITS:
            plain = _plain(value, limit)
            encoded = json.dumps(plain, ensure_ascii=False).encode()
            if len(encoded) <= MAX_OUTPUT_BYTES:
                return plain
    except (RecursionError, ValueError):  # it contains itself, or a number too long to write
        return clean_text(_safe_repr(value), max_characters=_TEXT_LIMITS[-1])
    return clean_text(encoded.decode(), max_characters=_TEXT_LIMITS[2])


def _plain(value: object, limit: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(str(value), max_characters=limit)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {
            clean_text(key if isinstance(key, str) else _safe_repr(key)): _plain(each, limit)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(each, limit) for each in value]
    return clean_text(_safe_repr(value), max_characters=limit)


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # a skill's own __repr__
        return f"<{type(value).__name__}>"
