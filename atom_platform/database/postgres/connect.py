"""
Makes connections to PostgreSQL and runs queries on them, each under one deadline.

libpq's own `connect_timeout` counts per address, is at least two seconds, and does not cover the
resolver. So the connection is made by libpq's non-blocking calls, and this module waits for them.
"""

from __future__ import annotations

import psycopg
from psycopg import conninfo, pq
from psycopg.pq.abc import PGconn, PGresult

from atom_platform.database.errors import ConnectionLost, NoAnswer
from atom_platform.database.postgres.addresses import PostgresServer, ServerAddress, addresses_of
from atom_platform.database.postgres.deadline import READABLE, WRITABLE, Deadline

__all__ = ["connect", "query"]


def connect(server: PostgresServer, deadline: Deadline) -> PGconn:
    """
    Return a connection to the first address that accepts one.

    Raises:
        NoAnswer: No server answered before the deadline.
        HostNotResolvable: No host has an address.
        psycopg.OperationalError: The refusal of the last server that answered.
    """
    addresses = addresses_of(server, deadline)
    error: psycopg.OperationalError = NoAnswer("no time was left to connect")
    for index, address in enumerate(addresses):
        seconds = deadline.remaining_seconds / (len(addresses) - index)
        if not seconds:
            break
        try:
            pgconn = _connect_to(server, address, deadline, seconds)
        except NoAnswer as timeout:
            server.unresponsive.add(address)
            error = timeout if isinstance(error, NoAnswer) else error
        except psycopg.OperationalError as refusal:
            error = refusal
        else:
            server.unresponsive.discard(address)
            return pgconn
    raise error


def query(pgconn: PGconn, statement: bytes, deadline: Deadline) -> list[PGresult]:
    """
    Send one simple query (no parameters, no server-side preparation) and return its results.

    After NoAnswer or ConnectionLost the connection cannot be used any more.

    Raises:
        NoAnswer: No result before the deadline.
        ConnectionLost: The connection is gone.
        psycopg.Error: The server's own refusal.
    """
    results = []
    try:
        pgconn.send_query(statement)
        while pgconn.flush():
            if not deadline.wait(pgconn.socket, READABLE | WRITABLE):
                raise NoAnswer("the query could not be sent in time")
            pgconn.consume_input()
        while True:
            while pgconn.is_busy():
                if not deadline.wait(pgconn.socket, READABLE):
                    raise NoAnswer("the query was not answered in time")
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            results.append(result)
    except NoAnswer:
        raise
    except psycopg.OperationalError as lost:
        raise ConnectionLost(str(lost)) from lost
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            error = psycopg.errors.error_from_result(result)
            if pgconn.status == pq.ConnStatus.BAD:  # the server's last message, as at a shutdown
                raise ConnectionLost(str(error)) from error
            raise error
    return results


def _connect_to(
    server: PostgresServer, address: ServerAddress, deadline: Deadline, seconds: float
) -> PGconn:
    """Connect to one address, without session options if the server refuses those."""
    parameters = {**server.parameters, **address.parameters()}
    options = server.options
    try:
        return _handshake({**parameters, "options": options}, deadline, seconds)
    except psycopg.OperationalError as error:
        if not options or "unsupported startup parameter" not in str(error):
            raise
    server.options = ""
    return _handshake(parameters, deadline, seconds)


def _handshake(parameters: dict[str, str], deadline: Deadline, seconds: float) -> PGconn:
    """Connect to one address, with *seconds* of what remains of the deadline."""
    left_for_others = deadline.remaining_seconds - seconds
    pgconn = pq.PGconn.connect_start(conninfo.make_conninfo(**parameters).encode())
    try:
        while pgconn.status != pq.ConnStatus.BAD:
            step = pgconn.connect_poll()
            if step == pq.PollingStatus.OK:
                pgconn.nonblocking = 1
                return pgconn
            if step == pq.PollingStatus.FAILED:
                break
            direction = READABLE if step == pq.PollingStatus.READING else WRITABLE
            left = deadline.remaining_seconds - left_for_others
            if not deadline.wait(pgconn.socket, direction, at_most_seconds=left):
                raise NoAnswer("the server did not answer in time")
        raise psycopg.OperationalError(pgconn.get_error_message())
    except BaseException:
        pgconn.finish()
        raise
