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
from typing import Final, NamedTuple, Protocol

from atom_platform.forking import at_fork
from atom_platform.logs.encode import escape_line_separators
from atom_platform.logs.locked_output import LockedOutput

__all__ = ["Writer"]

#: The most bytes that are written under one hold of the output's lock. More would make other
#: processes wait, less would cost more system calls.
BATCH_BYTES: Final = 256 * 1024
#: With this many lines in the queue they are written before the batching pause has ended.
FULL_BATCH_LINES: Final = 2000


class DeferredLine(Protocol):
    """A short line whose text is made by the writing thread."""

    @property
    def level(self) -> str: ...
    def line(self) -> bytes:
        """Return the line. Must not raise."""


class _LevelledLine(NamedTuple):
    """A line whose level is not INFO."""

    text: bytes
    level: str

    def line(self) -> bytes:
        return self.text


#: What the queue holds; `bytes` is a line at INFO.
Entry = bytes | _LevelledLine | DeferredLine


class Writer:
    """
    Writes lines to a file descriptor that other processes write to as well.

    Create it before forking, so that the processes share its knowledge of incomplete lines. A
    forked process starts with an empty queue and a thread of its own. When the process ends, the
    writer is closed.

    Args:
        fd: The file descriptor. It is not duplicated: after a `dup2` onto it, lines go to the new
            file.
        max_lines: The capacity of the queue; further lines are dropped.
        max_bytes: The bytes in the queue for lines longer than `max_bytes / max_lines`. The other
            lines may take as many again.
        batch_seconds: How long a line may wait for others to be written with it.
        on_lines: Called by the writing thread with a level and a number of lines.
        on_drop: Called with a reason (`queue_full`, `write_error`) and a number of lines.
        on_tick: Called about once a second by the writing thread.
        describe_loss: Returns the line that tells how many lines were lost. It is written once
            lines can be written again.
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
        self._start_empty()
        _writers.add(self)

    def _start_empty(self) -> None:
        """Set the queue, locks and thread to their first state; also in a forked child."""
        # Re-entrant: a signal handler may log while the thread that it interrupts is in here.
        self._lock = threading.RLock()
        self._queue: deque[Entry] = deque()
        self._long_bytes = self._busy = self._lost = 0
        self._output_lock = threading.Lock()
        self._asleep = True  # also before the thread exists: the first line then starts it
        self._wake, self._flush_requested = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes, level: str = "INFO") -> None:
        """
        Queue *line*, which ends in a newline. Never blocks and never raises.

        A CRITICAL line is written without the batching pause.
        """
        queue = self._queue
        if len(line) > self._short_bytes or len(queue) >= self._max_lines or self._closed:
            self._write_unusual(line, level)
            return
        # No lock is needed. The thread sets `_asleep`, then looks at the queue; we append to the
        # queue, then look at `_asleep`. So one of the two sees the other.
        queue.append(line if level == "INFO" else _LevelledLine(line, level))
        if self._asleep:
            self._wake_thread()
        if level == "CRITICAL" or len(queue) == FULL_BATCH_LINES:
            self._flush_requested.set()

    def write_deferred(self, entry: DeferredLine) -> None:
        """Queue a line that the writing thread makes. Never blocks and never raises."""
        queue = self._queue
        if (waiting := len(queue)) >= self._max_lines or self._closed:
            self._write_unusual(entry.line(), entry.level)
            return
        queue.append(entry)
        if self._asleep:
            self._wake_thread()
        if waiting == FULL_BATCH_LINES:
            self._flush_requested.set()

    def _write_unusual(self, line: bytes, level: str) -> None:
        """
        Queue *line* under the lock; the way for lines that `write` cannot just append.

        That is a long line, any line when the queue is full (it is dropped and counted), and any
        line after `close` (it is written by the calling thread, if the output takes it at once).
        """
        if self._closed:
            self._write_batch(line, time.monotonic())
            return
        with self._lock:
            size = self._long_bytes + (len(line) if len(line) > self._short_bytes else 0)
            full = size > self._max_bytes or len(self._queue) >= self._max_lines
            if not full:
                self._long_bytes = size
                self._queue.append(line if level == "INFO" else _LevelledLine(line, level))
        self._wake_thread()
        if full:
            self._count_dropped("queue_full", 1)
        elif level == "CRITICAL" or size > BATCH_BYTES:
            self._flush_requested.set()

    def start(self) -> None:
        """Start the writing thread now rather than with the first line."""
        if not self._closed:
            self._wake_thread()

    def flush(self, timeout_seconds: float = 1.0) -> bool:
        """Wait until everything queued is written; return False if that took too long."""
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
        Write what is queued and end the thread; give up after *timeout_seconds*.

        A later line is written if the output takes it at once, and dropped otherwise.
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

    def _wake_thread(self) -> None:
        """Wake the writing thread, or start it if this process has none."""
        with self._lock:
            if self._thread is None:
                self._start_thread()
            elif self._asleep:
                self._asleep = False
                self._wake.set()

    def _start_thread(self) -> None:
        # Set first: a signal handler that logs during the start must not start another thread.
        self._thread = thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending: flush() writes then
            self._thread = None
            return
        _flush_at_end_of_multiprocessing(self)

    def _run(self) -> None:
        """Write the queue in batches until the writer is closed, and tick once a second."""
        wake, flush_requested, last_tick = self._wake, self._flush_requested, -1.0
        while not self._closed:
            if not self._queue:
                self._asleep = True
                if not self._queue:  # read again: a line added before `_asleep` woke nobody
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
        """Write the lines that are queued now; lines that come meanwhile wait for the next call."""
        with self._lock:
            self._busy += 1
        try:
            # Each release of the interpreter lock costs a wait behind the threads that serve
            # requests. So later lines are left for a batch of their own.
            left = len(self._queue)
            while left > 0 and self._queue:
                with self._lock:  # two threads may write: each takes consecutive lines
                    taken, long_bytes = _take_batch(
                        self._queue, self._short_bytes, self._long_bytes
                    )
                    self._long_bytes -= long_bytes
                left -= len(taken)
                batch, levels = _join(taken)
                for level, lines in levels.items():
                    _notify(self.on_lines, level, lines)
                if self._write_batch(batch, deadline) and self._lost:
                    self._report_loss(deadline)
        finally:
            with self._lock:
                self._busy -= 1

    def _write_batch(self, batch: bytes, deadline: float | None) -> bool:
        """
        Write *batch* and return whether all of it was written; what was not is counted as lost.

        Args:
            deadline: On the monotonic clock; None waits for the output without end.
        """
        batch = escape_line_separators(batch)
        timeout = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        written = 0
        # The lock on the file is held by the process: it does not keep its threads apart.
        if self._output_lock.acquire(timeout=timeout):
            try:
                written = self._output.write(batch, deadline)
            finally:
                self._output_lock.release()
        if written < len(batch):
            self._count_dropped("write_error", batch.count(b"\n", written))
        return written == len(batch)

    def _report_loss(self, deadline: float | None) -> None:
        """Write a line that tells how many lines are missing, now that the output works again."""
        with self._lock:
            lost, self._lost = self._lost, 0
        if self.describe_loss is not None:
            self._write_batch(self.describe_loss(lost), deadline)

    def _count_dropped(self, reason: str, lines: int) -> None:
        with self._lock:
            self._lost += lines
        if lines:
            _notify(self.on_drop, reason, lines)


def _take_batch(queue: deque[Entry], short_bytes: int, long_bytes: int) -> tuple[list[Entry], int]:
    """
    Take the next batch from *queue*; return it with the bytes of the long lines in it.

    Args:
        short_bytes: A line is long if it has more bytes than this.
        long_bytes: The bytes of all long lines in the queue.
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
    """Return the bytes of the line of *entry*; 0 for a deferred line, which is short."""
    if isinstance(entry, bytes):
        return len(entry)
    return len(entry.text) if isinstance(entry, _LevelledLine) else 0


def _join(entries: Sequence[Entry]) -> tuple[bytes, Mapping[str, int]]:
    """Return the lines of *entries* joined, and the number of lines of each level."""
    levels = Counter(["INFO" if isinstance(entry, bytes) else entry.level for entry in entries])
    lines = [entry if isinstance(entry, bytes) else entry.line() for entry in entries]
    return b"".join(lines), levels


def _notify(listener: Callable[..., None] | None, *what: object) -> None:
    """Call *listener*, if there is one. Its exceptions cost neither a line nor a request."""
    if listener is not None:
        with contextlib.suppress(Exception):
            listener(*what)


_writers: Final[weakref.WeakSet[Writer]] = weakref.WeakSet()


def _flush_at_end_of_multiprocessing(writer: Writer) -> None:
    """Flush *writer* when a `multiprocessing` child ends; such a child runs no `atexit` hooks."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, writer.flush, exitpriority=0)


def _start_empty_in_child() -> None:
    # What is queued at a fork is written by the parent.
    for writer in list(_writers):
        writer._start_empty()


def _close_at_exit() -> None:
    for writer in list(_writers):
        writer.close()


at_fork("log_writer", after_in_child=_start_empty_in_child)
atexit.register(_close_at_exit)
