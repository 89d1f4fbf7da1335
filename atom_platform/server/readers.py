"""
Clients that take an answer in more than one piece. The accept loop sends on when they have read, so
that one who does not read holds a connection and no thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from atom_platform.server.connection import AT_ONCE, Connection
from atom_platform.server.lobby import Lobby
from atom_platform.server.scrapes import Outcomes, Visit

__all__ = ["Readers"]

#: At once; each may hold a page of its own in memory.
MOST_READERS: Final = 32

#: In one turn to one client: a copy in the kernel, of which probes must not notice anything.
PIECE_BYTES: Final = 262_144


class Readers:
    """
    Sends what is left of answers to those who wait in the lobby's `reading`.

    Args:
        lobby: Where they wait, and who leaves too early or too late is dropped.
        on_sent: Called with the outcomes of those who have read all.
    """

    def __init__(self, lobby: Lobby, *, on_sent: Callable[[Outcomes], Any]) -> None:
        self._lobby = lobby
        self._on_sent = on_sent

    def send(self, visit: Visit, pieces: list[memoryview]) -> None:
        """Send *pieces* as the client takes them; who has waited longest makes room."""
        room = self._lobby.reading
        while len(room) >= MOST_READERS and (longest := room.longest_waiting()) is not None:
            self._lobby.drop(longest)
        visit.connection.unsent = visit, pieces
        self._lobby.wait(visit.connection, room)

    def send_on(self, connection: Connection) -> None:
        """Send one more piece, now that the client takes something."""
        visit, pieces = connection.unsent
        try:
            sent = connection.sock.send(pieces[0][:PIECE_BYTES], AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            self._lobby.drop(connection)
            return
        pieces[0] = pieces[0][sent:]
        if not pieces[0]:
            del pieces[0]
        if not pieces:
            connection.unsent = None
            self._lobby.leave(connection)
            self._on_sent([(visit, True)])
