"""check_disk says what readiness will say, and before it does."""

from __future__ import annotations

import shutil
from pathlib import Path

from atom_platform.settings import Settings
from atom_platform.tools.doctor.disk import check_disk

GB = 1024**3


def test_enough(tmp_path: Path) -> None:
    (finding,) = check_disk(Settings(disk_path=tmp_path, disk_min_free_gb=0))

    assert finding.severity == "ok"


def test_below_the_minimum(tmp_path: Path) -> None:
    (finding,) = check_disk(Settings(disk_path=tmp_path, disk_min_free_gb=1e9))

    assert (finding.severity, finding.code) == ("trouble", "disk-full")
    assert "GB free on" in finding.what


def test_close_to_the_minimum(tmp_path: Path) -> None:
    free_gb = shutil.disk_usage(tmp_path).free / GB

    (finding,) = check_disk(Settings(disk_path=tmp_path, disk_min_free_gb=free_gb * 0.8))

    assert (finding.severity, finding.code) == ("warning", "disk-filling")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    (finding,) = check_disk(Settings(disk_path=tmp_path / "gone"))

    assert (finding.severity, finding.code) == ("trouble", "disk-unreadable")
    assert "ATOM_DISK_PATH" in finding.do
