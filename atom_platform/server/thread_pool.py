"""
A pool of threads that a process may leave behind when it exits.

Not `concurrent.futures`: it joins its threads at exit, so a worker told to stop at once would wait
for its slowest request, and a future for each request costs more than the hand-over itself.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["ThreadPool"]

log = logging.getLogger("atom_platform.server")

Task = tuple[Callable[..., Any], tuple[Any, ...]]


class ThreadPool:
    """
    At most *size* daemon threads, started one by one as work arrives.

    Has the two methods that gunicorn calls on what `get_thread_pool` returns.
    """

    def __init__(self, size: int, *, name: str) -> None:
        self._size = size
        self._name = name
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._started = 0
        self._pending = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        """
        Call *function* in a thread. What it raises is logged, what it returns is lost.

        Raises:
            RuntimeError: No thread can be started, and none runs.
        """
        with self._lock:
            self._pending += 1
            starts = self._pending > self._started and self._started < self._size
            self._started += starts
        if starts:
            try:
                threading.Thread(
                    target=self._work, name=f"{self._name}-{self._started}", daemon=True
                ).start()
            except RuntimeError:
                with self._lock:
                    self._started -= 1
                    if not self._started:
                        self._pending -= 1
                        raise
        self._tasks.put((function, args))

    def shutdown(self, wait: bool = False) -> None:
        """End the idle threads now and the others after their task; returns at once."""
        for _ in range(self._started):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            function, args = task
            try:
                function(*args)
            except BaseException:  # a view may call sys.exit: that ends the request, not the thread
                log.exception("request_thread_failed")
            finally:
                with self._lock:
                    self._pending -= 1
                del task, function, args  # an idle thread must keep no connection open
