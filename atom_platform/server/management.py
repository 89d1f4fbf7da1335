"""
The management port: a second address, whatever addresses gunicorn is given and by whom.

gunicorn has four sources of `bind`, of which the last one wins, and `-b` must not close the port
that monitoring asks. It compares its addresses at a reload and opens all of them anew when they
differ, so they have to be the same each time: the port is added where a value of `bind` is checked.
"""

from __future__ import annotations

from typing import Any

__all__ = ["is_the_only_port", "open_beside", "with_port"]


def open_beside(port: int) -> None:
    """Let every value of gunicorn's `bind` have *port* too, from now on in this process."""
    from atom_platform.server._compat_gunicorn import bind_setting, validate_list_string

    def checked(value: Any) -> list[str]:
        return with_port(validate_list_string(value), port)

    bind_setting.validator = staticmethod(checked)


def with_port(addresses: list[str], port: int) -> list[str]:
    """
    Return *addresses* and, unless one of them has *port*, that port on the hosts of the others.

    On every IPv4 address if they name no host: beside a Unix socket.
    """
    from atom_platform.server._compat_gunicorn import parse_address

    pairs = [pair for pair in map(parse_address, addresses) if isinstance(pair, tuple)]
    if any(each == port for _, each in pairs):
        return addresses
    hosts = dict.fromkeys(host for host, _ in pairs) or ["0.0.0.0"]  # noqa: S104 — as the main one
    beside = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]
    return [*addresses, *beside]


def is_the_only_port(port: int, addresses: list[Any]) -> bool:
    """Whether gunicorn's *addresses* have no other port than *port*, and no Unix socket."""
    return all(isinstance(each, tuple) and each[1] == port for each in addresses)
