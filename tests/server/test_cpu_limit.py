"""The CPU limit of a container, read from control groups as kernels and runtimes lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from atom_platform.server.cpu_limit import cpu_limit, default_workers

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
def test_version_2(tmp_path: Path, files: dict[str, str], cpus: float | None) -> None:
    assert cpu_limit(machine(tmp_path, files)) == cpus


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "cpus"), [("75000", 0.75), ("-1", None), ("400000", 4.0)])
def test_version_1(tmp_path: Path, controllers: str, quota: str, cpus: float | None) -> None:
    files = {
        "proc/self/cgroup": f"11:memory:/x\n4:{controllers}:/{POD}\n2:cpuset:/\n0::/",
        f"sys/fs/cgroup/{controllers}/{POD}/cpu.cfs_quota_us": quota,
        f"sys/fs/cgroup/{controllers}/{POD}/cpu.cfs_period_us": "100000",
        f"sys/fs/cgroup/{controllers}/cpu.cfs_quota_us": "-1",
    }

    assert cpu_limit(machine(tmp_path, files)) == cpus


@pytest.mark.parametrize(
    ("limit", "workers"), [(None, 2), (0.1, 1), (0.99, 1), (1.0, 2), (2.0, 2), (64.0, 2)]
)
def test_less_than_a_cpu_is_for_one_worker(limit: float | None, workers: int) -> None:
    assert default_workers(limit) == workers


def test_this_machine_can_be_asked() -> None:
    limit = cpu_limit()

    assert limit is None or limit > 0
