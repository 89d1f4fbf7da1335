"""Whether what stands under `with` is what a skill takes, and where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from atom_platform.skills.registry import Skill, SkillInput
from atom_platform.skills.templates import Path, Templates, is_template

__all__ = ["InputRefused", "checked_input", "input_faults"]


class InputRefused(Exception):
    """What the templates of a step rendered to is not what its skill takes; the text says where."""


def input_faults(
    skill: Skill, values: Mapping[str, Any], templates: Templates
) -> Iterator[tuple[Path, str]]:
    """
    Yield what is wrong with *values* before anything is rendered: the path in them, and a sentence.

    Whatever depends on a template is left to the run.
    """
    yield from templates.faults(dict(values))
    try:
        skill.input_model.model_validate(values)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=False):
            if not _holds_template(_found(values, each["loc"])):
                yield each["loc"], _sentence(each)


def checked_input(skill: Skill, values: Mapping[str, Any]) -> SkillInput:
    """
    Return rendered *values* as the skill's input.

    Raises:
        InputRefused: They are not what it takes.
    """
    try:
        return skill.input_model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = "/".join(str(each) for each in first["loc"])
        raise InputRefused(f"{where}: {_sentence(first)}") from None


def _sentence(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ")  # pydantic's, before what our checks raise


def _found(values: object, path: Path) -> object:
    for step in path:
        try:
            values = cast(Any, values)[step]
        except (LookupError, TypeError):
            return None  # a missing field, or a name that pydantic put into the path
    return values


def _holds_template(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_template(each) for each in value.values())
    if isinstance(value, list):
        return any(_holds_template(each) for each in value)
    return is_template(value)
