"""
The cost of a log line in the thread that logs it, ours beside the usual stacks.

    python -m benchmarks.log_cost

Every contender writes the same fields to the same kind of output, a pipe that is read. Contenders
take turns in small portions, so that a noisy machine is noisy for all of them.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

import orjson
import structlog

from atom_platform.extension.request_record import RequestRecord
from atom_platform.logs import RequestContext, configure_structlog, get_logger
from atom_platform.logs.access_log import AccessLog
from atom_platform.logs.config import reset_logging
from atom_platform.logs.context import RequestScope
from atom_platform.logs.writer import Writer

PORTION = 200
ROUNDS = 150
FIELDS: dict[str, Any] = {
    "agent_id": "agent-123",
    "steps": 3,
    "duration_ms": 12.5,
    "status": "success",
}

Contender = Callable[[], None]


class JsonFormatter(logging.Formatter):
    """A common hand-written JSON formatter."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "timestamp": self.formatTime(record),
                "level": record.levelname,
                "logger": record.name,
                "event": record.getMessage(),
                **getattr(record, "fields", {}),
            },
            default=repr,
        )


def plain_logger(name: str, formatter: logging.Formatter, stream: TextIO) -> logging.Logger:
    logger = logging.getLogger(name)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


def stdlib(stream: TextIO) -> Contender:
    logger = plain_logger("bench.stdlib", JsonFormatter(), stream)
    extra = {"fields": {"request_id": "req-456", **FIELDS}}
    return lambda: logger.info("agent_finished", extra=extra)


def textbook_structlog(stream: TextIO) -> Contender:
    """structlog through the standard library, as its documentation sets it up for production."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    logger = structlog.wrap_logger(
        plain_logger("bench.textbook", formatter, stream),
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return in_context(lambda: logger.info("agent_finished", **FIELDS))


def fast_structlog(stream: TextIO) -> Contender:
    """structlog's own fast set-up: no standard library, orjson, bytes."""
    logger = structlog.wrap_logger(
        structlog.BytesLogger(stream.buffer),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind(logger="bench.fast")
    return in_context(lambda: logger.info("agent_finished", **FIELDS))


def in_context(call: Contender) -> Contender:
    def bound() -> None:
        with structlog.contextvars.bound_contextvars(request_id="req-456"):
            for _ in range(10):
                call()

    return bound


def ours(stream: TextIO) -> Contender:
    logger = get_logger("bench.ours")

    def bound() -> None:
        with RequestContext(request_id="req-456"):
            for _ in range(10):
                logger.info("agent_finished", **FIELDS)

    return bound


def ours_stdlib(stream: TextIO) -> Contender:
    logger = logging.getLogger("bench.ours.stdlib")
    return lambda: logger.info("agent_finished", extra=FIELDS)


def ours_access(stream: TextIO) -> Contender:
    access, exchange = AccessLog(), RequestScope()
    access.begin(exchange, {})

    def line() -> None:
        # The record is a part of what the line costs.
        access.write(
            exchange,
            RequestRecord(
                "GET",
                "/api/v1/agents/a",
                "/api/v1/agents/<agent_id>",
                200,
                0.0042,
                312,
                "::1",
                exchange.request_id,
            ),
        )

    return line


CONTENDERS: dict[str, tuple[Callable[[TextIO], Contender], int]] = {
    "stdlib logging + JSON formatter": (stdlib, 1),
    "structlog, textbook (through stdlib)": (textbook_structlog, 10),
    "structlog, fast (BytesLogger + orjson)": (fast_structlog, 10),
    "ours, get_logger": (ours, 10),
    "ours, stdlib logger": (ours_stdlib, 1),
    "ours, access line": (ours_access, 1),
}


def drain(fd: int) -> None:
    while os.read(fd, 1 << 20):
        pass


def main() -> None:
    reading, writing = os.pipe()
    threading.Thread(target=drain, args=(reading,), daemon=True).start()
    stream = os.fdopen(writing, "w")
    writer = Writer(os.dup(writing), max_lines=1_000_000, max_bytes=1 << 30)
    configure_structlog(writer=writer)
    calls = {name: (make(stream), lines) for name, (make, lines) in CONTENDERS.items()}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, (call, lines) in calls.items():
            times = PORTION // lines
            before = time.thread_time_ns()
            for _ in range(times):
                call()
            taken[name].append((time.thread_time_ns() - before) / 1000 / (times * lines))
            writer.flush(10)
    reset_logging()
    print(f"{'µs of the logging thread per line':42} {'least':>7} {'median':>7} {'9 in 10':>8}")
    for name, values in taken.items():
        values.sort()
        print(
            f"{name:42} {values[0]:7.2f} {statistics.median(values):7.2f}"
            f" {values[len(values) * 9 // 10]:8.2f}"
        )


if __name__ == "__main__":
    main()
