"""What the doctor found: one sentence each for what it is, why it matters and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Finding", "Severity", "note", "ok", "trouble", "warning"]

#: Only `trouble` makes the command fail.
Severity: TypeAlias = Literal["ok", "note", "warning", "trouble"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One thing that was looked at.

    Attributes:
        area: What it is about: a part of the service, or a file and an object in it.
        code: A name that stays the same when the sentences are improved.
        what: What was found.
        why: Why it matters; empty when all is well.
        do: What to do about it; empty when there is nothing to do.
    """

    area: str
    code: str
    severity: Severity
    what: str
    why: str = ""
    do: str = ""


def ok(area: str, code: str, what: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(area=area, code=code, severity="ok", what=what)


def note(area: str, code: str, what: str, *, why: str = "", do: str = "") -> Finding:
    """Return a finding that is worth knowing and no reason to act."""
    return Finding(area=area, code=code, severity="note", what=what, why=why, do=do)


def warning(area: str, code: str, what: str, *, why: str, do: str) -> Finding:
    """Return a finding that will hurt some day."""
    return Finding(area=area, code=code, severity="warning", what=what, why=why, do=do)


def trouble(area: str, code: str, what: str, *, why: str, do: str) -> Finding:
    """Return a finding that hurts, or will with certainty."""
    return Finding(area=area, code=code, severity="trouble", what=what, why=why, do=do)
