"""A container under load is stopped without anybody noticing but the load balancer."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.service.image.podman import Container, container
from tests.support.manifests import rendered
from tests.support.polling import wait_until
from tests.support.stalls import scaled

CLIENTS = 8
BALANCER_ASKS_EVERY_SECONDS = 1.0
BALANCER_NOTICES_AFTER = 2  # answers in a row

AGENT = {
    "agent_id": "slow",
    "name": "Slow",
    "steps": [{"skill": "wait", "with": {"seconds": 0.3}}],
}


@dataclass(slots=True)
class Balancer:
    """
    A load balancer with clients: they send while it finds the container ready, and no longer.

    Half of the clients keep their connection, as a balancer does; the others make a new one for
    every request. Every fourth request runs an agent that takes 0.3 s.
    """

    port: int
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    readiness: list[int] = field(default_factory=list)
    noticed: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._watch)] + [
            threading.Thread(target=self._send, args=(number % 2 == 0,))
            for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.noticed.set()
        for thread in self._threads:
            thread.join(scaled(30))

    def _watch(self) -> None:
        while not self.noticed.is_set():
            try:
                self.readiness.append(self._ask("GET", "/health/ready"))
            except OSError:
                self.readiness.append(0)
            if all(each != 200 for each in self.readiness[-BALANCER_NOTICES_AFTER:]):
                self.noticed.set()
            self.noticed.wait(BALANCER_ASKS_EVERY_SECONDS)

    def _send(self, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=scaled(20))
        sent = 0
        while not self.noticed.is_set():
            sent += 1
            method, path = (
                ("POST", "/api/v1/agents/slow/executions")
                if sent % 4 == 0
                else ("GET", "/api/v1/skills")
            )
            try:
                status = self._ask(method, path, connection if keep else None)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{method} {error!r}")
                connection.close()
            else:
                self.answers[f"{method} {status}"] += 1
        connection.close()

    def _ask(
        self, method: str, path: str, connection: http.client.HTTPConnection | None = None
    ) -> int:
        kept = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=scaled(20))
        body, headers = (
            ("{}", {"Content-Type": "application/json"}) if method == "POST" else ("", {})
        )
        try:
            kept.request(method, path, body or None, headers)
            response = kept.getresponse()
            response.read()
            return response.status
        finally:
            if connection is None:
                kept.close()


@pytest.fixture(name="serving")
def _serving(image: str, database_url: str) -> Iterator[Container]:
    with container(image, env={"DATABASE_URL": database_url}) as made:
        made.wait_for("/health/ready", 200)
        assert made.request("POST", "/api/v1/agents", AGENT)[0] in {201, 409}
        yield made


def stop_as_ecs(serving: Container) -> None:
    serving.signal("TERM")


def stop_as_kubelet(serving: Container) -> None:
    """Run the manifest's preStop to its end, then send the signal."""
    hook = rendered("overlays/production").container()["lifecycle"]["preStop"]["exec"]["command"]
    ran = serving.execute(*hook)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    serving.signal("TERM")


WAYS = {"ECS": stop_as_ecs, "kubelet": stop_as_kubelet}


@pytest.mark.parametrize("who", WAYS)
def test_no_request_fails_while_it_stops(
    serving: Container, who: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM under load: what was accepted is answered, and it ends by itself with status 0."""
    pod = rendered("overlays/production").one("Deployment")["spec"]["template"]["spec"]
    balancer = Balancer(serving.port)
    balancer.start()
    try:
        wait_until(lambda: balancer.answers.total() > 200, seconds=60)
        began = time.monotonic()
        WAYS[who](serving)
        status = serving.wait(90)
        took = time.monotonic() - began
    finally:
        balancer.stop()

    with capsys.disabled():
        print(
            f"\nstopped by {who} under load: {balancer.answers.total()} requests,"
            f" {len(balancer.failures)} failed; status {status} after {took:.1f} s"
        )
    assert balancer.failures == []
    assert set(balancer.answers) == {"GET 200", "POST 201"}
    assert balancer.readiness[-BALANCER_NOTICES_AFTER:] == [503, 503]
    assert status == 0
    assert 9 < took < pod["terminationGracePeriodSeconds"]
