"""check_metrics and check_disk report the state of directories, and change nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atom_platform.settings import Settings
from atom_platform.tools.doctor import directories
from atom_platform.tools.doctor.directories import check_disk, check_metrics
from tests.support.doctor_parts import codes, one

COUNTING = """
from prometheus_client import Counter
counter = Counter("jobs_total", "Jobs.", ["name"])
for number in range(20):
    counter.labels(f"job-{number}").inc()
"""


def count_into(directory: Path) -> None:
    """Let a plain prometheus_client process count there and end."""
    subprocess.run(
        [sys.executable, "-c", COUNTING],
        check=True,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
    )


def test_an_unset_directory_is_ok() -> None:
    findings = list(check_metrics(Settings(port=1)))

    assert codes(findings, "warning", "error") == set()
    assert one(findings, "library-installed").what.startswith("prometheus_client ")


def test_samples_are_counted(tmp_path: Path) -> None:
    count_into(tmp_path)

    findings = check_metrics(Settings(metrics_directory=tmp_path))

    # A counter's child has two cells: its value and the moment it was created.
    assert one(findings, "samples").what == "20 samples in 1 file"


def test_many_samples_name_their_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count_into(tmp_path)
    monkeypatch.setattr(directories, "MANY_SAMPLES", 19)

    finding = one(check_metrics(Settings(metrics_directory=tmp_path)), "samples-many")

    assert finding.severity == "warning"
    assert "jobs" in finding.what


def test_files_of_ended_processes_are_reported(tmp_path: Path) -> None:
    count_into(tmp_path)

    finding = one(check_metrics(Settings(metrics_directory=tmp_path)), "files-stale")

    assert "counter_" in finding.what


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff" * 64, id="garbage"),
        pytest.param((4096).to_bytes(4, "little") + bytes(60), id="cut"),
    ],
)
def test_unreadable_files_are_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "counter_slot0.db").write_bytes(content)
    count_into(tmp_path)

    findings = list(check_metrics(Settings(metrics_directory=tmp_path)))

    assert "counter_slot0.db" in one(findings, "files-unreadable").what
    assert one(findings, "samples").what == "20 samples in 1 file"


def test_a_new_file_is_not_reported(tmp_path: Path) -> None:
    """prometheus_client sizes a file first, and writes into it later."""
    (tmp_path / f"counter_{os.getpid()}.db").write_bytes(bytes(1024))

    assert codes(check_metrics(Settings(metrics_directory=tmp_path))) == set()


def test_other_files_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("not metrics")

    assert codes(check_metrics(Settings(metrics_directory=tmp_path))) == set()


def test_nothing_is_written(tmp_path: Path) -> None:
    """A running service may use the directory: not even a lock file may appear."""
    count_into(tmp_path)
    before = {
        path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.iterdir()
    }

    list(check_metrics(Settings(metrics_directory=tmp_path)))

    after = {
        path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.iterdir()
    }
    assert after == before


def test_a_missing_directory_is_a_note(tmp_path: Path) -> None:
    findings = check_metrics(Settings(metrics_directory=tmp_path / "new" / "deep"))

    assert codes(findings) == {"directory-new"}
    assert not (tmp_path / "new").exists()


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert codes(check_metrics(Settings(metrics_directory=tmp_path / "file")), "error") == {
        "directory-unusable"
    }


def test_a_full_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "LEAST_FREE_BYTES", 2**62)

    assert codes(check_metrics(Settings(metrics_directory=tmp_path)), "error") == {"directory-full"}


def test_enough_disk_space_is_ok(tmp_path: Path) -> None:
    (finding,) = check_disk(Settings(disk_path=tmp_path, disk_min_free_gb=0))

    assert finding.severity == "ok"


def test_disk_space_below_the_minimum_is_an_error(tmp_path: Path) -> None:
    (finding,) = check_disk(Settings(disk_path=tmp_path, disk_min_free_gb=1e9))

    assert (finding.severity, finding.code) == ("error", "disk-full")
    assert "GB free on" in finding.what


def test_disk_space_close_to_the_minimum_is_a_warning(tmp_path: Path) -> None:
    free_gb = shutil.disk_usage(tmp_path).free / 1024**3

    (finding,) = check_disk(Settings(disk_path=tmp_path, disk_min_free_gb=free_gb * 0.8))

    assert (finding.severity, finding.code) == ("warning", "disk-filling")


def test_a_missing_disk_path_is_an_error(tmp_path: Path) -> None:
    (finding,) = check_disk(Settings(disk_path=tmp_path / "gone"))

    assert (finding.severity, finding.code) == ("error", "disk-unreadable")
    assert "ATOM_DISK_PATH" in finding.do
