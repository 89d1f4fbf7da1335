"""Findings are printed as text or JSON, without secrets."""

from __future__ import annotations

import json

import pytest

from atom_platform.tools.doctor.findings import Redactor, as_json, as_text, error, note, ok, warning

FINDINGS = [
    ok("settings", "settings-read", "Fine"),
    warning("disk", "disk-filling", "1.10GB free", why="Soon full.", do="Free space."),
    error("disk", "disk-full", "0.10GB free", why="Full.", do="Free space now."),
]


def test_text_is_grouped_by_area() -> None:
    assert as_text(FINDINGS, Redactor()) == "\n".join(
        [
            "settings",
            "  ok    Fine",
            "",
            "disk",
            "  WARN  1.10GB free",
            "        why: Soon full.",
            "        do:  Free space.",
            "  FAIL  0.10GB free",
            "        why: Full.",
            "        do:  Free space now.",
            "",
            "1 problem, 1 warning found.",
        ]
    )


def test_text_without_errors_says_so() -> None:
    assert as_text(FINDINGS[:1], Redactor()).endswith("No problem found.")


def test_json_has_every_finding() -> None:
    body = json.loads(as_json(FINDINGS, Redactor()))

    assert body["status"] == "error"
    assert body["findings"][1] == {
        "area": "disk",
        "code": "disk-filling",
        "severity": "warning",
        "what": "1.10GB free",
        "why": "Soon full.",
        "do": "Free space.",
    }
    assert json.loads(as_json(FINDINGS[:2], Redactor()))["status"] == "ok"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:hunter22@h/d", "postgresql://u:hunter22@h/d refused"),
        ("postgresql://u:hunter22@h/d", "the password is hunter22"),
        ("postgresql://u:h%40nter22@h/d", "FATAL: h@nter22"),
        ("", "postgresql://u:hunter22@h/d refused"),
        ("", "password=hunter22 host=db"),
    ],
)
def test_no_secret_is_printed(url: str, said: str) -> None:
    findings = [note("area nter22", "code", said, why=said, do=said)]
    redact = Redactor([url])

    for printed in (as_text(findings, redact), as_json(findings, redact)):
        assert "hunter22" not in printed
        assert "h@nter22" not in printed
        assert "[redacted]" in printed


def test_a_password_of_one_letter_is_not_replaced() -> None:
    assert Redactor(["postgresql://u:a@h/d"])("a data base") == "a data base"


def test_an_invalid_url_is_ignored() -> None:
    assert Redactor(["http://[broken"])("text") == "text"


def test_a_known_secret_is_replaced_anywhere() -> None:
    assert Redactor(secrets=["hush-hush"])("it said hush-hush.") == "it said [redacted]."
