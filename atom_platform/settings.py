"""
Settings of the service: read from the environment, once, and checked before anything starts.

Standard library only, so that gunicorn's configuration can read them before the application exists.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["DEFAULT_DATABASE_URL", "Settings", "SettingsError"]

DEFAULT_DATABASE_URL: Final = "sqlite:///var/atom.db"

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class SettingsError(ValueError):
    """A setting holds what it cannot take; the text names the variable and what it takes."""


def _number(low: float, high: float = math.inf) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError
        return value

    upper = "" if high == math.inf else f" to {high:g}"
    parse.__doc__ = f"a number from {low:g}{upper}" if upper else f"a number of at least {low:g}"
    return parse


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    parse.__doc__ = f"a whole number from {low} to {high}"
    return parse


def _log_level(text: str) -> str:
    """one of DEBUG, INFO, WARNING, ERROR, CRITICAL"""
    if text.upper() not in LOG_LEVELS:
        raise ValueError
    return text.upper()


def _log_levels(text: str) -> Mapping[str, str]:
    """logger=LEVEL pairs separated by commas, such as sqlalchemy=WARNING,urllib3=ERROR"""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ValueError
    return {name.strip(): _log_level(level.strip()) for name, _, level in pairs}


def _log_format(text: str) -> str:
    """json or console"""
    if text not in ("json", "console"):
        raise ValueError
    return text


def _database_url(text: str) -> str:
    """a URL that starts with sqlite:/// or postgresql:// (or postgres://)"""
    if text.startswith(("sqlite:///", "sqlite+pysqlite:///")):
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise ValueError
    _ = parts.port  # a port that is no number raises here, not at the first connection
    return text


def _hosts(text: str) -> tuple[str, ...]:
    """host names separated by commas, each with an optional :port"""
    hosts = tuple(host.strip().lower() for host in text.split(",") if host.strip())
    if not all(
        re.fullmatch(r"[a-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", h) for h in hosts
    ):
        raise ValueError
    return hosts


def _smtp_url(text: str) -> str:
    """a URL such as smtp://user:password@host:25 (smtps:// for TLS)"""
    parts = urlsplit(text)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError
    _ = parts.port
    return text


def _email(text: str) -> str:
    """an e-mail address"""
    if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", text):
        raise ValueError
    return text


def _directory(text: str) -> Path:
    """a path"""
    if "\0" in text:
        raise ValueError
    return Path(text)


def _short_text(text: str) -> str:
    """1 to 64 of letters, digits and . _ + -"""
    if not re.fullmatch(r"[A-Za-z0-9._+-]{1,64}", text):
        raise ValueError
    return text


def _setting(variable: str, default: Any, parse: Callable[[str], Any], meaning: str) -> Any:
    return field(
        default=default, metadata={"variable": variable, "parse": parse, "meaning": meaning}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What the environment can change, with the defaults of a first run on a laptop.

    Every field knows its variable, so that the README's table and `doctor` can be checked against
    this class. A variable that is set but empty counts as not set.
    """

    database_url: str = _setting(
        "DATABASE_URL",
        DEFAULT_DATABASE_URL,
        _database_url,
        "where agents and executions are stored; SQLite or PostgreSQL",
    )
    metrics_directory: Path | None = _setting(
        "PROMETHEUS_MULTIPROC_DIR",
        None,
        _directory,
        "where the processes of the service count; unset: a private one in shared memory",
    )
    port: int = _setting("PORT", 8000, _integer(1, 65535), "TCP port, on every address")
    workers: int = _setting("WEB_CONCURRENCY", 2, _integer(1, 1000), "worker processes")
    threads: int = _setting("ATOM_THREADS", 4, _integer(1, 1000), "request threads per worker")
    drain_seconds: float = _setting(
        "ATOM_DRAIN_SECONDS",
        0.0,
        _number(0, 3600),
        "how long SIGTERM keeps serving with readiness `draining` before it stops, in seconds",
    )
    database_check_timeout_seconds: float = _setting(
        "ATOM_DB_CHECK_TIMEOUT_SECONDS",
        5.0,
        _number(0.1, 300),
        "deadline of the readiness check of the database, in seconds",
    )
    database_query_timeout_seconds: float = _setting(
        "ATOM_DB_QUERY_TIMEOUT_SECONDS",
        30.0,
        _number(0.1, 3600),
        "longest a query of the application may take, in seconds",
    )
    database_pool_size: int = _setting(
        "ATOM_DB_POOL_SIZE", 5, _integer(1, 1000), "database connections per worker"
    )
    database_pool_timeout_seconds: float = _setting(
        "ATOM_DB_POOL_TIMEOUT_SECONDS",
        5.0,
        _number(0.1, 300),
        "longest a request waits for a connection of the pool, in seconds",
    )
    disk_path: Path = _setting(
        "ATOM_DISK_PATH",
        Path("/"),
        _directory,
        "any path on the file system that readiness watches",
    )
    disk_min_free_gb: float = _setting(
        "ATOM_DISK_MIN_FREE_GB",
        1.0,
        _number(0),
        "least free space for readiness, in GB of 1024**3 bytes",
    )
    metrics_max_ids: int = _setting(
        "ATOM_METRICS_MAX_IDS",
        1000,
        _integer(0, 1_000_000),
        "distinct identifiers per metric family and process; the rest counts as `other`",
    )
    log_level: str = _setting(
        "ATOM_LOG_LEVEL", "INFO", _log_level, "least severe level that is written"
    )
    log_levels: Mapping[str, str] = _setting(
        "ATOM_LOG_LEVELS", None, _log_levels, "levels of single loggers, `name=LEVEL,…`"
    )
    log_format: str = _setting(
        "ATOM_LOG_FORMAT", "json", _log_format, "`json`, or `console` for a terminal"
    )
    log_access_sample: float = _setting(
        "ATOM_LOG_ACCESS_SAMPLE",
        1.0,
        _number(0, 1),
        "share of successful requests that get an access line; errors always do",
    )
    http_allowed_hosts: tuple[str, ...] = _setting(
        "ATOM_HTTP_ALLOWED_HOSTS",
        (),
        _hosts,
        "hosts that the `http-request` skill may call, `host` or `host:port`, comma-separated",
    )
    smtp_url: str = _setting(
        "ATOM_SMTP_URL",
        "smtp://localhost:25",
        _smtp_url,
        "mail server of the `send-email` skill",
    )
    smtp_from: str = _setting(
        "ATOM_SMTP_FROM", "atom@localhost", _email, "sender of the `send-email` skill"
    )
    revision: str = _setting(
        "ATOM_REVISION", "unknown", _short_text, "source revision shown in `app_info`"
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """
        Read the settings from *environ* (the process's own by default).

        Raises:
            SettingsError: A variable holds what its setting cannot take. The value itself is not
                repeated: it may be a secret.
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for each in fields(cls):
            variable, parse = each.metadata["variable"], each.metadata["parse"]
            text = source.get(variable, "").strip()
            if not text:
                continue
            try:
                values[each.name] = parse(text)
            except ValueError:
                raise SettingsError(f"{variable} must be {parse.__doc__}") from None
        return cls(**values)

    def __post_init__(self) -> None:
        if self.log_levels is None:
            object.__setattr__(self, "log_levels", {})
