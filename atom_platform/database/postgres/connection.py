"""
A psycopg connection whose statements end in time, whatever the server does.

Every wait of psycopg passes through `Connection.wait`. So the waiting thread keeps the deadline
itself: there is no watchdog, and no thread closes a descriptor that another thread polls.
"""

from __future__ import annotations

import contextlib
import logging
import math
import select
import time
from typing import Final, TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow

from atom_platform.database._compat_psycopg import WaitTimeout, is_proven
from atom_platform.database.errors import NoAnswer
from atom_platform.database.postgres.connect import query
from atom_platform.database.postgres.deadline import Deadline

__all__ = ["BoundedConnection"]

log = logging.getLogger("atom_platform.database")

RV = TypeVar("RV")

#: How often a long wait looks whether its connection has been abandoned.
POLL_SECONDS: Final = 0.25

#: How long an abandoned connection still waits for an answer that is on its way.
GRACE_SECONDS: Final = 0.5

#: How long the server may take to accept a cancel request, and again to end the query.
CANCEL_SECONDS: Final = 1.0


class BoundedConnection(psycopg.Connection[TupleRow]):
    """
    A connection whose every round trip ends in time.

    An overdue query is cancelled on the server; the connection lives on if that helps, and is
    broken otherwise.

    Attributes:
        statement_seconds: Longest a round trip may take.
        busy_since: When the round trip under way began (monotonic); None while there is none.
    """

    statement_seconds = math.inf
    busy_since: float | None = None
    _abandoned_at: float | None = None

    def abandon(self) -> None:
        """
        Break the connection, from any thread.

        A round trip under way ends within a second, with its answer if that comes before.
        """
        self._abandoned_at = time.monotonic()

    @property
    def abandoned(self) -> bool:
        """Whether it has been abandoned."""
        return self._abandoned_at is not None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """
        Run one round trip; see psycopg.

        Raises:
            NoAnswer: It is overdue and cannot be ended, or the connection was abandoned.
        """
        if not is_proven():
            return super().wait(gen, interval, **({} if timeout is None else {"timeout": timeout}))
        start = self.busy_since = time.monotonic()
        end = start + min(self.statement_seconds, math.inf if timeout is None else timeout)
        cancelled = False
        try:
            while True:
                left = end - time.monotonic()
                try:
                    return super().wait(gen, interval, max(0.0, min(left, POLL_SECONDS)))
                except WaitTimeout:
                    if self._grace_is_over():
                        raise self._broken("the connection was abandoned as dead") from None
                    if time.monotonic() < end:
                        continue
                    if timeout is not None and timeout < self.statement_seconds:
                        raise
                    if cancelled:
                        raise self._broken("the query is overdue and cannot be ended") from None
                cancelled = True
                log.warning(
                    "database_query_overdue", extra={"seconds": round(time.monotonic() - start, 3)}
                )
                with contextlib.suppress(psycopg.Error):
                    self.cancel_safe(timeout=CANCEL_SECONDS)
                end = time.monotonic() + CANCEL_SECONDS
        finally:
            self.busy_since = None

    def is_usable(self, *, answer_within_seconds: float, idle: bool) -> bool:
        """
        Return whether a connection of the pool still has its server.

        The server is queried for two reasons only: it has sent something unasked, most likely its
        last message, or the connection has been *idle* for long.
        """
        if self.pgconn.status != pq.ConnStatus.OK or self.abandoned:
            return False
        poller = select.poll()
        poller.register(self.pgconn.socket, select.POLLIN)
        if not (idle or poller.poll(0)):
            return True
        try:
            query(self.pgconn, b"SELECT 1", Deadline(answer_within_seconds))
        except psycopg.Error:
            return False
        return True

    def _grace_is_over(self) -> bool:
        since = self._abandoned_at
        return since is not None and time.monotonic() > since + GRACE_SECONDS

    def _broken(self, text: str) -> psycopg.OperationalError:
        self.pgconn.finish()
        return NoAnswer(text)

    @classmethod
    def wrap(cls, pgconn: PGconn, *, statement_seconds: float) -> BoundedConnection:
        """Return a psycopg connection around one of libpq."""
        connection = cls(pgconn)
        connection.statement_seconds = statement_seconds
        # PgBouncer in transaction mode gives each transaction another server session, which does
        # not know the statements prepared in the last one.
        connection.prepare_threshold = None
        return connection
