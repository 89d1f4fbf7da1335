"""Every file in the folder is a skill that the platform has, documented by its docstring."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from atom_platform.settings import Settings
from atom_platform.skills import SkillFailed, builtin
from atom_platform.skills.builtin import builtin_skills, fail, render_template, wait

NAMES = sorted(
    path.stem for path in Path(builtin.__path__[0]).glob("*.py") if path.stem != "__init__"
)


def test_each_file_is_registered() -> None:
    """A new file without its line in `builtin_skills` would be a skill that nobody has."""
    skills = list(builtin_skills(Settings()))

    assert sorted(skill.skill_id.replace("-", "_") for skill in skills) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_docstring_documents_its_skill(name: str) -> None:
    module = importlib.import_module(f"atom_platform.skills.builtin.{name}")
    (skill,) = [
        skill for skill in builtin_skills(Settings()) if skill.skill_id == name.replace("_", "-")
    ]

    assert skill.description == module.__doc__
    assert skill.description.strip().startswith("This skill ")


def test_fail_says_no() -> None:
    skill = fail.create()

    with pytest.raises(SkillFailed, match=r"^disk drill$"):
        skill.run(skill.input_model.model_validate({"message": "disk drill"}))


def test_render_template_hands_on_what_was_rendered() -> None:
    """It does not render twice: what came out of `input` is text, not a template."""
    skill = render_template.create()

    assert skill.run(skill.input_model.model_validate({"template": "{{ 7 * 7 }}"})) == "{{ 7 * 7 }}"


def test_wait_returns_how_long() -> None:
    skill = wait.create()

    assert skill.run(skill.input_model.model_validate({"seconds": "0.01"})) == {"seconds": 0.01}


@pytest.mark.parametrize("seconds", [-0.1, 60.1, float("nan"), float("inf"), "long", None])
def test_wait_takes_up_to_a_minute(seconds: object) -> None:
    with pytest.raises(ValidationError):
        wait.create().input_model.model_validate({"seconds": seconds})
