"""
Makes the PostgreSQL connections of the pool, and detects a dead one before it is used.

To abandon a connection is to break it from another thread, because its server will not answer.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Collection
from typing import Any, Final

import psycopg
from psycopg.pq.abc import PGconn
from sqlalchemy import Engine, create_engine, event, exc

from atom_platform.database.errors import NoAnswer, failure_for
from atom_platform.database.postgres.addresses import PostgresServer
from atom_platform.database.postgres.connect import connect
from atom_platform.database.postgres.connection import BoundedConnection
from atom_platform.database.postgres.deadline import Deadline, Waker

__all__ = ["ConnectionFactory"]

#: Codes of errors that a server gives while it restarts.
RESTARTING: Final = frozenset(
    {
        "connection_lost",
        "shutting_down",
        "starting_up",
        "refused",
    }
)

#: How long a new connection is retried during a restart; counted from the first refusal, so that
#: no request waits in a long outage.
RESTART_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 0.05

#: A connection that was idle for longer is queried before it is used: its server may have ended
#: without a message. Under load no connection is idle, and none is queried.
IDLE_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0


class ConnectionFactory:
    """
    Makes connections and keeps track of those that are open.

    Args:
        server: Where to connect.
        connect_seconds: Longest that making a connection may take.
        statement_seconds: Longest that a round trip on a connection may take.
    """

    def __init__(
        self, server: PostgresServer, *, connect_seconds: float, statement_seconds: float
    ) -> None:
        self._server = server
        self._connect_seconds = connect_seconds
        self._statement_seconds = statement_seconds
        self._lock = threading.Lock()
        self._connecting: set[Waker] = set()
        self._open: weakref.WeakSet[BoundedConnection] = weakref.WeakSet()
        self._refused_since: float | None = None
        self._refused_last = 0.0

    def engine(self, *, pool_size: int, pool_timeout_seconds: float) -> Engine:
        """Return an engine with connections of this factory."""
        engine = create_engine(
            "postgresql+psycopg://",
            creator=self.connect,
            use_native_hstore=False,  # saves a query per process, for a type we do not use
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_seconds,
        )
        event.listen(engine, "checkout", self.on_checkout)
        event.listen(engine, "checkin", self.on_checkin)
        return engine

    def connect(self) -> BoundedConnection:
        """
        Return a new connection; retries while the server restarts.

        Raises:
            psycopg.OperationalError: The server accepts no connection.
        """
        waker = Waker()
        with self._lock:
            self._connecting.add(waker)
        try:
            pgconn = self._connect(waker)
        finally:
            with self._lock:
                self._connecting.discard(waker)
        connection = BoundedConnection.wrap(pgconn, statement_seconds=self._statement_seconds)
        with self._lock:
            self._refused_since = None
            self._open.add(connection)
        return connection

    def on_checkout(self, connection: BoundedConnection, record: Any, _proxy: Any) -> None:
        """
        Let the pool hand out *connection* only if its server still answers.

        Raises:
            sqlalchemy.exc.InvalidatePoolError: It does not; the pool makes a new connection.
        """
        idle_since = record.info.get("idle_since", math.inf)
        idle = time.monotonic() - idle_since > IDLE_SECONDS
        if not connection.is_usable(answer_within_seconds=ANSWER_SECONDS, idle=idle):
            # The other connections are likely dead too; testing each would cost a second.
            raise exc.InvalidatePoolError

    def on_checkin(self, connection: BoundedConnection | None, record: Any) -> None:
        """Record when a connection came back to the pool; drop it if it was abandoned."""
        record.info["idle_since"] = time.monotonic()
        if connection is not None and connection.abandoned:
            record.invalidate()

    def busy(self) -> set[int]:
        """Return the pids of the server processes that have a round trip under way."""
        with self._lock:
            return {each.pgconn.backend_pid for each in self._open if each.busy_since is not None}

    def abandon(self, *, except_pids: Collection[int] = ()) -> None:
        """
        Break every open connection, and restart those that are being made.

        A thread that waits for an answer gets an error within a second. A connection attempt begins
        anew, because packets sent during a fault may never be answered.

        Args:
            except_pids: Server processes whose round trips go on.
        """
        with self._lock:
            connections = list(self._open)
            for waker in self._connecting:
                waker.wake()
        for connection in connections:
            if connection.busy_since is None or connection.pgconn.backend_pid not in except_pids:
                connection.abandon()

    def _connect(self, waker: Waker) -> PGconn:
        end = time.monotonic() + self._connect_seconds
        while True:
            deadline = Deadline(end - time.monotonic(), waker=waker)
            try:
                return connect(self._server, deadline)
            except NoAnswer:
                if not waker.woken:
                    raise
                waker.reset()
            except psycopg.OperationalError as error:
                if failure_for(error).code not in RESTARTING or not self._may_be_restarting():
                    raise
            time.sleep(RETRY_SECONDS)

    def _may_be_restarting(self) -> bool:
        now = time.monotonic()
        with self._lock:
            if self._refused_since is None or now - self._refused_last > 10:
                self._refused_since = now
            self._refused_last = now
            return now - self._refused_since < RESTART_SECONDS
