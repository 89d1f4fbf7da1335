"""
Parsers of environment variables, one for each kind of value.

Each parser returns the value or raises ValueError. Its docstring completes the error message
"VARIABLE must be …".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

__all__ = [
    "Secret",
    "database_url",
    "directory",
    "email",
    "hosts",
    "integer",
    "log_format",
    "log_level",
    "log_levels",
    "number",
    "short_text",
    "smtp_url",
    "switch",
    "token",
]

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that neither `str` nor `repr` shows; only `value` has it."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "[redacted]"


def number(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return a parser of finite numbers from *low* to *high*."""

    def parse(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError
        return value

    upper = "" if high == math.inf else f" to {high:g}"
    parse.__doc__ = f"a number from {low:g}{upper}" if upper else f"a number of at least {low:g}"
    return parse


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from *low* to *high*."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    parse.__doc__ = f"a whole number from {low} to {high}"
    return parse


def log_level(text: str) -> str:
    """one of DEBUG, INFO, WARNING, ERROR, CRITICAL"""
    if text.upper() not in LOG_LEVELS:
        raise ValueError
    return text.upper()


def log_levels(text: str) -> Mapping[str, str]:
    """logger=LEVEL pairs separated by commas, such as sqlalchemy=WARNING,urllib3=ERROR"""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ValueError
    return {name.strip(): log_level(level.strip()) for name, _, level in pairs}


def log_format(text: str) -> str:
    """json or console"""
    if text not in ("json", "console"):
        raise ValueError
    return text


def database_url(text: str) -> str:
    """a URL that starts with sqlite:/// or postgresql:// (or postgres://)"""
    if text.startswith(("sqlite:///", "sqlite+pysqlite:///")):
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise ValueError
    for host in parts.netloc.rpartition("@")[2].split(","):  # libpq accepts several
        _ = urlsplit(f"//{host}").port  # a port that is not a number raises now, not at first use
    return text


def hosts(text: str) -> tuple[str, ...]:
    """host names separated by commas, each with an optional :port"""
    hosts = tuple(host.strip().lower() for host in text.split(",") if host.strip())
    if not all(
        re.fullmatch(r"[a-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", h) for h in hosts
    ):
        raise ValueError
    return hosts


def smtp_url(text: str) -> str:
    """a URL such as smtp://user:password@host:25 (smtps:// for TLS)"""
    parts = urlsplit(text)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError
    _ = parts.port
    return text


def email(text: str) -> str:
    """an e-mail address"""
    if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", text):
        raise ValueError
    return text


def directory(text: str) -> Path:
    """a path"""
    if "\0" in text:
        raise ValueError
    return Path(text)


def short_text(text: str) -> str:
    """1 to 64 of letters, digits and . _ + -"""
    if not re.fullmatch(r"[A-Za-z0-9._+-]{1,64}", text):
        raise ValueError
    return text


def token(text: str) -> Secret:
    """a bearer token: 16 to 1024 of letters, digits and - . _ ~ + /, then any ="""
    if not 16 <= len(text) <= 1024 or not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise ValueError
    return Secret(text)


def switch(text: str) -> str:
    """on or off"""
    if text.lower() not in ("on", "off"):
        raise ValueError
    return text.lower()
