"""Somebody's application under somebody's server: any command, on a free port."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import wait_until
from tests.support.service import ROOT, Service

__all__ = ["Adopted", "python_of_others", "serving"]


class Adopted(Service):
    """
    One application.

    Args:
        directory: Where it starts, and leaves things.
        command: What Python runs, with `{port}` for the port.
        python: Whose Python.
    """

    def __init__(
        self,
        directory: Path,
        command: Sequence[str],
        *,
        python: str | Path = sys.executable,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, env={"PYTHONPATH": f"{ROOT}:{directory}", **(env or {})})
        # A MySQL URL is none of ours: an application that has one is monitored all the same.
        self.env["DATABASE_URL"] = "mysql://shop@db.invalid/shop"
        self._command = [str(python), *(part.format(port=self.port) for part in command)]
        self._cwd = directory

    def ready(self) -> dict[str, Any]:
        """Return the checks once it is ready; the first run of one may take a moment."""
        body: dict[str, Any] = {}

        def is_ready() -> bool:
            body.update(self.get("/health/ready", timeout=60).json())
            return bool(body["status"] == "ready")

        wait_until(is_ready, seconds=60)
        return dict(body["checks"])

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines so far that are ours; what the server itself prints may be no JSON."""
        found = []
        for line in list(self.output):
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def events(self) -> list[str]:
        """Return what those lines say, in order."""
        return [line["event"] for line in self.lines()]


@contextlib.contextmanager
def serving(directory: Path, *command: str, **kwargs: Any) -> Iterator[Adopted]:
    """Start an application, and end it and all that it forked afterwards."""
    service = Adopted(directory, command, **kwargs)
    try:
        service.start()
        yield service
    finally:
        service.kill()


def python_of_others() -> Path:
    """
    Return the Python of .venv/adoption: applications that are not ours, and our core requirements.

    Raises:
        pytest.skip.Exception: It was not made, and this is not CI.
        pytest.fail.Exception: It was not made, and this is CI.
    """
    python = ROOT / ".venv" / "adoption" / "bin" / "python"
    if not python.exists():
        reason = "the applications are missing: `make install-adoption`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return python
