"""A service that counts on file systems of a few KB."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.service import Service

__all__ = ["SmallDisk", "on_small_disk"]

#: Kept open for as long as it is full; a name that the service does not look at.
FILLING = "filling"


class SmallDisk(Service):
    """
    Runs in a mount namespace of its own, where *metrics* and *elsewhere* are small.

    Args:
        metrics: The metrics directory, 256 KB.
        elsewhere: Where temporary files go; 8 KB or 32 MB, as *room* says.
    """

    def __init__(self, directory: Path, *, room: bool) -> None:
        self.metrics, elsewhere = directory / "metrics", directory / "elsewhere"
        self.metrics.mkdir()
        elsewhere.mkdir()
        super().__init__(
            directory,
            env={
                "PROMETHEUS_MULTIPROC_DIR": str(self.metrics),
                "TMPDIR": str(elsewhere),
                "WEB_CONCURRENCY": "2",
            },
        )
        mounts = "".join(
            f"mount -t tmpfs -o size={size} tmpfs {path} && "
            for path, size in (
                (self.metrics, "256k"),
                (elsewhere, "32m" if room else "8k"),
                ("/dev/shm", "8k"),
            )
        )
        # The shell becomes gunicorn: the arbiter has the pid that was started.
        self._command = ["unshare", "-m", "sh", "-c", mounts + 'exec "$0" "$@"', *self._command]

    def fill(self) -> None:
        """Leave no byte free in the metrics directory."""
        inside = Path(f"/proc/{self.arbiter}/root{self.metrics}") / FILLING
        fd = os.open(inside, os.O_WRONLY | os.O_CREAT)
        try:
            for size in (4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(fd, bytes(size))
        finally:
            os.close(fd)

    def empty(self) -> None:
        """Give the room back."""
        (Path(f"/proc/{self.arbiter}/root{self.metrics}") / FILLING).unlink()


@contextmanager
def on_small_disk(directory: Path, *, room: bool) -> Iterator[SmallDisk]:
    """Start such a service, and end it; skips where file systems may not be mounted."""
    service = SmallDisk(directory, room=room)
    try:
        try:
            service.start()
        except RuntimeError as error:
            refused = any(text in str(error) for text in ("superuser", "unshare", "mount:"))
            if refused and "CI" not in os.environ:
                pytest.skip("mounting a file system needs more rights than this user has")
            raise
        yield service
    finally:
        service.kill()
