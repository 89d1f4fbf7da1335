"""What to do about each sentence a health check says."""

from __future__ import annotations

from typing import Final

__all__ = ["advice_for"]

#: A part of the sentence, in lower case, and the advice; the first that fits counts.
ADVICE: Final = (
    (
        "schema waits",
        "Run `python -m atom_platform migrate` once, with the service's DATABASE_URL.",
    ),
    ("schema is newer", "Deploy the version that migrated the database, or a later one."),
    (
        "timeout",
        "Look for locks and load on the database, and for what drops packets on the way to it: "
        '`psql "$DATABASE_URL" -c "SELECT 1"`.',
    ),
    ("not resolvable", "Check the host name in DATABASE_URL, and the resolver: `getent hosts`."),
    ("not reachable", "Check the route, security groups and network policies to the database."),
    ("refused", "Start the database, or correct host and port in DATABASE_URL."),
    ("authentication", "Correct user and password in DATABASE_URL, or pg_hba.conf."),
    ("does not exist", "Create the database, or correct its name in DATABASE_URL."),
    (
        "limit reached",
        "Reduce ATOM_DB_POOL_SIZE or workers, raise max_connections, or put PgBouncer in between.",
    ),
    ("starting up", "Wait; if it lasts, read the database's log."),
    ("shutting down", "Wait for the restart, or find out who stopped it."),
    ("could not be secured", "Check sslmode and certificates in DATABASE_URL."),
    ("wanted role", "Point DATABASE_URL at the primary (target_session_attrs=read-write)."),
    ("is locked", "Find the process that holds the SQLite file: `fuser -v FILE`."),
    ("file not", "Check that the SQLite file exists and that this user may write it."),
    ("file damaged", "Restore the SQLite file from a backup."),
    ("disk full", "Free space on the database's file system: `df -h`."),
    ("connection lost", "Read the database's log; check proxies in between."),
    ("gb free", "Free space: `df -h`, `du -xh / | sort -h | tail`."),
    ("disk check failed", "Set ATOM_DISK_PATH to a path that exists and can be read."),
    ("pending", "Ask again in a few seconds."),
    ("stale", "Look for a processor limit that starves the worker; else restart it."),
)


def advice_for(message: str) -> str:
    """Return what to do about *message*, the sentence of an unhealthy check."""
    lowered = message.lower()
    return next(
        (advice for part, advice in ADVICE if part in lowered),
        "Look for `health_check_unhealthy` in the log: it holds the details.",
    )
