"""Skills that do what a test needs done: crash, leak, return odd things, or wait for a sign."""

from __future__ import annotations

import threading
from typing import Any

from pydantic import JsonValue

from atom_platform.logs.context import bound_fields
from atom_platform.skills.registry import SkillInput, SkillRegistry

__all__ = ["Gate", "register_test_skills"]


class Anything(SkillInput):
    value: JsonValue = None


class Gate:
    """Blocks every run until it is opened."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, asked: Anything) -> object:
        self.arrived.release()
        assert self.open.wait(20)
        return "through"


def register_test_skills(skills: SkillRegistry) -> None:
    @skills.skill("echo")
    def echo(asked: Anything) -> object:
        """Return its input."""
        return asked.value

    @skills.skill("crash")
    def crash(asked: Anything) -> object:
        """Break off with a secret in its exception."""
        raise RuntimeError("postgresql://atom:hunter2@db.internal/atom")

    @skills.skill("leave")
    def leave(asked: Anything) -> object:
        """Try to end the process."""
        raise SystemExit(3)

    @skills.skill("odd")
    def odd(asked: Anything) -> Any:
        """Return what neither JSON nor a database can hold."""
        return {"bytes": b"\x00", "text": "a\x00\ud800b", "number": float("nan"), "set": {1}}

    @skills.skill("huge")
    def huge(asked: Anything) -> object:
        """Return more than is kept."""
        return {"status": 200, "body": "x" * 1_000_000}

    @skills.skill("context")
    def context(asked: Anything) -> object:
        """Return the fields that its log lines carry."""
        return dict(bound_fields())
