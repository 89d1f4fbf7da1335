"""The pipeline of this process, writing into a file that the test reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atom_platform.logs.config import configure_structlog, reset_logging
from atom_platform.logs.writer import Writer


class Log:
    """What was logged so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.writer = Writer(self.fd)

    def configure(self, **options: Any) -> None:
        configure_structlog(writer=self.writer, **options)

    def text(self) -> str:
        assert self.writer.flush(10)
        return self._path.read_text()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def line(self) -> dict[str, Any]:
        (only,) = self.lines()
        return only


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Iterator[Log]:
    """The configured pipeline; afterwards the process logs as it did before."""
    log = Log(tmp_path / "log")
    log.configure()
    yield log
    reset_logging()
    os.close(log.fd)
