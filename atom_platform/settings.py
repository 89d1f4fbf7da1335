"""
Settings of the service: read from the environment once, and checked before the service starts.

This module imports the standard library only: gunicorn's configuration reads the settings before
the application exists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from atom_platform import env_parsers
from atom_platform.env_parsers import Secret

__all__ = ["BAD_DATABASE_OPTION", "DEFAULT_DATABASE_URL", "Settings", "SettingsError"]

DEFAULT_DATABASE_URL: Final = "sqlite:///var/atom.db"

#: The driver alone knows its options, and it is imported later than the settings.
BAD_DATABASE_OPTION: Final = (
    "DATABASE_URL must be a URL that starts with sqlite:/// or postgresql://, "
    "with no option that libpq does not know"
)

#: A larger file holds no token; the path may even name an endless device.
MAX_TOKEN_FILE_CHARACTERS: Final = 4096


class SettingsError(ValueError):
    """A setting has an invalid value; the text names the variable and its valid values."""


def _setting(variable: str, default: Any, parse: Callable[[str], Any], meaning: str) -> Any:
    metadata = {"variable": variable, "parse": parse, "meaning": meaning}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The settings of the service; the defaults fit a first run on a laptop.

    Each field's metadata has its environment variable, its parser and its meaning: the README's
    table and `doctor` are made from them. An empty variable counts as unset.
    """

    database_url: str = _setting(
        "DATABASE_URL",
        DEFAULT_DATABASE_URL,
        env_parsers.database_url,
        "where agents and executions are stored; SQLite or PostgreSQL",
    )
    metrics_directory: Path | None = _setting(
        "PROMETHEUS_MULTIPROC_DIR",
        None,
        env_parsers.directory,
        "where the processes of the service count; unset: a private one in shared memory",
    )
    metrics_token: Secret | None = _setting(
        "ATOM_METRICS_TOKEN",
        None,
        env_parsers.token,
        "bearer token required for metrics and for the checks of readiness",
    )
    metrics_token_file: Path | None = _setting(
        "ATOM_METRICS_TOKEN_FILE",
        None,
        env_parsers.directory,
        "file that holds that token instead; read again by each new worker",
    )
    port: int = _setting("PORT", 8000, env_parsers.integer(1, 65535), "TCP port, on every address")
    management_port: int | None = _setting(
        "ATOM_MANAGEMENT_PORT",
        None,
        env_parsers.integer(1, 65535),
        "second TCP port, the only one with metrics and the checks of readiness; no API there",
    )
    workers: int = _setting(
        "WEB_CONCURRENCY",
        2,
        env_parsers.integer(1, 1000),
        "worker processes; unset in a container with less than one CPU: 1",
    )
    status_page: str = _setting(
        "ATOM_STATUS_PAGE",
        "off",
        env_parsers.switch,
        "`on` serves the page at `/health/` that shows how the service is doing",
    )
    threads: int = _setting(
        "ATOM_THREADS", 4, env_parsers.integer(1, 1000), "request threads per worker"
    )
    drain_seconds: float = _setting(
        "ATOM_DRAIN_SECONDS",
        0.0,
        env_parsers.number(0, 3600),
        "how long SIGTERM keeps serving with readiness `draining` before it stops, in seconds",
    )
    database_check_timeout_seconds: float = _setting(
        "ATOM_DB_CHECK_TIMEOUT_SECONDS",
        5.0,
        env_parsers.number(0.1, 300),
        "deadline of the readiness check of the database, in seconds",
    )
    database_query_timeout_seconds: float = _setting(
        "ATOM_DB_QUERY_TIMEOUT_SECONDS",
        30.0,
        env_parsers.number(0.1, 3600),
        "longest a query of the application may take, in seconds",
    )
    database_pool_size: int = _setting(
        "ATOM_DB_POOL_SIZE", 5, env_parsers.integer(1, 1000), "database connections per worker"
    )
    database_pool_timeout_seconds: float = _setting(
        "ATOM_DB_POOL_TIMEOUT_SECONDS",
        5.0,
        env_parsers.number(0.1, 300),
        "longest a request waits for a connection of the pool, in seconds",
    )
    disk_path: Path = _setting(
        "ATOM_DISK_PATH",
        Path("/"),
        env_parsers.directory,
        "any path on the file system that readiness watches",
    )
    disk_min_free_gb: float = _setting(
        "ATOM_DISK_MIN_FREE_GB",
        1.0,
        env_parsers.number(0),
        "least free space for readiness, in GB of 1024**3 bytes",
    )
    metrics_max_ids: int = _setting(
        "ATOM_METRICS_MAX_IDS",
        1000,
        env_parsers.integer(0, 1_000_000),
        "distinct identifiers per metric family and process; the rest counts as `other`",
    )
    log_level: str = _setting(
        "ATOM_LOG_LEVEL", "INFO", env_parsers.log_level, "least severe level that is written"
    )
    log_levels: Mapping[str, str] = _setting(
        "ATOM_LOG_LEVELS", {}, env_parsers.log_levels, "levels of single loggers, `name=LEVEL,…`"
    )
    log_format: str = _setting(
        "ATOM_LOG_FORMAT", "json", env_parsers.log_format, "`json`, or `console` for a terminal"
    )
    log_access_sample: float = _setting(
        "ATOM_LOG_ACCESS_SAMPLE",
        1.0,
        env_parsers.number(0, 1),
        "share of successful requests that get an access line; errors always do",
    )
    http_allowed_hosts: tuple[str, ...] = _setting(
        "ATOM_HTTP_ALLOWED_HOSTS",
        (),
        env_parsers.hosts,
        "hosts that the `http-request` skill may call, `host` or `host:port`, comma-separated",
    )
    smtp_url: str = _setting(
        "ATOM_SMTP_URL",
        "smtp://localhost:25",
        env_parsers.smtp_url,
        "mail server of the `send-email` skill",
    )
    smtp_from: str = _setting(
        "ATOM_SMTP_FROM", "atom@localhost", env_parsers.email, "sender of the `send-email` skill"
    )
    revision: str = _setting(
        "ATOM_REVISION", "unknown", env_parsers.short_text, "source revision shown in `app_info`"
    )

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str] | None = None, *, without: Collection[str] = ()
    ) -> Settings:
        """
        Read the settings from *environ* (the process's own by default).

        Args:
            without: Variables to ignore: here they belong to another program.

        Raises:
            SettingsError: A variable has an invalid value. The text does not repeat the value: it
                may be a secret.
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for each in fields(cls):
            variable, parse = each.metadata["variable"], each.metadata["parse"]
            text = source.get(variable, "").strip()
            if not text or variable in without:
                continue
            try:
                values[each.name] = parse(text)
            except ValueError:
                raise SettingsError(f"{variable} must be {parse.__doc__}") from None
        if "metrics_token_file" in values:
            if "metrics_token" in values:
                raise SettingsError("ATOM_METRICS_TOKEN_FILE must be unset with ATOM_METRICS_TOKEN")
            values["metrics_token"] = _token_in(values["metrics_token_file"])
        return cls(**values)


def _token_in(path: Path) -> Secret:
    """Read the token file; raise SettingsError when it holds anything but a token."""
    try:
        with path.open(encoding="ascii") as file:
            return env_parsers.token(file.read(MAX_TOKEN_FILE_CHARACTERS).strip())
    except (OSError, ValueError):
        raise SettingsError(
            "ATOM_METRICS_TOKEN_FILE must be a readable file that holds nothing but "
            f"{env_parsers.token.__doc__}"
        ) from None
