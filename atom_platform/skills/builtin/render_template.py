"""
This skill returns the text of a template over `input` and the outputs of earlier `steps`.

`{{ steps[0].output }}` is what the first step returned, `{{ steps["http-request"].output }}` what
the latest step of that skill did. Use it to prepare a text once that several later steps need.
"""

from __future__ import annotations

from atom_platform.skills.registry import Skill, SkillInput

__all__ = ["create"]


class RenderTemplateInput(SkillInput):
    template: str


def render_template(asked: RenderTemplateInput) -> object:
    # Every text under `with` is rendered, in the sandbox and over just these variables, before its
    # skill runs. To render once more here would run what a caller put into `input` as a template.
    return asked.template


def create() -> Skill:
    """Return the skill."""
    return Skill("render-template", __doc__ or "", RenderTemplateInput, render_template)
