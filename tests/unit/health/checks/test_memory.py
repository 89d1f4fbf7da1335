"""memory_check reads control groups of both versions as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from atom_platform.health.checks.memory import memory_check

MB = 1024**2


def group(path: Path, **files: object) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (path / name.replace("__", ".")).write_text(f"{value}\n")


@pytest.fixture(name="v2")
def _v2(tmp_path: Path) -> Path:
    """The files of a process in the group /pod/box of version 2."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/pod/box\n")
    group(tmp_path / "sys/fs/cgroup")
    group(
        tmp_path / "sys/fs/cgroup/pod/box",
        memory__max=1000 * MB,
        memory__current=900 * MB,
        memory__stat=f"anon {500 * MB}\ninactive_file {200 * MB}\nactive_file {MB}",
    )
    return tmp_path


def result_of(root: Path, **kwargs: float) -> tuple[bool, str]:
    result = memory_check(root=root, **kwargs)()
    return result.healthy, result.message


def test_pages_that_the_kernel_can_drop_are_free(v2: Path) -> None:
    assert result_of(v2) == (True, "70% of the memory limit used")


@pytest.mark.parametrize(("max_share", "healthy"), [(0.71, True), (0.7, False), (0.5, False)])
def test_the_share_is_exclusive(v2: Path, max_share: float, healthy: bool) -> None:
    assert result_of(v2, max_share=max_share)[0] is healthy


def test_the_default_share_is_95_percent(v2: Path) -> None:
    group(v2 / "sys/fs/cgroup/pod/box", memory__current=(200 + 949) * MB)
    almost = result_of(v2)[0]
    group(v2 / "sys/fs/cgroup/pod/box", memory__current=(200 + 950) * MB)

    assert (almost, result_of(v2)[0]) == (True, False)


def test_a_tighter_group_around_it_counts(v2: Path) -> None:
    group(
        v2 / "sys/fs/cgroup/pod",
        memory__max=2000 * MB,
        memory__current=1960 * MB,
        memory__stat="inactive_file 0",
    )

    assert result_of(v2) == (False, "98% of the memory limit used")


def test_without_a_limit_it_is_healthy(v2: Path) -> None:
    group(v2 / "sys/fs/cgroup/pod/box", memory__max="max")

    assert result_of(v2) == (True, "No memory limit")


def test_in_a_container_only_the_root_is_mounted(v2: Path) -> None:
    """The name is the host's, and there is no such directory."""
    (v2 / "proc/self/cgroup").write_text("0::/kubepods/pod1/container2\n")
    group(
        v2 / "sys/fs/cgroup",
        memory__max=100 * MB,
        memory__current=97 * MB,
        memory__stat="inactive_file 0",
    )

    assert result_of(v2) == (False, "97% of the memory limit used")


def test_version_1_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("5:cpu,cpuacct:/box\n4:memory:/box\n0::/box\n")
    group(
        tmp_path / "sys/fs/cgroup/memory/box",
        memory__limit_in_bytes=1000 * MB,
        memory__usage_in_bytes=990 * MB,
        memory__stat=f"inactive_file 7\ntotal_inactive_file {10 * MB}",
    )
    group(tmp_path / "sys/fs/cgroup/memory", memory__limit_in_bytes=9223372036854771712)

    assert result_of(tmp_path) == (False, "98% of the memory limit used")


def test_reads_what_this_machine_has() -> None:
    """The real kernel of this machine."""
    result = memory_check(max_share=1)()

    assert result.message == "No memory limit" or (result.details["limit_gb"] or 0) > 0


@pytest.mark.parametrize("max_share", [0, -1, 1.01, float("nan")])
def test_a_share_out_of_range_is_rejected(max_share: float) -> None:
    with pytest.raises(ValueError, match="max_share"):
        memory_check(max_share=max_share)
