"""
This skill waits for at most 60 seconds and returns the seconds it was asked to wait.

It occupies one request thread while it waits.
"""

from __future__ import annotations

import time

from pydantic import Field

from atom_platform.skills.registry import Skill, SkillInput

__all__ = ["create"]


class WaitInput(SkillInput):
    seconds: float = Field(ge=0, le=60)


def wait(asked: WaitInput) -> object:
    time.sleep(asked.seconds)
    return {"seconds": asked.seconds}


def create() -> Skill:
    """Return the skill."""
    return Skill("wait", __doc__ or "", WaitInput, wait)
