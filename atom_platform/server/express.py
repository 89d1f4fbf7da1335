"""
Probes that came whole with their connection, as seen before byte for byte, and want nothing more.

Nearly all probes are like that, and nothing of what a waiting connection needs is made for them.
While a database hangs, many ask for readiness at once: those are let in first and answered when the
door is empty, so that liveness never stands in line behind them. And bad news is told in batches:
who asks again at once, as one does then, would else take the machine from everybody.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from atom_platform.server.connection import AT_ONCE, address_of
from atom_platform.server.heads import LaneRequest, known_lane_request
from atom_platform.server.lane import LaneAnswers

__all__ = ["Express", "Guest"]

#: Short against the half second in which readiness is promised, long against what a batch takes.
BAD_NEWS_SECONDS: Final = 0.02
#: More than that are not kept waiting, or they would hold too many descriptors.
MOST_WAITING: Final = 256


class Guest(NamedTuple):
    """A new connection: its socket, both addresses, and what has been read from it."""

    sock: socket.socket
    client: Any
    server: Any
    data: bytes


class Express:
    """Answers such probes with what *lane* has ready; without one, takes nobody."""

    def __init__(self, lane: LaneAnswers | None) -> None:
        self._lane = lane
        self._put_off: list[tuple[Guest, LaneRequest]] = []
        self._not_before = 0.0

    def takes(self, sock: socket.socket, client: Any, server: Any, data: bytes) -> bool:
        """Return whether the connection is in good hands: answered, or soon with the others."""
        request = known_lane_request(data)
        if request is None or request.keep_alive or self._lane is None:
            return False
        if request.is_liveness:
            self._answer(sock, client, request, self._lane)
        elif request.is_scrape:
            return False
        else:
            self._put_off.append((Guest(sock, client, server, data), request))
        return True

    def seconds_to_due(self, now: float) -> float | None:
        """Return how long until the others are answered; None when nobody waits."""
        return max(0.0, self._not_before - now) if self._put_off else None

    def answer_put_off(self, *, at_once: bool = False) -> Iterator[Guest]:
        """Answer the others if it is time; give back those that take the application to answer."""
        if not self._put_off or self._lane is None:
            return
        if (
            not at_once
            and len(self._put_off) < MOST_WAITING
            and time.monotonic() < self._not_before
        ):
            return
        waiting, self._put_off = self._put_off, []
        for guest, request in waiting:
            if not self._answer(guest.sock, guest.client, request, self._lane):
                yield guest

    def _answer(
        self, sock: socket.socket, client: Any, request: LaneRequest, lane: LaneAnswers
    ) -> bool:
        """
        Answer and close.

        A client that asked for the end sends no more, and nothing unread is left: closing cannot
        reset what it has not read yet.
        """
        answer = lane.render(request, keep_alive=False, remote_addr=address_of(client))
        if answer is None:
            return False
        if not answer.startswith(b"200", len("HTTP/1.1 ")):
            self._not_before = time.monotonic() + BAD_NEWS_SECONDS
        try:  # noqa: SIM105 — `suppress` takes as long as a third of making the answer
            sock.send(answer, AT_ONCE)  # a new socket has room for it
        except OSError:
            pass
        sock.close()
        return True
