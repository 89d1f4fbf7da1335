"""
Traffic that looks like a day at work: `python -m atom_platform demo-load`.

Agents that mostly succeed, one that is slow, one that says no and one that breaks; clients that ask
for what there is not, or send what cannot be read. It rises and falls like a tide, so that a rate
has a shape. Standard library only, to one address, and it ends by itself.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["main"]

#: One rise and fall of the traffic.
TIDE_SECONDS: Final = 120.0

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

#: What a visitor does, and how often out of the sum: method, path, body.
VISITS: Final[tuple[tuple[int, str, str, Any], ...]] = (
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
class Target:
    """The service to visit."""

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


def main(argv: list[str]) -> int:
    """Do what *argv* says, print what was answered, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m atom_platform demo-load", description="Make traffic for a demonstration."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))
    parser.add_argument("--seconds", type=float, default=600, help="when it ends (default: 600)")
    parser.add_argument("--rate", type=float, default=20, help="requests a second at high tide")
    options = parser.parse_args(argv)
    target = Target(options.host, options.port)
    for agent_id, steps in AGENTS.items():
        status = target.ask(
            "POST", "/api/v1/agents", {"agent_id": agent_id, "name": agent_id, "steps": steps}
        )
        if status not in (201, 409):  # 409: there from an earlier demonstration
            print(f"demo-load: {target.host}:{target.port} answered {status} to a new agent")
            return 1
    print(f"demo-load: {options.seconds:g} s against http://{target.host}:{target.port}")
    answers = _visit(target, seconds=options.seconds, rate=options.rate)
    print("demo-load: " + ", ".join(f"{n} × {status}" for status, n in sorted(answers.items())))
    return 0


def _visit(target: Target, *, seconds: float, rate: float, visitors: int = 8) -> Counter[int]:
    answers: Counter[int] = Counter()
    lock = threading.Lock()
    started = time.monotonic()
    weights = [weight for weight, *_ in VISITS]

    def visitor() -> None:
        choose = random.Random()  # noqa: S311 — a choice of visits, not a secret
        while (now := time.monotonic() - started) < seconds:
            _, method, path, body = choose.choices(VISITS, weights)[0]
            status = target.ask(method, path, body)
            with lock:
                answers[status] += 1
            tide = 0.55 + 0.45 * math.sin(2 * math.pi * now / TIDE_SECONDS)
            time.sleep(min(choose.expovariate(rate * tide / visitors), 2.0))

    threads = [threading.Thread(target=visitor, daemon=True) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
