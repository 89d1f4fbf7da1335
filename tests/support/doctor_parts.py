"""Helpers of the doctor's tests."""

from __future__ import annotations

from collections.abc import Iterable

from atom_platform.tools.doctor.findings import Finding

__all__ = ["codes", "one"]


def codes(findings: Iterable[Finding], *severities: str) -> set[str]:
    """Return the codes of the findings of *severities*; by default all but `ok`."""
    wanted = severities or ("note", "warning", "error")
    return {finding.code for finding in findings if finding.severity in wanted}


def one(findings: Iterable[Finding], code: str) -> Finding:
    """Return the only finding called *code*."""
    (finding,) = [finding for finding in findings if finding.code == code]
    return finding
