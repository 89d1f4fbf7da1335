"""
This skill always fails, with the message it is given.

Use it for drills: an agent that ends in `fail` counts as `failure` in metrics, alerts and
dashboards.
"""

from __future__ import annotations

from pydantic import Field

from atom_platform.skills import SkillFailed
from atom_platform.skills.registry import Skill, SkillInput

__all__ = ["create"]


class FailInput(SkillInput):
    message: str = Field(default="This drill failed as it should.", max_length=1_000)


def fail(asked: FailInput) -> object:
    raise SkillFailed(asked.message)


def create() -> Skill:
    """Return the skill."""
    return Skill("fail", __doc__ or "", FailInput, fail)
