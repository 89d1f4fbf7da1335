"""Where the pool's PostgreSQL connections come from, and how a dead one is found out before use."""

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

from atom_platform.database import postgres
from atom_platform.database.bounded import BoundedConnection
from atom_platform.database.deadline import Deadline, Waker
from atom_platform.database.failure import NoAnswer, failure_for
from atom_platform.database.server import Server

__all__ = ["PostgresSource"]

#: What the sight of a server that is being restarted may be.
RESTARTING: Final = frozenset(
    {
        "connection_lost",
        "shutting_down",
        "starting_up",
        "refused",
    }
)

#: How long a restart may take without failing who needs a connection; counted from the first
#: refusal, so that in a long outage nobody waits.
RESTART_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 0.05

#: A connection that has rested for longer is asked before it is used: its server may have gone
#: without a goodbye. Under load none rests, and none is asked.
RESTED_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0


class PostgresSource:
    """
    Makes connections, and remembers them as long as they live.

    Args:
        server: Where to connect.
        connect_seconds: Longest the making of one may take.
        statement_seconds: Longest a round trip on one may take.
    """

    def __init__(self, server: Server, *, connect_seconds: float, statement_seconds: float) -> None:
        self._server = server
        self._connect_seconds = connect_seconds
        self._statement_seconds = statement_seconds
        self._lock = threading.Lock()
        self._connecting: set[Waker] = set()
        self._alive: weakref.WeakSet[BoundedConnection] = weakref.WeakSet()
        self._refused_since: float | None = None
        self._refused_last = 0.0

    def engine(self, *, pool_size: int, pool_timeout_seconds: float) -> Engine:
        """Return an engine that takes its connections from here."""
        engine = create_engine(
            "postgresql+psycopg://",
            creator=self.connect,
            use_native_hstore=False,  # saves a query per process, for a type we do not use
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_seconds,
        )
        event.listen(engine, "checkout", self.verify)
        event.listen(engine, "checkin", self.rest)
        return engine

    def connect(self) -> BoundedConnection:
        """
        Return a new connection, over a restart of the server if need be.

        Raises:
            psycopg.OperationalError: There is none to be had.
        """
        waker = Waker()
        with self._lock:
            self._connecting.add(waker)
        try:
            pgconn = self._connect(waker)
        finally:
            with self._lock:
                self._connecting.discard(waker)
        connection = BoundedConnection.over(pgconn, statement_seconds=self._statement_seconds)
        with self._lock:
            self._refused_since = None
            self._alive.add(connection)
        return connection

    def verify(self, connection: BoundedConnection, record: Any, _proxy: Any) -> None:
        """
        Let the pool use *connection* only if its server still answers (a `checkout` event).

        Raises:
            sqlalchemy.exc.DisconnectionError: It does not; the pool makes a new one.
        """
        rested_since = record.info.get("rested_since", math.inf)
        rested = time.monotonic() - rested_since > RESTED_SECONDS
        if not connection.is_usable(ask_within_seconds=ANSWER_SECONDS, rested=rested):
            # The others have likely gone the same way: they are not worth a second each.
            raise exc.InvalidatePoolError

    def rest(self, connection: BoundedConnection | None, record: Any) -> None:
        """Note when a connection came back to the pool (a `checkin` event)."""
        record.info["rested_since"] = time.monotonic()
        if connection is not None and connection.given_up:
            record.invalidate()

    def busy(self) -> set[int]:
        """Return the server's processes that are to answer something."""
        with self._lock:
            return {each.pgconn.backend_pid for each in self._alive if each.busy_since is not None}

    def give_up(self, *, but: Collection[int] = ()) -> None:
        """
        Break every connection whose server process is not one of *but*.

        Who waits for an answer on one gets an error within a moment; who waits for a new one starts
        anew, for what was sent into a fault may never be answered.
        """
        with self._lock:
            connections = list(self._alive)
            for waker in self._connecting:
                waker.wake()
        for connection in connections:
            if connection.busy_since is None or connection.pgconn.backend_pid not in but:
                connection.give_up()

    def _connect(self, waker: Waker) -> PGconn:
        end = time.monotonic() + self._connect_seconds
        while True:
            deadline = Deadline(end - time.monotonic(), waker=waker)
            try:
                return postgres.connect(self._server, deadline)
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
