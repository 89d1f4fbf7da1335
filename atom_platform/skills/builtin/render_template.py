"""
This skill returns the text of a template over `input` and the outputs of earlier `steps`.

`{{ steps[0].output }}` is the output of the first step, `{{ steps["http-request"].output }}` the
output of the latest step of that skill. Use it to prepare a text that several later steps need.
"""

from __future__ import annotations

from atom_platform.skills.registry import Skill, SkillInput

__all__ = ["create"]


class RenderTemplateInput(SkillInput):
    template: str


def render_template(asked: RenderTemplateInput) -> object:
    # The runner has rendered every text under `with` already, in the sandbox. Rendering it again
    # would execute templates that a caller put into `input`.
    return asked.template


def create() -> Skill:
    """Return the skill."""
    return Skill("render-template", __doc__ or "", RenderTemplateInput, render_template)
