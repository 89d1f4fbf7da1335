"""The codes of results: stable words for programs, all of them documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atom_platform.database.errors import MESSAGES
from atom_platform.health import check as module
from atom_platform.health.check import CheckFailed, CheckResult, Registration

PACKAGE = Path(module.__file__).parents[1]


def test_a_result_has_a_code_by_default() -> None:
    assert [CheckResult(healthy, "").code for healthy in (True, False)] == ["ok", "unhealthy"]


def test_the_code_is_not_in_the_answer_of_the_guide() -> None:
    assert CheckResult(True, "fine", {"free_gb": 2.0}).as_dict() == {
        "healthy": True,
        "message": "fine",
        "free_gb": 2.0,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CheckFailed("Broker refused the connection", code="refused"), "refused"),
        (CheckFailed("Broker not healthy"), "unhealthy"),
        (CheckFailed(), "check_failed"),
        (ValueError("x"), "check_failed"),
    ],
)
def test_an_exception_becomes_a_code(error: Exception, code: str) -> None:
    registration = Registration(name="broker", check=lambda: None, timeout_seconds=1)  # type: ignore[arg-type, return-value]  # never run

    assert registration.failure(error).code == code


def test_deadlines_and_missing_results_have_codes_that_survive_the_details() -> None:
    registration = Registration(
        name="broker",
        check=lambda: CheckResult(True, ""),
        timeout_seconds=1,
        measures_latency=True,
    )

    results = (
        registration.timeout(),
        registration.unknown(pending=True),
        registration.unknown(pending=False),
    )

    assert [registration.completed(each, 1.0).code for each in results] == [
        "timeout",
        "pending",
        "stale",
    ]


def test_every_code_is_documented() -> None:
    documented = set(re.findall(r"`([a-z_]+)`", module.__doc__ or ""))
    used = set(MESSAGES)
    for path in [*PACKAGE.glob("health/**/*.py"), *PACKAGE.glob("database/*.py")]:
        for found in re.findall(r"\bcode=(?:\"ok\" if \w+ else )?\"(\w+)\"", path.read_text()):
            used.add(found)

    assert used <= documented
    assert len(used) > 20
