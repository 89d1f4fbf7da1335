"""Which PostgreSQL server a URL means: its hosts, their addresses, and what to say to them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg import conninfo, pq

from atom_platform.database.deadline import Deadline
from atom_platform.database.failure import HostNotResolvable, NoAnswer
from atom_platform.database.resolver import resolve

__all__ = ["Server", "Target", "server_of", "targets_of"]

#: What a URL may override. They find a dead peer while nothing waits for it, and what is in flight
#: when packets vanish; a peer that acknowledges and says nothing, only the deadlines find.
DEFAULTS: Final[Mapping[str, str]] = {
    "fallback_application_name": "atom_platform",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}


@dataclass(frozen=True, slots=True)
class Target:
    """
    One address to try.

    Attributes:
        role: What `target_session_attrs` asks of it, if that is not what the URL says.
    """

    host: str
    address: str
    port: str
    role: str = ""

    def parameters(self) -> dict[str, str]:
        """Return them as libpq calls them."""
        mine = {
            "host": self.host,
            "hostaddr": self.address,
            "port": self.port,
            "target_session_attrs": self.role,
        }
        return {key: value for key, value in mine.items() if value}


@dataclass(slots=True)
class Server:
    """
    Where to connect, and as whom.

    Attributes:
        parameters: libpq's connection parameters.
        options: What the server shall set for the session. A PgBouncer that does not know such
            options refuses the connection; it is asked without them then, and ever after.
        silent: Addresses that did not answer in time when last asked.
    """

    parameters: Mapping[str, str]
    options: str = ""
    silent: set[Target] = field(default_factory=set)


def server_of(url: str, *, statement_timeout_seconds: float) -> Server:
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
    return Server(parameters, f"{timeout} {parameters.pop('options', '')}".strip())


def targets_of(server: Server, deadline: Deadline) -> list[Target]:
    """
    Return every address of every host, in the order to try them.

    Hosts keep their order, but one that was silent last time comes last: it has had its share.

    Raises:
        NoAnswer: The resolver said nothing before the deadline.
        HostNotResolvable: It knows none of the hosts.
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
    targets: list[Target] = []
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
        targets += [Target(host, each, port) for each in found]
    if isinstance(error, TimeoutError) and not targets:
        raise NoAnswer("the resolver did not answer in time") from error
    if not targets:
        raise HostNotResolvable("no host of the URL has an address") from error
    if server.parameters.get("load_balance_hosts") == "random":
        random.shuffle(targets)
    if server.parameters.get("target_session_attrs") == "prefer-standby":
        # A preference needs all hosts in sight; libpq sees only the one of this attempt.
        targets = [
            Target(each.host, each.address, each.port, role)
            for role in ("standby", "any")
            for each in targets
        ]
    return sorted(targets, key=lambda target: target in server.silent)


def _nth(values: list[str], index: int) -> str:
    return values[index] if index < len(values) else ""
