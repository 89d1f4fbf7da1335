"""What to do about the code of an unhealthy check; `atom_platform.health.check` lists the codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ADVICE", "OTHERWISE", "advice_for"]

MIGRATE: Final = "Run `atom-platform migrate` once, with the service's DATABASE_URL."

ADVICE: Final[Mapping[str, str]] = {
    "schema_behind": MIGRATE,
    "schema_ahead": "Deploy the version that migrated the database, or a later one.",
    "timeout": "Look for locks and load on the database, and for lost packets on the way to it: "
    '`psql "$DATABASE_URL" -c "SELECT 1"`.',
    "host_not_resolvable": "Check the host name in DATABASE_URL, and the resolver: `getent hosts`.",
    "unreachable": "Check the route, security groups and network policies to the dependency.",
    "refused": "Start the dependency, or correct host and port in its URL (DATABASE_URL).",
    "connection_lost": "Read the dependency's log; check proxies in between.",
    "tls_failed": "Check sslmode and certificates in DATABASE_URL.",
    "authentication_failed": "Correct user and password in DATABASE_URL, or pg_hba.conf.",
    "wrong_role": "Point DATABASE_URL at the primary (target_session_attrs=read-write).",
    "no_such_database": "Create the database, or correct its name in DATABASE_URL.",
    "connection_limit": "Reduce ATOM_DB_POOL_SIZE or workers, raise max_connections, or put "
    "PgBouncer in between.",
    "pool_exhausted": "Look for slow queries, then raise ATOM_DB_POOL_SIZE.",
    "not_accepting": "Find out why the server takes no connections: read the database's log.",
    "starting_up": "Wait; if it lasts, read the database's log.",
    "shutting_down": "Wait for the restart, or find out who stopped it.",
    "locked": "Find the process that holds the SQLite file: `fuser -v FILE`.",
    "file_inaccessible": "Check that the SQLite file exists and that this user may write it.",
    "file_read_only": "Let this user write the SQLite file and its directory.",
    "file_damaged": "Restore the SQLite file from a backup.",
    "disk_low": "Free space: `df -h`, `du -xh / | sort -h | tail`.",
    "disk_full": "Free space on the database's file system: `df -h`.",
    "memory_high": "Raise the memory limit, or run fewer workers.",
    "missing": "Create the directory, or correct its path.",
    "read_only": "Mount the directory's file system writable.",
    "not_writable": "Give the service's user the right to write the directory.",
    "io_error": "Read the kernel's log: `dmesg`.",
    "stale_mount": "Mount the network file system again.",
    "check_failed": "Look for `health_check_unhealthy` in the log: it has the exception.",
    "pending": "Ask again in a few seconds.",
    "stale": "Look for a CPU limit that starves the worker; otherwise restart it.",
}

OTHERWISE: Final = "Look for `health_check_unhealthy` in the log: it has the details."


def advice_for(code: str) -> str:
    """Return what to do about *code*, that of an unhealthy check."""
    return ADVICE.get(code, OTHERWISE)
