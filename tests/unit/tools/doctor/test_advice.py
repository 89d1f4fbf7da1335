"""Every code that a check of ours can have is known to the advice."""

from __future__ import annotations

import re

import pytest

from atom_platform.health import check
from atom_platform.tools.doctor.advice import ADVICE, OTHERWISE, advice_for

#: The application knows what to do about these, not the doctor.
WITHOUT = {"ok", "unhealthy", "unexpected_status", "invalid_response", "never_ran", "overdue"}


def documented() -> set[str]:
    """Return the codes of the table in the module's docstring."""
    rows = re.findall(r"^\| (`.*?) \|", check.__doc__ or "", re.MULTILINE)
    return set(re.findall(r"`(\w+)`", " ".join(rows)))


def test_every_documented_code_has_advice() -> None:
    assert ADVICE.keys() == documented() - WITHOUT


@pytest.mark.parametrize("code", ["", "None", "of-an-application"])
def test_another_code_leads_to_the_log(code: str) -> None:
    assert advice_for(code) == OTHERWISE
