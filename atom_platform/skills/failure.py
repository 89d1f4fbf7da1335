"""What a skill raises to say no."""

from __future__ import annotations

__all__ = ["SkillFailed"]


class SkillFailed(Exception):
    """
    A skill did its work and the answer is no: a refused recipient, a host that is not allowed.

    Counted as `failure`; every other exception is an `error`. The message is shown to the caller of
    the API and stored with the execution, so that it holds no secret.
    """
