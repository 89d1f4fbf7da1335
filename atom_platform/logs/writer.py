"""
The queue and the thread through which every log line of a process goes to its output.

The queue is bounded. One thread for each process writes its lines in batches, under a lock that all
processes of the service share. If the output is slow, closed or full, lines are dropped and
counted; requests do not wait.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, cast

from atom_platform.forking import at_fork
from atom_platform.logs.access_line import AccessParts, access_line
from atom_platform.logs.encode import escape_line_separators
from atom_platform.logs.locked_output import LockedOutput

__all__ = [
    "BATCH_BYTES",
    "Entry",
    "Writer",
    "_entry",
    "_flush_at_process_exit",
    "_join",
    "_notify",
    "_take_batch",
    "keep_through_forks",
]

#: What one lock of the output carries at most: long enough to be cheap, short enough to be fair.
BATCH_BYTES: Final = 256 * 1024

#: A line; a line with its level, when that is not INFO; or what an access line is to be made of.
Entry = bytes | tuple[bytes, str] | AccessParts


def _entry(line: bytes, level: str) -> Entry:
    """Return *line* with what has to be known of its *level*."""
    return line if level == "INFO" else (line, level)


def _line(entry: Entry) -> bytes:
    """Return the line of *entry*."""
    if isinstance(entry, bytes):
        return entry
    return entry[0] if len(entry) == 2 else access_line(entry)


def _take_batch(queue: deque[Entry], short_bytes: int, long_bytes: int) -> tuple[list[Entry], int]:
    """
    Take the next batch from *queue*, and return it with the bytes of the long lines in it.

    Args:
        short_bytes: A longer line is a long one.
        long_bytes: Of the long lines in the queue.
    """
    if not long_bytes:
        most = min(len(queue), max(1, BATCH_BYTES // (short_bytes + 1)))
        return [queue.popleft() for _ in range(most)], 0
    size, taken, long_taken = 0, list[Entry](), 0
    while queue and (not taken or size + _length(queue[0]) <= BATCH_BYTES):
        taken.append(queue.popleft())
        size += (length := _length(taken[-1]))
        long_taken += length if length > short_bytes else 0
    return taken, long_taken


def _length(entry: Entry) -> int:
    """Return how long the line of *entry* is, 0 for one that is not made yet: it is short."""
    if isinstance(entry, bytes):
        return len(entry)
    return len(entry[0]) if len(entry) == 2 else 0


def _join(entries: Sequence[Entry]) -> tuple[bytes, Mapping[str, int]]:
    """Return the lines of *entries* in one, and how many there are of each level."""
    levels = Counter([entry[-1] if type(entry) is tuple else "INFO" for entry in entries])
    lines = [entry if type(entry) is bytes else _line(entry) for entry in entries]
    return b"".join(lines), cast(Mapping[str, int], levels)


class Kept(Protocol):
    """What has lines that must not be lost, or written twice."""

    def forget(self) -> None: ...
    def flush(self, timeout_seconds: float = ...) -> bool: ...
    def close(self) -> None: ...


_kept: weakref.WeakSet[Kept] = weakref.WeakSet()


def keep_through_forks(writer: Kept) -> None:
    """Have *writer* forget its parent's lines in each forked process, and be closed at each end."""
    _kept.add(writer)


