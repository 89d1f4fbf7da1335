"""Recent events hold public fields only; everything else stays in the log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atom_platform.health.check import CheckResult
from atom_platform.metrics.storage import directory as directories
from atom_platform.metrics.storage.directory import Directory
from atom_platform.metrics.storage.directory_lock import Owner
from atom_platform.status.recent_events import RecentEvents

LINE = {
    "timestamp": "2026-02-16T19:15:00.000Z",
    "level": "ERROR",
    "logger": "atom_platform.access",
    "event": "http_request",
    "request_id": "req-456",
    "method": "GET",
    "endpoint": "/api/v1/agents/<agent_id>",
    "status": 500,
    "exception_type": "OperationalError",
}


@pytest.fixture(name="events")
def _events() -> RecentEvents:
    events = RecentEvents()
    events.open()
    return events


@pytest.fixture(name="shared_directory")
def _shared_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    owner = Owner(service="one", started_at=1.0, arbiters=(os.getpid(),))
    monkeypatch.setattr(directories, "_prepared", Directory(tmp_path, owner))
    return tmp_path


def test_shows_what_helps_to_find_the_line(events: RecentEvents) -> None:
    events.record_error(LINE)

    assert events.errors() == [{**LINE, "pid": os.getpid()}]


def test_newest_first_and_bounded(events: RecentEvents) -> None:
    for number in range(60):
        events.record_error({**LINE, "request_id": f"r{number}"})

    assert [error["request_id"] for error in events.errors()] == [
        f"r{number}" for number in range(59, 9, -1)
    ]


@pytest.mark.parametrize(
    "field",
    [
        {"reason": "connection to db.internal:5432 refused"},
        {"event": "Retrying: HTTPConnection(host='db.internal', port=80)"},
        {"path": "/api/v1/agents?token=secret"},
        {"sql": "SELECT secret FROM users"},
        {"password": "secret"},
        {"endpoint": "https://user:secret@db.internal/"},
        {"request_id": "db.internal:secret"},
        {"exception_type": "secret of db.internal:5432"},
        {"exception": "Traceback …\nValueError: secret of db.internal"},
        {"exception": "Traceback …\nsecret of db.internal"},
        {"logger": "secret@db.internal"},
        {"method": "secret"},
        {"status": "secret"},
        {"agent_id": "secret@db.internal"},
        {"timestamp": "secret"},
    ],
    ids=str,
)
def test_hides_what_may_hold_a_secret_or_a_host(
    events: RecentEvents, field: dict[str, str]
) -> None:
    events.record_error({**LINE, **field})

    (error,) = events.errors()
    assert "secret" not in str(error)
    assert "db.internal" not in str(error)
    assert error["pid"] == os.getpid()


def test_names_the_exception_of_a_traceback(events: RecentEvents) -> None:
    line = {key: value for key, value in LINE.items() if key != "exception_type"}
    events.record_error(
        {**line, "exception": "Traceback …\n  File …\npsycopg.OperationalError: no"}
    )

    (error,) = events.errors()
    assert error["exception_type"] == "psycopg.OperationalError"


def test_records_a_check_whose_state_changes(events: RecentEvents) -> None:
    good, bad = CheckResult(True, "fine"), CheckResult(False, "Database timeout after 5.0s")
    for result in (good, good, bad, bad, good, good):
        events.record_check_result("database", result)
    events.record_check_result("disk", good)

    assert [
        (transition["check"], transition["healthy"], transition["message"], transition["pid"])
        for transition in events.transitions()
    ] == [
        ("database", False, "Database timeout after 5.0s", os.getpid()),
        ("database", True, "fine", os.getpid()),
    ]


def test_is_shared_beside_the_metrics(shared_directory: Path) -> None:
    one, other = RecentEvents(), RecentEvents()
    one.open()
    other.open()
    one.record_error(LINE)
    one.record_check_result("disk", CheckResult(False, "0.10GB free"))

    assert one.is_shared
    assert len(other.errors()) == len(other.transitions()) == 1
    assert {path.name for path in shared_directory.iterdir()} == {
        ".status-errors",
        ".status-transitions",
    }


def test_without_a_place_it_is_kept_here(shared_directory: Path) -> None:
    (shared_directory / ".status-errors").mkdir()
    events = RecentEvents()
    events.open()
    events.record_error(LINE)

    assert not events.is_shared
    assert len(events.errors()) == 1


def test_never_raises(shared_directory: Path) -> None:
    """A log line and a probe must not suffer for a page."""
    events = RecentEvents()
    events.open()
    for path in shared_directory.iterdir():
        path.unlink()
    shared_directory.rmdir()

    events.record_error(LINE)
    events.record_check_result("disk", CheckResult(False, "0.10GB free"))
    assert events.errors() == events.transitions() == []
    shared_directory.mkdir()


def test_takes_no_notes_until_it_is_opened() -> None:
    events = RecentEvents()
    events.record_error(LINE)
    events.record_check_result("disk", CheckResult(False, "0.10GB free"))

    assert events.errors() == events.transitions() == []
