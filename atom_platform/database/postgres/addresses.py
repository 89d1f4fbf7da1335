"""
The addresses of a PostgreSQL URL: its hosts, resolved without waiting longer than asked.

The system's resolver has no timeout that we can set, and cannot be interrupted: with a silent name
server it blocks for tens of seconds. So each name is resolved in a thread of its own, shared by all
callers. A caller stops waiting at its deadline; the thread stays until the resolver returns.
"""

from __future__ import annotations

import ipaddress
import math
import os
import random
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg import conninfo, pq

from atom_platform.database.errors import HostNotResolvable, NoAnswer
from atom_platform.database.postgres.deadline import Deadline
from atom_platform.forking import at_fork

__all__ = [
    "PostgresServer",
    "ServerAddress",
    "addresses_of",
    "parse_url",
    "resolve",
    "shorten_resolver_timeout",
]

#: By default glibc asks a silent name server again after five seconds only, and so notices the end
#: of the silence as late.
RESOLVER_OPTIONS: Final = "timeout:1 attempts:5"

#: Defaults that a URL may override. Keepalives detect a dead peer of an idle connection, and
#: `tcp_user_timeout` a dead peer of unacknowledged data. A peer that acknowledges data and sends no
#: answer is detected by deadlines only.
DEFAULTS: Final[Mapping[str, str]] = {
    "fallback_application_name": "atom_platform",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """
    One address to try.

    Attributes:
        role: Its `target_session_attrs`; empty for that of the URL.
    """

    host: str
    address: str
    port: str
    role: str = ""

    def parameters(self) -> dict[str, str]:
        """Return libpq's connection parameters for it."""
        values = {
            "host": self.host,
            "hostaddr": self.address,
            "port": self.port,
            "target_session_attrs": self.role,
        }
        return {key: value for key, value in values.items() if value}


@dataclass(slots=True)
class PostgresServer:
    """
    Where to connect, and as which user.

    Attributes:
        parameters: libpq's connection parameters.
        options: Settings of the session. A PgBouncer that does not know them refuses the
            connection; later connections are then made without them.
        unresponsive: Addresses that did not answer in time at the last attempt.
    """

    parameters: Mapping[str, str]
    options: str = ""
    unresponsive: set[ServerAddress] = field(default_factory=set)


def parse_url(url: str, *, statement_timeout_seconds: float) -> PostgresServer:
    """
    Read a `postgresql://` URL as libpq does: several hosts, sockets and query options included.

    Raises:
        ValueError: It is not one; the text does not repeat it.
    """
    try:
        given = conninfo.conninfo_to_dict("postgresql:" + url.partition(":")[2])
    except psycopg.ProgrammingError:
        raise ValueError("not a URL that libpq understands") from None
    parameters = {**DEFAULTS, **{key: str(value) for key, value in given.items()}}
    timeout = f"-c statement_timeout={max(1, round(statement_timeout_seconds * 1000))}"
    return PostgresServer(parameters, f"{timeout} {parameters.pop('options', '')}".strip())


def addresses_of(server: PostgresServer, deadline: Deadline) -> list[ServerAddress]:
    """
    Return every address of every host, in the order to try them.

    Hosts keep their order, but addresses that did not answer at the last attempt come last.

    Raises:
        NoAnswer: The resolver did not answer before the deadline.
        HostNotResolvable: No host has an address.
    """
    defaults = {
        option.keyword.decode(): option.val.decode()
        for option in pq.Conninfo.get_defaults()  # PGHOST and its like
        if option.val
    }
    hosts, addresses, ports = (
        (server.parameters.get(key) or defaults.get(key) or "").split(",")
        for key in ("host", "hostaddr", "port")
    )
    count = max(len(hosts), len(addresses))
    found_addresses: list[ServerAddress] = []
    error: OSError | None = None
    for index in range(count):
        host, address = _nth(hosts, index), _nth(addresses, index)
        found = [address]
        if host and not address and not host.startswith(("/", "@")):  # those are sockets' names
            try:
                share = deadline.remaining_seconds / (count - index)
                found = resolve(host, deadline, at_most_seconds=share)
            except OSError as failure:
                error = failure
                continue
        port = ports[index] if len(ports) == count else ports[0]
        found_addresses += [ServerAddress(host, each, port) for each in found]
    if isinstance(error, TimeoutError) and not found_addresses:
        raise NoAnswer("the resolver did not answer in time") from error
    if not found_addresses:
        raise HostNotResolvable("no host of the URL has an address") from error
    if server.parameters.get("load_balance_hosts") == "random":
        random.shuffle(found_addresses)
    if server.parameters.get("target_session_attrs") == "prefer-standby":
        # libpq sees only the host of one attempt, so the preference is made here.
        found_addresses = [
            ServerAddress(each.host, each.address, each.port, role)
            for role in ("standby", "any")
            for each in found_addresses
        ]
    return sorted(found_addresses, key=lambda address: address in server.unresponsive)


def _nth(values: list[str], index: int) -> str:
    return values[index] if index < len(values) else ""


class _Lookup:
    """The resolution of one name, in a thread of its own."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.finished = threading.Event()
        self.addresses: list[str] = []
        self.error: OSError | None = None
        threading.Thread(target=self._run, name="database-resolver", daemon=True).start()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
            self.addresses = [str(address[0]) for *_, address in found]
        except (OSError, UnicodeError) as error:  # UnicodeError: a label of more than 63 characters
            self.error = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            self.finished.set()


_lock = threading.Lock()
_lookups: dict[str, _Lookup] = {}


def shorten_resolver_timeout() -> None:
    """
    Have glibc's resolver ask a name server every second, unless the environment says otherwise.

    glibc reads the setting once, before its first question; other C libraries ignore it.
    """
    os.environ.setdefault("RES_OPTIONS", RESOLVER_OPTIONS)


def resolve(host: str, deadline: Deadline, *, at_most_seconds: float = math.inf) -> list[str]:
    """
    Return the addresses of *host*, as the system orders them.

    Raises:
        TimeoutError: There is no answer yet; the thread goes on waiting for it.
        OSError: There is no such host, or the resolver failed.
    """
    if _is_address(host):
        return [host]
    with _lock:
        lookup = _lookups.get(host)
        if lookup is None:
            lookup = _lookups[host] = _Lookup(host)
    if not deadline.wait_for(lookup.finished, at_most_seconds=at_most_seconds):
        raise TimeoutError("the resolver did not answer in time")
    with _lock:
        if _lookups.get(host) is lookup:
            del _lookups[host]
    if lookup.error is not None:
        raise lookup.error
    return lookup.addresses


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])  # a scope such as fe80::1%eth0 may follow
    except ValueError:
        return False
    return True


def _forget_parent() -> None:
    """Drop lookups in a child: it has none of its parent's threads, so they would never end."""
    global _lock
    _lock = threading.Lock()
    _lookups.clear()


at_fork("database_resolver", after_in_child=_forget_parent)
