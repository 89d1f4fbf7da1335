"""disk_check compares the free space with the minimum, to the byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atom_platform.health.checks.disk import disk_check

GB = 1024**3  # spelled out: a test that imports the constant cannot catch it changing


@pytest.mark.parametrize(
    ("free", "healthy"),
    [
        pytest.param(GB, True, id="exactly-the-minimum-is-enough"),
        pytest.param(GB - 1, False, id="one-byte-short-is-not"),
        pytest.param(0, False, id="full"),
    ],
)
def test_one_gb_is_the_inclusive_minimum(free: int, healthy: bool) -> None:
    check = disk_check(free_bytes=lambda path: free)

    assert check().healthy is healthy


def test_the_minimum_is_a_setting() -> None:
    assert disk_check(min_free_gb=0.5, free_bytes=lambda path: GB // 2)().healthy
    assert not disk_check(min_free_gb=2, free_bytes=lambda path: GB)().healthy


def test_reports_free_space_in_gb() -> None:
    """The message and the detail have the same number."""
    check = disk_check(free_bytes=lambda path: int(10.5 * GB))

    assert check().as_dict() == {"healthy": True, "message": "10.50GB free", "free_gb": 10.5}


def test_measures_the_space_of_an_unprivileged_process(tmp_path: Path) -> None:
    """The real kernel: the space without the blocks reserved for root."""
    stat = os.statvfs(tmp_path)

    reported = disk_check(tmp_path)().details["free_gb"]

    assert reported == pytest.approx(stat.f_bavail * stat.f_frsize / GB, abs=0.5)


def test_unreadable_path_raises() -> None:
    """The runner reports errors; the check does not catch them."""
    with pytest.raises(OSError, match="no/such/dir"):
        disk_check("/no/such/dir")()
