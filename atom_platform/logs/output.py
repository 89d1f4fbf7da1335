"""What a line is made of, and where every finished one of this process goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from atom_platform.logs.encode import encode_line
from atom_platform.logs.writer import Writer
from atom_platform.timestamps import rfc3339
from atom_platform.trace_context import active_span

__all__ = ["OUTPUT", "RESERVED", "Output", "build_line"]

#: The keys that begin every line; a field of the same name gets an underscore behind it.
RESERVED: Final = frozenset({"timestamp", "level", "logger", "event"})

_SEVERE: Final = frozenset({"ERROR", "CRITICAL"})


def build_line(
    created: float, level: str, logger: str, event: str, *groups: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Return a line: the four keys, then the *groups* of fields in order; of two the later one counts.
    """
    line: dict[str, Any] = {
        "timestamp": rfc3339(created),
        "level": level,
        "logger": logger,
        "event": event,
    }
    for fields in groups:
        if fields:
            if not RESERVED.isdisjoint(fields):
                fields = {f"{key}_" if key in RESERVED else key: fields[key] for key in fields}
            line.update(fields)
    span = active_span()
    if span is not None:
        line["trace_id"], line["span_id"] = span.trace_id, span.span_id
    return line


class Output:
    """
    The end of the pipeline: a renderer and a writer.

    There is one per process (`OUTPUT`), because there is one standard output. Nothing in it raises.

    Attributes:
        on_error: Also told of each line at ERROR or above, unredacted; must not raise.
    """

    __slots__ = ("on_error", "render", "writer")

    def __init__(self) -> None:
        self.on_error: Callable[[Mapping[str, Any]], None] | None = None
        self.writer: Writer | None = None
        self.render: Callable[[dict[str, Any]], bytes] = encode_line

    def emit(self, level: str, line: dict[str, Any]) -> None:
        """Write *line*, whose level is *level*; before the configuration, do nothing."""
        if self.on_error is not None and level in _SEVERE:
            self.on_error(line)
        if self.writer is not None:
            self.writer.write(self.render(line), level)

    def describe_loss(self, lines: int) -> bytes:
        """Return the line that says that *lines* lines are missing before it."""
        return self.render(
            build_line(
                time.time(),
                "WARNING",
                "atom_platform.logs",
                "log_lines_dropped",
                {"lines": lines, "pid": os.getpid()},
            )
        )


OUTPUT: Final = Output()
