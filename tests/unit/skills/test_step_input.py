"""What can be told about an input before the run is told, and what a template decides is not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, JsonValue

from atom_platform.skills.registry import Skill, SkillInput
from atom_platform.skills.step_data import InvalidInput, find_input_errors, validate_input
from atom_platform.skills.templates import Templates


class Parcel(SkillInput):
    to: str = Field(min_length=2)
    weight: float = Field(ge=0, le=10)
    labels: dict[str, str] = {}
    content: JsonValue = None


SKILL = Skill("send-parcel", "", Parcel, lambda asked: asked.to)
GOOD = {"to": "Ada", "weight": 1}


@pytest.mark.parametrize(
    ("values", "places"),
    [
        (GOOD, set()),
        ({**GOOD, "weight": "2.5"}, set()),
        ({**GOOD, "weight": "{{ input.weight }}"}, set()),
        ({**GOOD, "labels": {"a": "{{ input.a }}"}, "content": ["{{ x }}", 1]}, set()),
        ({}, {("to",), ("weight",)}),
        ({**GOOD, "colour": "red"}, {("colour",)}),
        ({**GOOD, "weight": 11}, {("weight",)}),
        ({**GOOD, "weight": "heavy"}, {("weight",)}),
        ({**GOOD, "weight": float("nan")}, {("weight",)}),
        ({**GOOD, "to": 5}, {("to",)}),
        ({**GOOD, "labels": {"a": 1, "b": "{{ x }}"}}, {("labels", "a")}),
        ({**GOOD, "to": "{{ x", "weight": 11}, {("to",), ("weight",)}),
        ({**GOOD, "content": {"deep": ["{% if %}"]}}, {("content", "deep", 0)}),
    ],
)
def test_faults_say_where(values: dict[str, Any], places: set[tuple[str | int, ...]]) -> None:
    found = list(find_input_errors(SKILL, values, Templates()))

    assert {path for path, _ in found} == places
    assert all(message for _, message in found)


def test_rendered_text_becomes_the_number_that_is_wanted() -> None:
    assert validate_input(SKILL, {"to": "Ada", "weight": "2.5"}) == Parcel(to="Ada", weight=2.5)


def test_what_was_rendered_is_checked_again() -> None:
    with pytest.raises(InvalidInput, match=r"^weight: Input should be less than or equal to 10$"):
        validate_input(SKILL, {"to": "Ada", "weight": "99"})
