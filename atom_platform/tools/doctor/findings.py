"""Findings: what the doctor found, why it matters and what to do; printed without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from atom_platform.logs.redact import REDACTED, redact_text

__all__ = [
    "Finding",
    "Redactor",
    "Severity",
    "as_json",
    "as_text",
    "error",
    "note",
    "ok",
    "warning",
]

#: Only `error` makes the command fail.
Severity: TypeAlias = Literal["ok", "note", "warning", "error"]


#: ASCII: the terminal of a container often has no other encoding.
MARKS: Final[Mapping[Severity, str]] = {
    "ok": "ok  ",
    "note": "note",
    "warning": "WARN",
    "error": "FAIL",
}

#: Shorter secrets would match half of the text.
SHORTEST_SECRET: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    The result of one examination.

    Attributes:
        area: A part of the service, or a file and an object in it.
        code: A stable name for programs.
        what: What was found.
        why: Why it matters; empty without an error.
        do: What to do about it; empty when there is nothing to do.
    """

    area: str
    code: str
    severity: Severity
    what: str
    why: str = ""
    do: str = ""


def ok(area: str, code: str, what: str) -> Finding:
    """Return a finding without an error."""
    return Finding(area=area, code=code, severity="ok", what=what)


def note(area: str, code: str, what: str, *, why: str = "", do: str = "") -> Finding:
    """Return a finding that needs no action."""
    return Finding(area=area, code=code, severity="note", what=what, why=why, do=do)


def warning(area: str, code: str, what: str, *, why: str, do: str) -> Finding:
    """Return a finding that may become an error."""
    return Finding(area=area, code=code, severity="warning", what=what, why=why, do=do)


def error(area: str, code: str, what: str, *, why: str, do: str) -> Finding:
    """Return a finding that makes the command fail."""
    return Finding(area=area, code=code, severity="error", what=what, why=why, do=do)


class Redactor:
    """
    Replaces known secrets, and text that looks like a secret.

    Args:
        urls: Values of settings that may hold a password.
        secrets: Values of settings that are secret as a whole.
    """

    def __init__(self, urls: Iterable[str] = (), *, secrets: Iterable[str] = ()) -> None:
        known = set(secrets)
        for url in urls:
            try:
                password = urlsplit(url).password
            except ValueError:
                continue
            if password:
                known |= {password, unquote(password)}
        self._secrets = sorted(
            (secret for secret in known if len(secret) >= SHORTEST_SECRET), key=len, reverse=True
        )

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return redact_text(text)


def as_text(findings: Sequence[Finding], redact: Redactor) -> str:
    """Return *findings* by area, and a summary as the last line."""
    lines: list[str] = []
    for area, group in groupby(findings, key=lambda finding: finding.area):
        lines.append(redact(area))
        for finding in group:
            lines.append(f"  {MARKS[finding.severity]}  {redact(finding.what)}")
            if finding.why:
                lines.append(f"        why: {redact(finding.why)}")
            if finding.do:
                lines.append(f"        do:  {redact(finding.do)}")
        lines.append("")
    counts = [
        f"{number} {word if number == 1 else plural}"
        for severity, word, plural in (
            ("error", "problem", "problems"),
            ("warning", "warning", "warnings"),
        )
        if (number := sum(finding.severity == severity for finding in findings))
    ]
    lines.append(f"{', '.join(counts) or 'No problem'} found.")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], redact: Redactor) -> str:
    """Return *findings* as one JSON object."""
    failed = any(finding.severity == "error" for finding in findings)
    return json.dumps(
        {
            "status": "error" if failed else "ok",
            "findings": [
                {key: redact(value) for key, value in asdict(finding).items()}
                for finding in findings
            ],
        },
        indent=2,
    )
