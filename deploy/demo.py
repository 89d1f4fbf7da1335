"""
The service, Prometheus and Alertmanager with the delivered rules, and traffic: `make demo`.

Everything listens on loopback and ends with Ctrl-C. Prometheus and Alertmanager are the system's:
`apt-get install prometheus prometheus-alertmanager`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import yaml

DEPLOY: Final = Path(__file__).resolve().parent
ROOT: Final = DEPLOY.parent


def main() -> int:
    """Start the parts, print where they are, and wait for the end of the traffic or Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    seconds = os.environ.get("DEMO_SECONDS", "600")
    service, prometheus, alertmanager = (_free_port() for _ in range(3))
    parts: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="atom-demo-") as name:
        directory = Path(name)
        try:
            log = (directory / "service.log").open("wb")
            parts.append(_service(service, directory, log))
            _wait(f"http://127.0.0.1:{service}/health/startup")
            print(f"service       http://127.0.0.1:{service}/api/docs")
            print(f"its status    http://127.0.0.1:{service}/health/")
            print(f"its metrics   http://127.0.0.1:{service}/health/metrics")
            print(f"its log       {log.name}")
            if program := _system("prometheus-alertmanager"):
                parts.append(_alertmanager(program, alertmanager, directory))
                print(f"Alertmanager  http://127.0.0.1:{alertmanager}")
            if program := _system("prometheus"):
                parts.append(_prometheus(program, prometheus, service, alertmanager, directory))
                print(f"Prometheus    http://127.0.0.1:{prometheus}/alerts")
            sys.stdout.flush()
            load = [sys.executable, "-m", "atom_platform", "demo-load", "--seconds", seconds]
            parts.append(_start([*load, "--port", str(service)], directory, log=sys.stdout))
            return parts[-1].wait()
        except KeyboardInterrupt:
            return 0
        finally:
            for part in reversed(parts):
                part.terminate()
            for part in parts:
                part.wait(40)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _service(port: int, directory: Path, log: Any) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "PORT": str(port),
        "ATOM_STATUS_PAGE": "on",
        "DATABASE_URL": os.environ.get("DATABASE_URL") or f"sqlite:///{directory}/atom.db",
    }
    return _start([sys.executable, "-m", "gunicorn", "wsgi:app"], directory, log=log, env=env)


def _prometheus(
    program: str, port: int, service: int, alertmanager: int, directory: Path
) -> subprocess.Popen[bytes]:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    config["global"]["scrape_interval"] = config["global"]["evaluation_interval"] = "5s"
    config["global"]["scrape_timeout"] = "4s"
    config["rule_files"] = [str(DEPLOY / "prometheus/rules/*.yaml")]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [
        f"127.0.0.1:{alertmanager}"
    ]
    places = {"atom-platform": service, "prometheus": port, "alertmanager": alertmanager}
    for job in config["scrape_configs"]:
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{places[job['job_name']]}"]
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return _start(
        [
            program,
            f"--config.file={path}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
        ],
        directory,
    )


def _alertmanager(program: str, port: int, directory: Path) -> subprocess.Popen[bytes]:
    return _start(
        [
            program,
            f"--config.file={DEPLOY / 'alertmanager/alertmanager.yml'}",
            f"--storage.path={directory / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        directory,
    )


def _start(
    command: Sequence[str],
    directory: Path,
    *,
    log: Any = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    if log is None:
        log = (directory / f"{Path(command[0]).name}.log").open("wb")
    return subprocess.Popen(  # noqa: S603 — commands of this file
        command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT
    )


def _system(program: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        print(f"{program} is missing: apt-get install {program}")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(url: str, *, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 — loopback, as above
                return
        except (OSError, urllib.error.URLError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
