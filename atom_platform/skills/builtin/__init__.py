"""The skills that come with the platform, one a file; its docstring is its documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from atom_platform.settings import Settings
from atom_platform.skills.builtin import fail, http_request, render_template, send_email, wait
from atom_platform.skills.registry import Skill

__all__ = ["builtin_skills"]


def builtin_skills(
    settings: Settings, *, outgoing_headers: Callable[[], Mapping[str, str]] = dict
) -> Iterator[Skill]:
    """
    Yield every built-in skill, set up as *settings* say.

    Args:
        outgoing_headers: What a call to another service carries on, such as the request id.
    """
    yield fail.create()
    yield http_request.create(settings.http_allowed_hosts, outgoing_headers=outgoing_headers)
    yield render_template.create()
    yield send_email.create(settings.smtp_url, sender=settings.smtp_from)
    yield wait.create()
