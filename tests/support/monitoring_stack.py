"""
Prometheus, Alertmanager and a webhook on loopback: the delivered configuration in quick motion.

What `deploy/` holds is what runs: the rules, the scrape configuration, the routes and inhibitions.
Only the addresses change, and time: every duration is divided by `SPEED`, so that `for: 5m` takes
eight seconds.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.sources import DEPLOY
from tests.support.stalls import scaled

__all__ = ["SPEED", "Stack", "quick", "running_stack"]

SPEED: Final = 40
SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION: Final = r"(\d+)(ms|s|m|h|d)"


def shorter(duration: str) -> str:
    """Return *duration* divided by SPEED."""
    match = re.fullmatch(DURATION, duration)
    assert match is not None, duration
    return f"{round(int(match[1]) * SECONDS[match[2]] * 1000 / SPEED)}ms"


def quick(expr: str) -> str:
    """Return *expr* with windows, steps and offsets divided by SPEED; names stay as they are."""
    return re.sub(
        rf"(\[|:|offset ){DURATION}(?=[\]:]|\b)",
        lambda match: match[1] + shorter(match[2] + match[3]),
        expr,
    )


class Stack:
    """
    The monitoring of the services at *targets* (`host:port`).

    Attributes:
        received: What the webhook printed, one dictionary an alert.
    """

    def __init__(self, directory: Path, targets: Sequence[str]) -> None:
        self.received: list[dict[str, Any]] = []
        self._directory = directory
        self._targets = list(targets)
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []

    def start(self) -> None:
        """Start all three, Prometheus only if there is something to scrape, and wait for them."""
        webhook = self._webhook()
        self.alertmanager = f"127.0.0.1:{free_port()}"
        self._alertmanager(webhook)
        if self._targets:
            self.prometheus = f"127.0.0.1:{free_port()}"
            self._prometheus()
            wait_until(lambda: self._answers(self.prometheus, "/-/ready"), seconds=40)
        wait_until(lambda: self._answers(self.alertmanager, "/-/ready"), seconds=40)

    def stop(self) -> None:
        """End all three, the last started first."""
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(scaled(15))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(scaled(10))
            if process.stdout:
                process.stdout.close()
        for reader in self._readers:
            reader.join(scaled(10))

    def alerts(self) -> list[dict[str, Any]]:
        """Return what Prometheus holds for pending or firing."""
        found: list[dict[str, Any]] = self._ask(self.prometheus, "/api/v1/alerts")["data"]["alerts"]
        return found

    def held(self) -> list[dict[str, Any]]:
        """Return what Alertmanager knows, inhibited alerts included."""
        found: list[dict[str, Any]] = self._ask(self.alertmanager, "/api/v2/alerts")
        return found

    def query(self, path: str, **parameters: Any) -> Any:
        """Ask Prometheus's API, and return the data of its answer."""
        answer = self._ask(
            self.prometheus, f"/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        )
        assert answer["status"] == "success", answer
        return answer["data"]

    def tell_alertmanager(self, *alerts: dict[str, Any]) -> None:
        """Post alerts as Prometheus would."""
        request = urllib.request.Request(
            f"http://{self.alertmanager}/api/v2/alerts",
            data=json.dumps(alerts).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=scaled(10)) as answer:
            assert answer.status == 200

    def _webhook(self) -> str:
        process = self._spawn(sys.executable, "-u", str(DEPLOY / "alertmanager/webhook.py"), "0")
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["listening"]
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        self._readers.append(reader)
        return f"127.0.0.1:{port}"

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.received.append(json.loads(line))

    def _alertmanager(self, webhook: str) -> None:
        text = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
        text = text.replace("webhook:8080", webhook)
        text = re.sub(
            rf"((?:group_wait|group_interval|repeat_interval): )({DURATION})",
            # An interval of zero is rejected; a group may wait for 0 s.
            lambda match: match[1] + (shorter(match[2]) if not match[2].startswith("0") else "0s"),
            text,
        )
        path = self._directory / "alertmanager.yml"
        path.write_text(text)
        self._spawn(
            needs("prometheus-alertmanager", package="prometheus-alertmanager"),
            f"--config.file={path}",
            f"--storage.path={self._directory / 'alertmanager'}",
            f"--web.listen-address={self.alertmanager}",
            "--cluster.listen-address=",
            log="alertmanager.log",
        )

    def _prometheus(self) -> None:
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        for name in ("scrape_interval", "evaluation_interval"):
            config["global"][name] = "1s"
        config["global"]["scrape_timeout"] = "1s"
        config["rule_files"] = [str(self._directory / "rules/*.yaml")]
        alertmanagers = config["alerting"]["alertmanagers"][0]["static_configs"][0]
        alertmanagers["targets"] = [self.alertmanager]
        jobs = {job["job_name"]: job["static_configs"][0] for job in config["scrape_configs"]}
        jobs["atom-platform"]["targets"] = self._targets
        jobs["prometheus"]["targets"] = [self.prometheus]
        jobs["alertmanager"]["targets"] = [self.alertmanager]
        path = self._directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self._write_rules()
        self._spawn(
            needs("prometheus", package="prometheus"),
            f"--config.file={path}",
            f"--storage.tsdb.path={self._directory / 'prometheus'}",
            f"--web.listen-address={self.prometheus}",
            # Its defaults, in quick motion: what a query still sees, and how often it tells again.
            f"--query.lookback-delta={shorter('5m')}",
            f"--rules.alert.resend-delay={shorter('1m')}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
            log="prometheus.log",
        )

    def _write_rules(self) -> None:
        (self._directory / "rules").mkdir()
        for path in DEPLOY.glob("prometheus/rules/*.yaml"):
            groups = yaml.safe_load(path.read_text())
            for group in groups["groups"]:
                group["interval"] = shorter(group["interval"])
                for rule in group["rules"]:
                    rule["expr"] = quick(rule["expr"])
                    if "for" in rule:
                        rule["for"] = shorter(rule["for"])
            (self._directory / "rules" / path.name).write_text(yaml.safe_dump(groups))

    def _spawn(self, *command: str, log: str | None = None) -> subprocess.Popen[str]:
        with contextlib.ExitStack() as stack:
            output: Any = subprocess.PIPE
            if log:
                output = stack.enter_context((self._directory / log).open("w"))
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._processes.append(process)
        return process

    def _answers(self, address: str, path: str) -> bool:
        ended = [process.args for process in self._processes if process.poll() is not None]
        assert not ended, (ended, [log.read_text() for log in self._directory.glob("*.log")])
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=scaled(5)) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _ask(self, address: str, path: str) -> Any:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=scaled(20)) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running_stack(directory: Path, targets: Sequence[str]) -> Iterator[Stack]:
    stack = Stack(directory, targets)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
