"""
`demo-load`: sends traffic to one service, so that dashboards have something to show.

Executions succeed, take long, fail on purpose and raise errors; some requests ask for unknown paths
or have a wrong body. The rate follows a sine. The command ends by itself.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import click

__all__ = ["command"]

#: Period of the request rate's sine.
PERIOD_SECONDS: Final = 120.0

AGENTS: Final[dict[str, list[dict[str, Any]]]] = {
    "demo-greeter": [
        {"skill": "render-template", "with": {"template": "Hello {{ input.name }}"}},
    ],
    "demo-slow": [
        {"skill": "wait", "with": {"seconds": "{{ input.seconds }}"}},
        {"skill": "render-template", "with": {"template": "It took a while"}},
    ],
    "demo-refusing": [{"skill": "fail", "with": {"message": "Nothing to do today"}}],
    "demo-broken": [{"skill": "render-template", "with": {"template": "{{ input.missing.name }}"}}],
}

#: Weight, method, path and JSON body of each kind of request.
REQUESTS: Final[tuple[tuple[int, str, str, Any], ...]] = (
    (40, "POST", "/api/v1/agents/demo-greeter/executions", {"input": {"name": "Ada"}}),
    (25, "GET", "/api/v1/agents", None),
    (12, "GET", "/api/v1/agents/demo-greeter/executions?limit=5", None),
    (8, "POST", "/api/v1/agents/demo-slow/executions", {"input": {"seconds": 0.4}}),
    (5, "POST", "/api/v1/agents/demo-refusing/executions", {"input": {}}),
    (2, "POST", "/api/v1/agents/demo-broken/executions", {"input": {}}),
    (4, "GET", "/api/v1/agents/nobody", None),
    (2, "POST", "/api/v1/agents", {"agent_id": "No Such Name"}),
    (2, "GET", "/wp-login.php", None),
)


@dataclass(frozen=True, slots=True)
class DemoTarget:
    """The service that gets the traffic."""

    host: str
    port: int

    def ask(self, method: str, path: str, body: Any) -> int:
        """Send one request and return its status, 0 when there was no answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


@click.command(name="demo-load")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the service.")
@click.option(
    "--port",
    type=int,
    envvar="PORT",
    default=8000,
    show_envvar=True,
    show_default=True,
    help="TCP port of the service.",
)
@click.option("--seconds", type=float, default=600, show_default=True, help="When it ends.")
@click.option(
    "--rate", type=float, default=20, show_default=True, help="Requests per second at the peak."
)
def command(host: str, port: int, seconds: float, rate: float) -> int:
    """Send traffic to a service for a demonstration, and count the answers by status."""
    target = DemoTarget(host, port)
    for agent_id, steps in AGENTS.items():
        status = target.ask(
            "POST", "/api/v1/agents", {"agent_id": agent_id, "name": agent_id, "steps": steps}
        )
        if status not in (201, 409):  # 409: created by an earlier demonstration
            click.echo(f"demo-load: {host}:{port} answered {status} to a new agent")
            return 1
    click.echo(f"demo-load: {seconds:g} s against http://{host}:{port}")
    answers = _send(target, seconds=seconds, rate=rate)
    click.echo(
        "demo-load: " + ", ".join(f"{n} × {status}" for status, n in sorted(answers.items()))
    )
    return 0


def _send(target: DemoTarget, *, seconds: float, rate: float, clients: int = 8) -> Counter[int]:
    answers: Counter[int] = Counter()
    lock = threading.Lock()
    started = time.monotonic()
    weights = [weight for weight, *_ in REQUESTS]

    def client() -> None:
        choose = random.Random()  # noqa: S311 — a choice of requests, not a secret
        while (now := time.monotonic() - started) < seconds:
            _, method, path, body = choose.choices(REQUESTS, weights)[0]
            status = target.ask(method, path, body)
            with lock:
                answers[status] += 1
            level = 0.55 + 0.45 * math.sin(2 * math.pi * now / PERIOD_SECONDS)
            time.sleep(min(choose.expovariate(rate * level / clients), 2.0))

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
