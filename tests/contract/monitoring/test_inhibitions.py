"""While something bigger is wrong, Alertmanager keeps the smaller things to itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.monitoring_stack import Stack, running_stack
from tests.support.polling import wait_until
from tests.support.sources import alerts

HERE = {"instance": "a:8000"}
ELSEWHERE = {"instance": "b:8000"}
JOB: dict[str, str] = {}

numbers = itertools.count()


@pytest.fixture(scope="module", name="stack")
def _stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("inhibitions"), []) as stack:
        yield stack


SILENCED = [
    pytest.param("TargetMissing", JOB, "HighHTTPErrorRate", JOB, id="missing-target-and-errors"),
    pytest.param("AllTargetsDown", JOB, "TargetDown", HERE, id="all-down-and-one-down"),
    pytest.param("AllTargetsDown", JOB, "ReadinessProbeFailing", HERE, id="all-down-and-unready"),
    pytest.param("TargetDown", HERE, "WorkerCrashLooping", HERE, id="down-and-crashing"),
    pytest.param(
        "ReadinessProbeFailing", HERE, "ReadinessFlapping", HERE, id="failing-and-flapping"
    ),
    pytest.param(
        "DatabaseConnectionPoolExhausted",
        HERE,
        "DatabaseConnectionPoolWaiting",
        HERE,
        id="exhausted-and-waiting",
    ),
]
HEARD = [
    pytest.param("TargetDown", HERE, "WorkerCrashLooping", ELSEWHERE, id="another-instance"),
    pytest.param("TargetDown", HERE, "HighHTTPErrorRate", JOB, id="the-whole-job"),
    pytest.param("HighHTTPErrorRate", JOB, "TargetDown", HERE, id="not-the-other-way-round"),
    pytest.param("AllTargetsDown", JOB, "Watchdog", {}, id="the-watchdog-always"),
    pytest.param("TargetMissing", JOB, "AllTargetsDown", JOB, id="two-causes"),
    pytest.param(
        "ReadinessProbeFailing", HERE, "HighHTTPLatency", JOB, id="unready-and-slow-for-users"
    ),
]


@pytest.mark.parametrize(("cause", "of", "effect", "on"), SILENCED)
def test_silenced(
    stack: Stack, cause: str, of: dict[str, str], effect: str, on: dict[str, str]
) -> None:
    job = f"job-{next(numbers)}"

    stack.tell_alertmanager(alert(cause, job, of), alert(effect, job, on))

    wait_until(lambda: inhibited(stack, effect, job))
    assert not inhibited(stack, cause, job)


@pytest.mark.parametrize(("cause", "of", "effect", "on"), HEARD)
def test_heard(
    stack: Stack, cause: str, of: dict[str, str], effect: str, on: dict[str, str]
) -> None:
    job, later = f"job-{next(numbers)}", f"job-{next(numbers)}"

    stack.tell_alertmanager(alert(cause, job, of), alert(effect, job, on))
    stack.tell_alertmanager(alert("AllTargetsDown", later), alert("TargetDown", later, HERE))

    # Alertmanager takes them in order: once it has seen to these, it has seen to those.
    wait_until(lambda: inhibited(stack, "TargetDown", later))
    assert not inhibited(stack, effect, job)


def test_the_severer_of_two_is_enough(stack: Stack) -> None:
    name, job = "LivenessProbeLatencyHigh", f"job-{next(numbers)}"

    stack.tell_alertmanager(
        alert(name, job, {**HERE, "severity": "warning"}),
        alert(name, job, {**HERE, "severity": "critical"}),
    )

    wait_until(lambda: inhibited(stack, name, job, severity="warning"))
    assert not inhibited(stack, name, job, severity="critical")


def alert(name: str, job: str, labels: Mapping[str, str] = JOB) -> dict[str, Any]:
    """An alert as Prometheus sends it, of a job that no other test has."""
    severity = next(each.labels["severity"] for each in alerts() if each.name == name)
    return {
        "labels": {
            "alertname": name,
            "service": "atom-platform",
            "severity": severity,
            "job": job,
            **labels,
        }
    }


def inhibited(stack: Stack, name: str, job: str, **labels: str) -> bool:
    """Whether the alert is known and silenced."""
    wanted = {"alertname": name, "job": job, **labels}.items()
    return any(
        each["status"]["inhibitedBy"] for each in stack.held() if wanted <= each["labels"].items()
    )
