"""The built-in skills, one per file; a file's docstring is the documentation of its skill."""

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
    Yield every built-in skill, configured from *settings*.

    Args:
        outgoing_headers: Called for each HTTP request of a skill; returns headers to send, such as
            the request id.
    """
    yield fail.create()
    yield http_request.create(settings.http_allowed_hosts, outgoing_headers=outgoing_headers)
    yield render_template.create()
    yield send_email.create(settings.smtp_url, sender=settings.smtp_from)
    yield wait.create()
