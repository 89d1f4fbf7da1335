"""
Connections to PostgreSQL, made under one deadline however many hosts and addresses there are.

libpq's own `connect_timeout` counts per address, is at least two seconds, and does not cover the
resolver; so the connection is made through libpq's non-blocking calls, and waited for here.
"""

from __future__ import annotations

import psycopg
from psycopg import conninfo, pq
from psycopg.pq.abc import PGconn, PGresult

from atom_platform.database.deadline import READABLE, WRITABLE, Deadline
from atom_platform.database.failure import ConnectionLost, NoAnswer
from atom_platform.database.server import Server, Target, targets_of

__all__ = ["ask", "connect"]


def connect(server: Server, deadline: Deadline) -> PGconn:
    """
    Return a connection to the first host that takes one.

    Raises:
        NoAnswer: None said anything before the deadline.
        HostNotResolvable: None has an address.
        psycopg.OperationalError: The refusal of the last one that said anything.
    """
    targets = targets_of(server, deadline)
    error: psycopg.OperationalError = NoAnswer("no time was left to connect")
    for index, target in enumerate(targets):
        seconds = deadline.remaining_seconds / (len(targets) - index)
        if not seconds:
            break
        try:
            pgconn = _connect_to(server, target, deadline, seconds)
        except NoAnswer as silence:
            server.silent.add(target)
            error = silence if isinstance(error, NoAnswer) else error
        except psycopg.OperationalError as refusal:
            error = refusal
        else:
            server.silent.discard(target)
            return pgconn
    raise error


def ask(pgconn: PGconn, statement: bytes, deadline: Deadline) -> list[PGresult]:
    """
    Send one simple query (no parameters, no server-side preparation) and return its results.

    After NoAnswer or ConnectionLost the connection is of no use any more.

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
            if pgconn.status == pq.ConnStatus.BAD:  # a goodbye, such as that of a shutdown
                raise ConnectionLost(str(error)) from error
            raise error
    return results


def _connect_to(server: Server, target: Target, deadline: Deadline, seconds: float) -> PGconn:
    parameters = {**server.parameters, **target.parameters()}
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
