"""The skill type, its input model, and the registry of an application's skills."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict

__all__ = ["Skill", "SkillInput", "SkillRegistry", "UnknownSkill"]

_SKILL_ID: Final = re.compile(r"[a-z0-9-]{1,64}")

Run = TypeVar("Run", bound=Callable[[Any], object])


class SkillInput(BaseModel):
    """
    Base class of every skill's input model.

    Validation converts text to numbers where a field is a number, because a rendered template is
    always text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Skill:
    """
    A Python callable that agents run by its id.

    Attributes:
        skill_id: 1 to 64 of `[a-z0-9-]`.
        description: For the user; the description of a built-in skill is its module's docstring.
        input_model: Checked when an agent is stored, and again before each run.
        run: Does the work and returns JSON values. SkillFailed counts as a failure, any other
            exception as an error. Called from many threads at once.
    """

    skill_id: str
    description: str
    input_model: type[SkillInput]
    run: Callable[[Any], object]

    def __post_init__(self) -> None:
        if not _SKILL_ID.fullmatch(self.skill_id):
            raise ValueError(f"a skill's id is 1 to 64 of a-z, 0-9 and -, not {self.skill_id!r}")


class UnknownSkill(LookupError):
    """No registered skill has this id."""


class SkillRegistry:
    """The skills of one application, by id."""

    def __init__(self) -> None:
        self._skills: dict[str, Skill] = {}

    def register(self, skill: Skill) -> None:
        """
        Add *skill*.

        Raises:
            ValueError: Another skill is registered under its id.
        """
        if skill.skill_id in self._skills:
            raise ValueError(f"the skill {skill.skill_id!r} is registered already")
        self._skills[skill.skill_id] = skill

    def skill(self, skill_id: str) -> Callable[[Run], Run]:
        """
        Register the decorated function under *skill_id*.

        Its only parameter is annotated with a SkillInput; its docstring describes it.

        Raises:
            ValueError: The id is taken.
            TypeError: The function's only parameter is not annotated with a SkillInput.
        """

        def decorate(run: Run) -> Run:
            hints = get_type_hints(run)
            taken = [hints.get(name) for name in inspect.signature(run).parameters]
            model = taken[0] if len(taken) == 1 else None
            if not (isinstance(model, type) and issubclass(model, SkillInput)):
                raise TypeError("a skill takes one parameter, annotated with a SkillInput")
            self.register(Skill(skill_id, inspect.getdoc(run) or "", model, run))
            return run

        return decorate

    def __getitem__(self, skill_id: str) -> Skill:
        """
        Return the skill *skill_id*.

        Raises:
            UnknownSkill: No skill is registered under it.
        """
        try:
            return self._skills[skill_id]
        except KeyError:
            raise UnknownSkill(skill_id) from None

    def __iter__(self) -> Iterator[Skill]:
        """Yield the skills in the order of their ids."""
        return iter(sorted(self._skills.values(), key=lambda skill: skill.skill_id))

    def __len__(self) -> int:
        return len(self._skills)
