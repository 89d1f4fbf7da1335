"""
Host names to addresses, without waiting longer than asked.

The system's resolver covers no timeout of ours and cannot be interrupted: over a silent name
server it blocks for tens of seconds. So it runs in a thread of its own, one per name however many
ask, and who asked stops waiting instead. What cannot be freed is that one thread.
"""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import threading
from typing import Final

from atom_platform.database.deadline import Deadline
from atom_platform.forking import at_fork

__all__ = ["ask_often", "resolve"]

#: Left alone glibc asks a silent name server a second time after five seconds, and would notice
#: the end of the silence as late.
OFTEN: Final = "timeout:1 attempts:5"


class _Lookup:
    """One question to the resolver, and its answer when there is one."""

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


def ask_often() -> None:
    """
    Have the system's resolver ask every second, unless the environment says how often.

    It reads this once, so before its first question. Other C libraries than glibc do not.
    """
    os.environ.setdefault("RES_OPTIONS", OFTEN)


def resolve(host: str, deadline: Deadline, *, at_most_seconds: float = math.inf) -> list[str]:
    """
    Return the addresses of *host*, as the system orders them.

    Raises:
        TimeoutError: No answer yet; the question stays asked.
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
    """A forked child has none of its parent's threads: what they were to answer never comes."""
    global _lock
    _lock = threading.Lock()
    _lookups.clear()


at_fork("database_resolver", after_in_child=_forget_parent)
