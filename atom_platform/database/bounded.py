"""
A psycopg connection on which no statement outlives its time, whatever the server does.

Every wait of psycopg passes through `Connection.wait`, so the bound is kept by the waiting thread
itself: no watchdog, and no descriptor closed under the feet of a thread that polls it.
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
from atom_platform.database.deadline import Deadline
from atom_platform.database.failure import NoAnswer
from atom_platform.database.postgres import ask

__all__ = ["BoundedConnection"]

log = logging.getLogger("atom_platform.database")

RV = TypeVar("RV")

#: How often a long wait looks whether it has been given up on.
GLANCE_SECONDS: Final = 0.25

#: For the answer that is on its way when its connection is given up.
GRACE_SECONDS: Final = 0.5

#: For the server to take note that a query is cancelled, and again for the query to end.
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
    _given_up_at: float | None = None

    def give_up(self) -> None:
        """
        Break the connection, from any thread.

        A round trip under way ends within a second, with its answer if that comes before.
        """
        self._given_up_at = time.monotonic()

    @property
    def given_up(self) -> bool:
        """Whether somebody has given it up."""
        return self._given_up_at is not None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """
        Run one round trip; see psycopg.

        Raises:
            NoAnswer: It is overdue and cannot be ended, or the connection was given up.
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
                    return super().wait(gen, interval, max(0.0, min(left, GLANCE_SECONDS)))
                except WaitTimeout:
                    if self._lost_patience():
                        raise self._broken("the connection was given up as dead") from None
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

    def is_usable(self, *, ask_within_seconds: float, rested: bool) -> bool:
        """
        Tell whether an idle connection still has a server behind it.

        The server is asked only if there is a reason: it has said something unasked, which is most
        likely a goodbye, or the connection has *rested* for so long that anything may have
        happened.
        """
        if self.pgconn.status != pq.ConnStatus.OK or self.given_up:
            return False
        poller = select.poll()
        poller.register(self.pgconn.socket, select.POLLIN)
        if not (rested or poller.poll(0)):
            return True
        try:
            ask(self.pgconn, b"SELECT 1", Deadline(ask_within_seconds))
        except psycopg.Error:
            return False
        return True

    def _lost_patience(self) -> bool:
        since = self._given_up_at
        return since is not None and time.monotonic() > since + GRACE_SECONDS

    def _broken(self, text: str) -> psycopg.OperationalError:
        self.pgconn.finish()
        return NoAnswer(text)

    @classmethod
    def over(cls, pgconn: PGconn, *, statement_seconds: float) -> BoundedConnection:
        """Return a psycopg connection over one of libpq's."""
        connection = cls(pgconn)
        connection.statement_seconds = statement_seconds
        # PgBouncer in transaction mode gives each transaction another server session, where a
        # statement prepared in the last one is unknown.
        connection.prepare_threshold = None
        return connection
