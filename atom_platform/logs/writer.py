"""
Whole lines out of several processes, and never at the price of a request.

Lines go into a bounded queue; one thread per process writes them in batches, under a lock that all
processes of the service share. A reader that is slow, gone or full costs lines, which are counted,
and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from atom_platform.logs.access_line import AccessEntry, access_line
from atom_platform.logs.encode import without_odd_ends
from atom_platform.logs.entries import BATCH_BYTES, Entry, batch_of, entry_of, joined
from atom_platform.logs.lifecycle import flush_at_end_of_child, keep_through_forks, tell
from atom_platform.logs.shared import SharedOutput

__all__ = ["Writer"]

#: A queue filled this far is written at once rather than at the end of the batching pause.
_HURRY_LINES: Final = 2000


class Writer:
    """
    Writes lines to a file descriptor that other processes write to as well.

    Create it before forking: the processes then know of each other's broken lines. A forked process
    starts with an empty queue and a thread of its own.

    Args:
        fd: Where lines go. It is used as it is, so that a `dup2` onto it takes the lines along.
        max_lines: Lines the queue holds; more are dropped.
        max_bytes: Bytes for lines longer than `max_bytes / max_lines`; the others may take as many.
        batch_seconds: How long a line may wait for others to be written with it.
        on_lines: Called by the writing thread with a level and a number of lines.
        on_drop: Called with a reason (`queue_full`, `write_error`) and a number of lines.
        on_tick: Called about once a second by the writing thread.
        describe_loss: Makes the line that says how many were lost, once lines can be written again.
    """

    def __init__(
        self,
        fd: int = 1,
        *,
        max_lines: int = 10_000,
        max_bytes: int = 8 * 1024 * 1024,
        batch_seconds: float = 0.05,
        on_lines: Callable[[str, int], None] | None = None,
        on_drop: Callable[[str, int], None] | None = None,
        on_tick: Callable[[], None] | None = None,
        describe_loss: Callable[[int], bytes] | None = None,
    ) -> None:
        self._output = SharedOutput(fd)
        self.describe_loss, self.on_tick = describe_loss, on_tick
        self.on_lines, self.on_drop = on_lines, on_drop
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._short_bytes = max_bytes // max_lines
        self._batch_seconds = batch_seconds
        self._closed = False
        self.forget()
        keep_through_forks(self)

    def forget(self) -> None:
        """Begin anew in a forked process: what is queued is the parent's to write."""
        # Re-entrant: a signal handler may log while the thread it interrupts is in here.
        self._lock = threading.RLock()
        self._queue: deque[Entry] = deque()
        self._long_bytes = self._busy = self._lost = 0
        self._delivering = threading.Lock()
        self._asleep = True  # also when it has not been started: somebody has to see to it
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes, level: str = "INFO") -> None:
        """
        Queue *line*, which ends in a newline. Never blocks and never raises.

        What is CRITICAL does not wait for others.
        """
        queue = self._queue
        if len(line) > self._short_bytes or len(queue) >= self._max_lines or self._closed:
            self._write_with_care(line, level)
            return
        # No lock: the thread says that it sleeps, then looks here; we add, then look if it sleeps.
        queue.append(line if level == "INFO" else (line, level))
        if self._asleep:
            self._rouse()
        if level == "CRITICAL" or len(queue) == _HURRY_LINES:
            self._hurry.set()

    def write_access(self, entry: AccessEntry) -> None:
        """Queue an access line, which the thread that writes makes of *entry*."""
        queue = self._queue
        if (waiting := len(queue)) >= self._max_lines or self._closed:
            self._write_with_care(access_line(entry), entry.level)
            return
        queue.append(entry)
        if self._asleep:
            self._rouse()
        if waiting == _HURRY_LINES:
            self._hurry.set()

    def _write_with_care(self, line: bytes, level: str) -> None:
        """Queue a line that is long, or for which there is no room, or when nobody writes them."""
        if self._closed:
            self._deliver(line, time.monotonic())
            return
        with self._lock:
            size = self._long_bytes + (len(line) if len(line) > self._short_bytes else 0)
            full = size > self._max_bytes or len(self._queue) >= self._max_lines
            if not full:
                self._long_bytes = size
                self._queue.append(entry_of(line, level))
        self._rouse()
        if full:
            self._dropped("queue_full", 1)
        elif level == "CRITICAL" or size > BATCH_BYTES:
            self._hurry.set()

    def _rouse(self) -> None:
        with self._lock:
            if self._thread is None:
                self._start()
            elif self._asleep:
                self._asleep = False
                self._wake.set()

    def start(self) -> None:
        """Start the writing thread, which the first line does otherwise."""
        if not self._closed:
            self._rouse()

    def flush(self, timeout_seconds: float = 1.0) -> bool:
        """Wait until everything queued is written; False if that took too long."""
        deadline = time.monotonic() + timeout_seconds
        while self._queue or self._busy:
            thread = self._thread
            if thread is None or not thread.is_alive():
                self._write_queue(deadline)
                return not self._queue
            self._hurry.set()
            self._wake.set()
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)
        return True

    def close(self, timeout_seconds: float = 2.0) -> None:
        """
        Write what is queued and end the thread; give up when nobody reads for *timeout_seconds*.

        Lines written later go out at once if the output takes them at once, else they are dropped.
        """
        if self._closed:
            return
        flushed = self.flush(timeout_seconds)
        self._closed = True
        self._wake.set()
        self._hurry.set()
        thread = self._thread
        if thread is not None and flushed and thread is not threading.current_thread():
            thread.join(timeout_seconds)
        if self._queue:
            self._dropped("write_error", len(self._queue))

    def _start(self) -> None:
        # Set first: a signal handler that logs while it starts must not start another.
        self._thread = thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no threads left, or the interpreter is ending: flush() writes then
            self._thread = None
            return
        flush_at_end_of_child(self)

    def _run(self) -> None:
        wake, hurry, last_tick = self._wake, self._hurry, -1.0
        while not self._closed:
            if not self._queue:
                self._asleep = True
                if not self._queue:  # looked at again: who added one before has not roused us
                    wake.wait(1.0)
                self._asleep = False
                wake.clear()
            if self._queue:
                hurry.wait(self._batch_seconds)
                hurry.clear()
                self._write_queue(None)
            if time.monotonic() - last_tick >= 1.0:
                last_tick = time.monotonic()
                tell(self.on_tick)

    def _write_queue(self, deadline: float | None) -> None:
        with self._lock:
            self._busy += 1
        try:
            # What comes meanwhile waits for more: to be let in by those that answer costs a lot.
            left = len(self._queue)
            while left > 0 and self._queue:
                with self._lock:  # of two threads that write, each takes lines that follow
                    taken, long_bytes = batch_of(self._queue, self._short_bytes, self._long_bytes)
                    self._long_bytes -= long_bytes
                left -= len(taken)
                batch, levels = joined(taken)
                for level, lines in levels.items():
                    tell(self.on_lines, level, lines)
                if self._deliver(batch, deadline) and self._lost:
                    self._report_loss(deadline)
        finally:
            with self._lock:
                self._busy -= 1

    def _deliver(self, batch: bytes, deadline: float | None) -> bool:
        """Write *batch* whole, or count what of it was lost. None as *deadline* waits for ever."""
        batch = without_odd_ends(batch)
        timeout = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        written = 0
        if self._delivering.acquire(timeout=timeout):  # one thread at a time: the file lock is ours
            try:
                written = self._output.write(batch, deadline)
            finally:
                self._delivering.release()
        if written < len(batch):
            self._dropped("write_error", batch.count(b"\n", written))
        return written == len(batch)

    def _report_loss(self, deadline: float | None) -> None:
        """Say in the log itself how many lines are missing, now that it can be written again."""
        with self._lock:
            lost, self._lost = self._lost, 0
        if self.describe_loss is not None:
            self._deliver(self.describe_loss(lost), deadline)

    def _dropped(self, reason: str, lines: int) -> None:
        with self._lock:
            self._lost += lines
        if lines:
            tell(self.on_drop, reason, lines)
