"""The health check of an ECS container: does it ask the right thing, and can it run?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atom_platform.tools.doctor.finding import Finding, note, trouble, warning
from atom_platform.tools.doctor.lint.figures import Figures
from atom_platform.tools.doctor.lint.shape import mapping, number, text

__all__ = ["Subject", "check_health"]

#: What the image is made of, where the doctor runs in the source.
DOCKERFILES = (Path("Dockerfile"), Path(__file__).resolve().parents[4] / "Dockerfile")

#: What ECS allows, and takes when nothing is said.
RANGES = {
    "interval": (5, 300, 30),
    "timeout": (2, 60, 5),
    "retries": (1, 10, 3),
    "startPeriod": (0, 300, 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    A container that runs the service.

    Attributes:
        area: What to call it.
        task: The whole definition.
        container: Its own part of it.
        environ: Its variables that are written out.
        figures: What the service will be like.
    """

    area: str
    task: dict[str, Any]
    container: dict[str, Any]
    environ: dict[str, str]
    figures: Figures


def check_health(subject: Subject) -> Iterator[Finding]:
    """Yield a health check that is missing, asks the wrong thing, or cannot run."""
    health = mapping(subject.container.get("healthCheck"))
    command = text(health.get("command"))
    if not command:
        yield trouble(
            subject.area,
            "health-missing",
            "No healthCheck",
            why="ECS ignores the image's own: a worker that hangs is never replaced.",
            do="Use the command CMD, python, -m, atom_platform, probe, live.",
        )
        return
    if "/health/ready" in command or "probe ready" in command or "/health/startup" in command:
        yield trouble(
            subject.area,
            "liveness-asks-dependencies",
            "The healthCheck asks for readiness",
            why="ECS replaces what fails it: when the database is gone, every task is.",
            do="Ask /health/live here, and /health/ready in the load balancer's target group.",
        )
    if found := re.search(r"\b(curl|wget)\b", command):
        tool = found.group()
        limit = r"--max-time|\s-[a-zA-Z]*m\s*[0-9]" if tool == "curl" else r"--timeout|\s-T\s*[0-9]"
        yield _binary(subject.area, tool)
        if not re.search(limit, command):
            yield warning(
                subject.area,
                "health-command-timeout",
                f"The healthCheck's {tool} has no time limit of its own",
                why="One that waits is killed from outside, and leaves no reason in the log.",
                do="Add --max-time 3 (wget: --timeout=3)."
                if tool == "curl"
                else "Add --timeout=3.",
            )
    if "localhost" in command:
        yield note(
            subject.area,
            "health-command-localhost",
            "The healthCheck asks localhost",
            why="It may mean ::1 first, where nobody listens.",
            do="Write 127.0.0.1.",
        )
    yield from _health_times(subject, health)


def _binary(area: str, tool: str) -> Finding:
    what = f"The healthCheck runs {tool} inside of the container"
    for dockerfile in DOCKERFILES:
        if dockerfile.is_file() and re.search(rf"\b{tool}\b", dockerfile.read_text()):
            return note(area, "health-command-binary", f"{what}; the Dockerfile here has it")
    return warning(
        area,
        "health-command-binary",
        what,
        why=f"Slim images have no {tool}; a command that is not there is an unhealthy task.",
        do=f"Use the command CMD, python, -m, atom_platform, probe, live; or put {tool} into the "
        "image.",
    )


def _health_times(subject: Subject, health: dict[str, Any]) -> Iterator[Finding]:
    values = {}
    for name, (least, most, default) in RANGES.items():
        values[name] = value = number(health.get(name), default)
        if not least <= value <= most:
            yield trouble(
                subject.area,
                "health-range",
                f"healthCheck.{name} is {value:g}; ECS takes {least} to {most}",
                why="The task definition is refused.",
                do=f"Set a value from {least} to {most}.",
            )
    if values["timeout"] >= values["interval"]:
        yield warning(
            subject.area,
            "health-timeout-long",
            f"The healthCheck waits {values['timeout']:g} s and is due every "
            f"{values['interval']:g} s",
            why="One lost answer holds up the next question.",
            do="Set timeout below interval.",
        )
    if not values["startPeriod"]:
        yield warning(
            subject.area,
            "start-period-missing",
            "healthCheck without startPeriod",
            why="Failures count from the first second: a slow start is killed, again and again.",
            do="Set startPeriod: 60.",
        )
