"""
This skill always says no, with the message it is given.

For drills: an agent that ends in `fail` counts as `failure`, and shows what alerts and dashboards
make of it.
"""

from __future__ import annotations

from pydantic import Field

from atom_platform.skills.failure import SkillFailed
from atom_platform.skills.registry import Skill, SkillInput

__all__ = ["create"]


class FailInput(SkillInput):
    message: str = Field(default="This drill failed as it should.", max_length=1_000)


def fail(asked: FailInput) -> object:
    raise SkillFailed(asked.message)


def create() -> Skill:
    """Return the skill."""
    return Skill("fail", __doc__ or "", FailInput, fail)
