"""Skills are found by their ids, say themselves what they take, and are never taken twice."""

from __future__ import annotations

import pytest

from atom_platform.skills.registry import SkillInput, SkillRegistry, UnknownSkill


class Word(SkillInput):
    word: str


@pytest.fixture(name="registry")
def _registry() -> SkillRegistry:
    return SkillRegistry()


def test_a_decorated_function_is_a_skill(registry: SkillRegistry) -> None:
    @registry.skill("shout")
    def shout(asked: Word) -> object:
        """Say it louder."""
        return asked.word.upper()

    skill = registry["shout"]

    assert skill.run(Word(word="hey")) == "HEY"
    assert skill.description == "Say it louder."
    assert skill.input_model is Word
    assert shout(Word(word="x")) == "X"


def test_lists_in_the_order_of_ids(registry: SkillRegistry) -> None:
    for skill_id in ("b", "a", "c"):
        registry.skill(skill_id)(_echo)

    assert [skill.skill_id for skill in registry] == ["a", "b", "c"]
    assert len(registry) == 3


def test_an_id_is_taken_once(registry: SkillRegistry) -> None:
    registry.skill("a")(_echo)

    with pytest.raises(ValueError, match="'a' is registered already"):
        registry.skill("a")(_echo)


@pytest.mark.parametrize("skill_id", ["", "A", "a b", "a\n", "x" * 65, "ä"])
def test_an_id_is_plain(registry: SkillRegistry, skill_id: str) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        registry.skill(skill_id)(_echo)


def test_a_skill_says_what_it_takes(registry: SkillRegistry) -> None:
    def silent(asked):  # type: ignore[no-untyped-def]  # what is refused here
        return asked

    with pytest.raises(TypeError, match="SkillInput"):
        registry.skill("silent")(silent)


def test_two_registries_share_nothing(registry: SkillRegistry) -> None:
    registry.skill("a")(_echo)

    with pytest.raises(UnknownSkill):
        SkillRegistry()["a"]


def _echo(asked: Word) -> object:
    return asked.word
