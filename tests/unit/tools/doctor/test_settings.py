"""check_settings finds invalid, unknown and conflicting settings."""

from __future__ import annotations

import pytest

from atom_platform.tools.doctor.settings import check_settings, read_settings
from tests.support.doctor_parts import codes, one


def test_defaults_have_no_errors() -> None:
    assert codes(check_settings({}), "warning", "error") == set()


def test_every_invalid_value_is_reported() -> None:
    findings = list(
        check_settings({"PORT": "http", "ATOM_THREADS": "many", "WEB_CONCURRENCY": "2"})
    )

    assert sorted(f.what for f in findings if f.code == "setting-invalid") == [
        "ATOM_THREADS must be a whole number from 1 to 1000",
        "PORT must be a whole number from 1 to 65535",
    ]
    assert codes(findings, "error") == {"setting-invalid"}


def test_valid_values_are_read_beside_invalid_ones() -> None:
    settings, errors = read_settings({"PORT": "http", "ATOM_THREADS": "8"})

    assert (settings.port, settings.threads, len(errors)) == (8000, 8, 1)


def test_a_mistyped_setting_comes_with_a_suggestion() -> None:
    findings = check_settings({"ATOM_DRAIN_SECOND": "10", "PATH": "/bin"})

    finding = one(findings, "setting-unknown")
    assert (finding.severity, finding.do) == ("warning", "Did you mean ATOM_DRAIN_SECONDS?")


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"ATOM_THREADS": "8", "ATOM_DB_POOL_SIZE": "4"}, "pool-small"),
        ({"WEB_CONCURRENCY": "900"}, "workers-many"),
    ],
)
def test_settings_that_conflict_are_reported(environ: dict[str, str], code: str) -> None:
    assert codes(check_settings(environ), "warning") == {code}


def test_a_connection_for_each_thread_is_enough() -> None:
    environ = {"ATOM_THREADS": "6", "ATOM_DB_POOL_SIZE": "6"}

    assert codes(check_settings(environ), "warning") == set()


def test_a_drain_is_recommended() -> None:
    assert codes(check_settings({}), "note") == {"drain-off"}
    assert codes(check_settings({"ATOM_DRAIN_SECONDS": "10"})) == set()


@pytest.mark.parametrize(
    ("environ", "limit_cpus", "found"),
    [
        ({}, 0.5, set()),  # one worker
        ({}, 1.0, set()),
        ({"WEB_CONCURRENCY": "2"}, 0.25, {"workers-many"}),
        ({"WEB_CONCURRENCY": "8"}, None, set()),
    ],
)
def test_workers_are_compared_with_the_cpu_limit(
    environ: dict[str, str], limit_cpus: float | None, found: set[str]
) -> None:
    assert codes(check_settings(environ, limit_cpus=limit_cpus), "warning") == found


def test_the_default_number_of_workers_follows_the_cpu_limit() -> None:
    assert one(check_settings({}, limit_cpus=0.5), "settings-read").what.startswith("1 worker with")


def test_unused_cpus_are_reported() -> None:
    """Only of a container: a laptop's are there for other things too."""
    few = {"WEB_CONCURRENCY": "1"}

    assert "workers-few" in codes(check_settings(few, limit_cpus=2.0), "note")
    assert "workers-few" not in codes(check_settings(few), "note")
