"""Directory check: a file can be created there, written, synced to the disk and removed."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import Final

from atom_platform.health.check import Check, CheckFailed, CheckResult

__all__ = ["writable_check"]

SENTENCES: Final = {
    errno.ENOENT: ("Directory missing", "missing"),
    errno.ENOTDIR: ("Directory missing", "missing"),
    errno.EROFS: ("Directory read-only", "read_only"),
    errno.EACCES: ("Directory not writable", "not_writable"),
    errno.EPERM: ("Directory not writable", "not_writable"),
    errno.ENOSPC: ("Directory full", "disk_full"),
    errno.EDQUOT: ("Directory full", "disk_full"),
    errno.EIO: ("Directory damaged", "io_error"),
    errno.ESTALE: ("Directory lost by its server", "stale_mount"),
}
#: One block, because a full file system accepts an empty file.
PROBE: Final = b"\0" * 4096


def writable_check(directory: str | os.PathLike[str]) -> Check:
    """
    Return a check that is healthy while files can be written in *directory*.

    Where the file system allows it, the file has no name and no other process sees it.

    Raises:
        CheckFailed: From the returned check, when nothing can be written.
    """

    def check() -> CheckResult:
        try:
            with tempfile.TemporaryFile(dir=directory, prefix=".atom-check-", buffering=0) as file:
                file.write(PROBE)
                os.fsync(file.fileno())  # NFS reports a full disk only here
        except OSError as error:
            sentence, code = SENTENCES.get(
                error.errno or 0, ("Directory not writable", "not_writable")
            )
            raise CheckFailed(sentence, code=code) from error
        return CheckResult(healthy=True, message="Directory writable")

    return check
