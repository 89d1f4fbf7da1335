"""Findings as text for a terminal or as JSON for a machine, and never a secret in either."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Final
from urllib.parse import unquote, urlsplit

from atom_platform.logs.redact import REDACTED, redact_text
from atom_platform.tools.doctor.finding import Finding, Severity

__all__ = ["Redactor", "as_json", "as_text"]

#: ASCII, because the terminal of a container often has no other encoding.
MARKS: Final[Mapping[Severity, str]] = {
    "ok": "ok  ",
    "note": "note",
    "warning": "WARN",
    "trouble": "FAIL",
}

#: Shorter ones would black out half of the text, and guard nothing.
SHORTEST_SECRET: Final = 4


class Redactor:
    """
    Takes out what looks like a secret, and what is known for one wherever it turns up.

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
    """Return *findings* area by area, with a summary as the last line."""
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
            ("trouble", "problem", "problems"),
            ("warning", "warning", "warnings"),
        )
        if (number := sum(finding.severity == severity for finding in findings))
    ]
    lines.append(f"{', '.join(counts) or 'No problem'} found.")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], redact: Redactor) -> str:
    """Return *findings* as one JSON object."""
    failed = any(finding.severity == "trouble" for finding in findings)
    return json.dumps(
        {
            "status": "trouble" if failed else "ok",
            "findings": [
                {key: redact(value) for key, value in asdict(finding).items()}
                for finding in findings
            ],
        },
        indent=2,
    )
