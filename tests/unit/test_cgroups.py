"""Control groups of both versions, as kernels and container runtimes lay them out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atom_platform.cgroups import cpu_limit, memory_usages, oom_kills

POD = "kubepods.slice/kubepods-pod1.slice"


def machine(root: Path, files: dict[str, str]) -> Path:
    """Lay out a `proc` and a `sys` under *root*."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def version_2(path: str, **limits: str) -> dict[str, str]:
    """Return the files of a process in *path*; a limit for each group by its depth."""
    parts = path.split("/")[1:] if path != "/" else []
    files = {"proc/self/cgroup": f"0::{path}"}
    for depth, text in limits.items():
        group = "/".join(["sys/fs/cgroup", *parts[: int(depth[1:])]])
        files[f"{group}/cpu.max"] = text
    return files


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        pytest.param(version_2("/", d0="50000 100000"), 0.5, id="a container of its own"),
        pytest.param(version_2("/", d0="max 100000"), None, id="no limit"),
        pytest.param(version_2("/"), None, id="no file"),
        pytest.param(version_2("/a/b", d1="150000 100000", d2="max 100000"), 1.5, id="around it"),
        pytest.param(version_2("/a/b", d1="150000 100000", d2="20000 10000"), 1.5, id="smallest"),
        pytest.param(
            {
                **version_2("/"),
                "proc/self/cgroup": f"0::/{POD}/c1",
                "sys/fs/cgroup/cpu.max": "25000 100000",
            },
            0.25,
            id="the machine's path, the container's files",
        ),
        pytest.param({**version_2("/"), "sys/fs/cgroup/cpu.max": "rubbish"}, None, id="rubbish"),
        pytest.param({}, None, id="no control groups"),
    ],
)
def test_cpu_limit_of_version_2(tmp_path: Path, files: dict[str, str], cpus: float | None) -> None:
    assert cpu_limit(machine(tmp_path, files)) == cpus


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "cpus"), [("75000", 0.75), ("-1", None), ("400000", 4.0)])
def test_cpu_limit_of_version_1(
    tmp_path: Path, controllers: str, quota: str, cpus: float | None
) -> None:
    files = {
        "proc/self/cgroup": f"11:memory:/x\n4:{controllers}:/{POD}\n2:cpuset:/\n0::/",
        f"sys/fs/cgroup/{controllers}/{POD}/cpu.cfs_quota_us": quota,
        f"sys/fs/cgroup/{controllers}/{POD}/cpu.cfs_period_us": "100000",
        f"sys/fs/cgroup/{controllers}/cpu.cfs_quota_us": "-1",
    }

    assert cpu_limit(machine(tmp_path, files)) == cpus


@pytest.mark.parametrize(
    ("membership", "file", "text"),
    [
        (
            "0::/pod/c1\n",
            "sys/fs/cgroup/pod/c1/memory.events",
            "oom 9\noom_kill 3\noom_group_kill 0\n",
        ),
        ("0::/\n", "sys/fs/cgroup/memory.events", "oom_kill 3\n"),
        (
            "4:memory:/c1\n0::/\n",
            "sys/fs/cgroup/memory/c1/memory.oom_control",
            "under_oom 0\noom_kill 3\n",
        ),
        ("4:memory:/outside\n", "sys/fs/cgroup/memory/memory.oom_control", "oom_kill 3\n"),
        ("", "proc/vmstat", "nr_free_pages 7\noom_kill 3\n"),
    ],
)
def test_oom_kills_of_either_version(tmp_path: Path, membership: str, file: str, text: str) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(membership)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)

    assert oom_kills(tmp_path) == 3


def test_oom_kills_is_zero_without_kernel_files(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) == 0


def test_memory_of_a_machine_without_control_groups(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        memory_usages(tmp_path)


def test_this_machine_is_read() -> None:
    limit = cpu_limit()

    assert limit is None or limit > 0
    assert all(usage.used_bytes >= 0 for usage in memory_usages())
    assert oom_kills() >= 0


def test_only_the_standard_library_is_needed() -> None:
    code = (
        "import sys; before = set(sys.modules); import atom_platform.cgroups; "
        "names = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(names - sys.stdlib_module_names)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "{'atom_platform'}"
