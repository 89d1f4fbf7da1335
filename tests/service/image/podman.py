"""Containers of the image, run as the Kubernetes manifests would have them run."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.manifests import rendered, settings_of
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.stalls import scaled

__all__ = ["Container", "container", "engine", "inspect_image", "run_once"]


def engine(*arguments: str, seconds: float = 100) -> subprocess.CompletedProcess[str]:
    """Run podman; its standard error is full of what it misses of a whole system."""
    return subprocess.run(
        ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def inspect_image(image: str) -> Any:
    """Return what podman knows of the image."""
    found = engine("image", "inspect", image)
    assert found.returncode == 0, found.stderr
    (described,) = json.loads(found.stdout)
    return described


class Container:
    """
    One container with everything the manifests ask of a runtime: a read-only root file system, no
    capabilities, no new privileges, the default seccomp profile, its memory and CPU limits.

    Args:
        image: What to run.
        env: Laid over the settings of the production manifests.
        command: Run instead of the image's own.
        options: Further options of `podman run`.
    """

    def __init__(
        self,
        image: str,
        *,
        env: Mapping[str, str],
        command: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.name = f"atom-{uuid.uuid4().hex[:12]}"
        self.port = free_port()
        manifests = rendered("overlays/production")
        settings = {**settings_of(manifests), "PORT": str(self.port), **env}
        self._command = [
            "run",
            "--detach",
            f"--name={self.name}",
            "--network=host",  # that of the tests, which has loopback and nothing else
            "--pull=never",
            "--health-interval=disable",  # on a timer; the tests run it themselves
            *_confinement(manifests.one("Deployment")),
            *(f"--env={name}={value}" for name, value in settings.items()),
            *options,
            image,
            *command,
        ]

    def start(self) -> None:
        started = engine(*self._command)
        assert started.returncode == 0, started.stderr

    def wait_for(self, path: str, status: int, *, seconds: float = 60) -> None:
        """Wait until *path* answers with *status*."""

        def answers() -> bool:
            assert self.state()["Running"], self.output()
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get(path)[0] == status
            return False

        wait_until(answers, seconds=seconds, every=0.1)

    def get(self, path: str) -> tuple[int, bytes]:
        return self.request("GET", path)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Send one request from outside the container, and return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=scaled(20))
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, path, body and json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def execute(self, *command: str, detach: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the kubelet and ECS do."""
        return engine("exec", *(["--detach"] if detach else []), self.name, *command)

    def signal(self, name: str) -> None:
        sent = engine("kill", f"--signal={name}", self.name)
        assert sent.returncode == 0, sent.stderr

    def wait(self, seconds: float) -> int:
        """Wait for its end, and return its exit status."""
        ended = engine("wait", self.name, seconds=seconds)
        assert ended.returncode == 0, ended.stderr
        return int(ended.stdout)

    def state(self) -> Any:
        found = engine("container", "inspect", self.name)
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)[0]["State"]

    def output(self) -> str:
        """Return what it has printed so far, both streams together."""
        logs = engine("logs", self.name)
        return logs.stdout + logs.stderr

    def remove(self) -> None:
        engine("rm", "--force", "--time=0", self.name)


def _confinement(deployment: Any) -> list[str]:
    """Return podman's words for what the Deployment says of its container."""
    (described,) = deployment["spec"]["template"]["spec"]["containers"]
    security, limits = described["securityContext"], described["resources"]["limits"]
    volumes = {
        each["name"]: each["emptyDir"] for each in deployment["spec"]["template"]["spec"]["volumes"]
    }
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    return [
        "--read-only",
        "--read-only-tmpfs=false",  # podman's own idea, which would give it /run and /tmp
        "--security-opt=no-new-privileges",
        *(f"--cap-drop={each}" for each in security["capabilities"]["drop"]),
        f"--memory={limits['memory'].removesuffix('i').lower()}",
        f"--cpus={int(limits['cpu'].removesuffix('m')) / 1000}",
        *(
            f"--tmpfs={mount['mountPath']}:mode=1777,size={volumes[mount['name']]['sizeLimit'][:-1]}"
            for mount in described["volumeMounts"]
        ),
        *_ulimits(),
    ]


def _ulimits() -> list[str]:
    """Ask for no more than we have: podman's own limits are not allowed everywhere."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=4096:4096"]


@contextlib.contextmanager
def container(image: str, **kwargs: Any) -> Iterator[Container]:
    """Start a container, and remove it afterwards."""
    made = Container(image, **kwargs)
    try:
        made.start()
        yield made
    finally:
        made.remove()


def run_once(image: str, *command: str, env: Mapping[str, str]) -> tuple[int, str]:
    """Run *command* in a container of its own; return its exit status and what it printed."""
    with container(image, env=env, command=command) as made:
        return made.wait(60), made.output()
