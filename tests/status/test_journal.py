"""The journal keeps what a page may show, and never what only the log may hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atom_platform.health.check import CheckResult
from atom_platform.metrics.storage import directory as directories
from atom_platform.metrics.storage.directory import Directory
from atom_platform.metrics.storage.directory_lock import Owner
from atom_platform.status.journal import Journal

LINE = {
    "timestamp": "2026-02-16T19:15:00.000Z",
    "level": "ERROR",
    "logger": "atom_platform.extension.access_control",
    "event": "http_request",
    "request_id": "req-456",
    "method": "GET",
    "endpoint": "/api/v1/agents/<agent_id>",
    "status": 500,
    "exception_type": "OperationalError",
}


@pytest.fixture(name="journal")
def _journal() -> Journal:
    journal = Journal()
    journal.open()
    return journal


@pytest.fixture(name="shared_directory")
def _shared_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    owner = Owner(service="one", started_at=1.0, arbiters=(os.getpid(),))
    monkeypatch.setattr(directories, "_prepared", Directory(tmp_path, owner))
    return tmp_path


def test_shows_what_helps_to_find_the_line(journal: Journal) -> None:
    journal.note_error(LINE)

    assert journal.errors() == [{**LINE, "pid": os.getpid()}]


def test_newest_first_and_bounded(journal: Journal) -> None:
    for number in range(60):
        journal.note_error({**LINE, "request_id": f"r{number}"})

    assert [error["request_id"] for error in journal.errors()] == [
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
def test_hides_what_may_hold_a_secret_or_a_host(journal: Journal, field: dict[str, str]) -> None:
    journal.note_error({**LINE, **field})

    (error,) = journal.errors()
    assert "secret" not in str(error)
    assert "db.internal" not in str(error)
    assert error["pid"] == os.getpid()


def test_names_the_exception_of_a_traceback(journal: Journal) -> None:
    line = {key: value for key, value in LINE.items() if key != "exception_type"}
    journal.note_error({**line, "exception": "Traceback …\n  File …\npsycopg.OperationalError: no"})

    (error,) = journal.errors()
    assert error["exception_type"] == "psycopg.OperationalError"


def test_notes_checks_that_turn(journal: Journal) -> None:
    good, bad = CheckResult(True, "fine"), CheckResult(False, "Database timeout after 5.0s")
    for result in (good, good, bad, bad, good, good):
        journal.note_check("database", result)
    journal.note_check("disk", good)

    assert [
        (turn["check"], turn["healthy"], turn["message"], turn["pid"]) for turn in journal.turns()
    ] == [
        ("database", False, "Database timeout after 5.0s", os.getpid()),
        ("database", True, "fine", os.getpid()),
    ]


def test_is_shared_beside_the_metrics(shared_directory: Path) -> None:
    one, other = Journal(), Journal()
    one.open()
    other.open()
    one.note_error(LINE)
    one.note_check("disk", CheckResult(False, "0.10GB free"))

    assert one.is_shared
    assert len(other.errors()) == len(other.turns()) == 1
    assert {path.name for path in shared_directory.iterdir()} == {".status-errors", ".status-turns"}


def test_without_a_place_it_is_kept_here(shared_directory: Path) -> None:
    (shared_directory / ".status-errors").mkdir()
    journal = Journal()
    journal.open()
    journal.note_error(LINE)

    assert not journal.is_shared
    assert len(journal.errors()) == 1


def test_never_raises(shared_directory: Path) -> None:
    """A log line and a probe must not suffer for a page."""
    journal = Journal()
    journal.open()
    for path in shared_directory.iterdir():
        path.unlink()
    shared_directory.rmdir()

    journal.note_error(LINE)
    journal.note_check("disk", CheckResult(False, "0.10GB free"))
    assert journal.errors() == journal.turns() == []
    shared_directory.mkdir()


def test_takes_no_notes_until_it_is_opened() -> None:
    journal = Journal()
    journal.note_error(LINE)
    journal.note_check("disk", CheckResult(False, "0.10GB free"))

    assert journal.errors() == journal.turns() == []
