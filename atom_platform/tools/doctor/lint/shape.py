"""Reading what others wrote: whatever is not of the expected shape reads as absent."""

from __future__ import annotations

from typing import Any

__all__ = ["at", "items", "mapping", "number", "text"]


def mapping(value: Any) -> dict[str, Any]:
    """Return *value* if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[dict[str, Any]]:
    """Return the mappings in *value* if it is a list, else none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def at(value: Any, *keys: str) -> Any:
    """Return what lies under *keys*, one below the other, or None."""
    for key in keys:
        value = mapping(value).get(key)
    return value


def text(value: Any) -> str:
    """Return *value* as text; a list of words as one line; None as nothing."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def number(value: Any, default: float) -> float:
    """Return *value* if it is a number, or text that reads as one, else *default*."""
    if isinstance(value, bool):
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        return default
