"""Skills: registered callables with an id that agents run."""

from __future__ import annotations

__all__ = ["SkillFailed"]


class SkillFailed(Exception):
    """
    Raised by a skill that ran and reports a negative result, such as a refused recipient.

    The step counts as `failure`; any other exception counts as `error`. The API shows the message
    and the database stores it: it must hold no secret.
    """