def _flush_at_process_exit(writer: Kept) -> None:
    """Processes of `multiprocessing` end without `atexit`; they have a registry of their own."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, writer.flush, exitpriority=0)


def _notify(listener: Callable[..., None] | None, *what: object) -> None:
    """Tell *listener*, if there is one; one that fails costs no line and no request."""
    if listener is not None:
        with contextlib.suppress(Exception):
            listener(*what)


def _after_fork() -> None:
    for writer in list(_kept):
        writer.forget()


def _at_exit() -> None:
    for writer in list(_kept):
        writer.close()


at_fork("log_writer", after_in_child=_after_fork)
atexit.register(_at_exit)


#: A queue filled this far is written at once rather than at the end of the batching pause.
_FLUSH_LINES: Final = 2000


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
        self._output = LockedOutput(fd)
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
        self._wake, self._flush_requested = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes, level: str = "INFO") -> None:
        """
        Queue *line*, which ends in a newline. Never blocks and never raises.

        What is CRITICAL does not wait for others.
        """
        queue = self._queue
        if len(line) > self._short_bytes or len(queue) >= self._max_lines or self._closed:
            self._write_slowly(line, level)
            return
        # No lock: the thread says that it sleeps, then looks here; we add, then look if it sleeps.
        queue.append(line if level == "INFO" else (line, level))
        if self._asleep:
            self._wake_thread()
        if level == "CRITICAL" or len(queue) == _FLUSH_LINES:
            self._flush_requested.set()

    def write_access(self, parts: AccessParts) -> None:
        """Queue an access line, which the thread that writes makes of its *parts*."""
        queue = self._queue
        if (waiting := len(queue)) >= self._max_lines or self._closed:
            self._write_slowly(access_line(parts), parts[-1])
            return
        queue.append(parts)
        if self._asleep:
            self._wake_thread()
        if waiting == _FLUSH_LINES:
            self._flush_requested.set()

    def _write_slowly(self, line: bytes, level: str) -> None:
        """Queue a line that is long, or for which there is no room, or when nobody writes them."""
        if self._closed:
            self._deliver(line, time.monotonic())
            return
        with self._lock:
            size = self._long_bytes + (len(line) if len(line) > self._short_bytes else 0)
            full = size > self._max_bytes or len(self._queue) >= self._max_lines
            if not full:
                self._long_bytes = size
                self._queue.append(_entry(line, level))
        self._wake_thread()
        if full:
            self._count_dropped("queue_full", 1)
        elif level == "CRITICAL" or size > BATCH_BYTES:
            self._flush_requested.set()

    def _wake_thread(self) -> None:
        with self._lock:
            if self._thread is None:
                self._start()
            elif self._asleep:
                self._asleep = False
                self._wake.set()

    def start(self) -> None:
        """Start the writing thread, which the first line does otherwise."""
        if not self._closed:
            self._wake_thread()

    def flush(self, timeout_seconds: float = 1.0) -> bool:
        """Wait until everything queued is written; False if that took too long."""
        deadline = time.monotonic() + timeout_seconds
        while self._queue or self._busy:
            thread = self._thread
            if thread is None or not thread.is_alive():
                self._write_queue(deadline)
                return not self._queue
            self._flush_requested.set()
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
        self._flush_requested.set()
        thread = self._thread
        if thread is not None and flushed and thread is not threading.current_thread():
            thread.join(timeout_seconds)
        if self._queue:
            self._count_dropped("write_error", len(self._queue))

    def _start(self) -> None:
        # Set first: a signal handler that logs while it starts must not start another.
        self._thread = thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no threads left, or the interpreter is ending: flush() writes then
            self._thread = None
            return
        _flush_at_process_exit(self)

    def _run(self) -> None:
        wake, flush_requested, last_tick = self._wake, self._flush_requested, -1.0
        while not self._closed:
            if not self._queue:
                self._asleep = True
                if not self._queue:  # looked at again: who added one before has not roused us
                    wake.wait(1.0)
                self._asleep = False
                wake.clear()
            if self._queue:
                flush_requested.wait(self._batch_seconds)
                flush_requested.clear()
                self._write_queue(None)
            if time.monotonic() - last_tick >= 1.0:
                last_tick = time.monotonic()
                _notify(self.on_tick)

    def _write_queue(self, deadline: float | None) -> None:
        with self._lock:
            self._busy += 1
        try:
            # What comes meanwhile waits for more: to be let in by those that answer costs a lot.
            left = len(self._queue)
            while left > 0 and self._queue:
                with self._lock:  # of two threads that write, each takes lines that follow
                    taken, long_bytes = _take_batch(
                        self._queue, self._short_bytes, self._long_bytes
                    )
                    self._long_bytes -= long_bytes
                left -= len(taken)
                batch, levels = _join(taken)
                for level, lines in levels.items():
                    _notify(self.on_lines, level, lines)
                if self._deliver(batch, deadline) and self._lost:
                    self._report_loss(deadline)
        finally:
            with self._lock:
                self._busy -= 1

    def _deliver(self, batch: bytes, deadline: float | None) -> bool:
        """Write *batch* whole, or count what of it was lost. None as *deadline* waits for ever."""
        batch = escape_line_separators(batch)
        timeout = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        written = 0
        if self._delivering.acquire(timeout=timeout):  # one thread at a time: the file lock is ours
            try:
                written = self._output.write(batch, deadline)
            finally:
                self._delivering.release()
        if written < len(batch):
            self._count_dropped("write_error", batch.count(b"\n", written))
        return written == len(batch)

    def _report_loss(self, deadline: float | None) -> None:
        """Say in the log itself how many lines are missing, now that it can be written again."""
        with self._lock:
            lost, self._lost = self._lost, 0
        if self.describe_loss is not None:
            self._deliver(self.describe_loss(lost), deadline)

    def _count_dropped(self, reason: str, lines: int) -> None:
        with self._lock:
            self._lost += lines
        if lines:
            _notify(self.on_drop, reason, lines)
